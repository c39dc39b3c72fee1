"""How a caller keeps its place in line: it asks again, and moves up if it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .line import FIRM, Tail, due_of, floor_after, place_of, tail_of
from .state import State
from .store import NOWHERE, Place, Question

__all__ = ["Act", "keep_place", "withdraw"]


class Act(NamedTuple):
    """What has been done; see `Answer`."""

    wait: int
    held: int
    place: Place = NOWHERE
    changed: bool = True
    spare: int = 0


def withdraw(state: State, number: int) -> int | None:
    """Take a place that renews out of the line; return where it was."""
    for spot, waiting in enumerate(state.line):
        if waiting.deadline and waiting.first == number:
            del state.line[spot]
            return spot
    return None


@dataclass(slots=True)
class _Seeker(Tail):
    """A caller on its way to its place, which is at `spot` in the line."""

    spot: int
    cost: int

    def let_pass(self, due: int, now: int) -> bool:
        """Let those pass whose promised time would not be kept if this one left first.

        It was late to ask, or a pause or a debt has come since. Those who renew stay in the order
        in which they came, in every bucket: or two could wait for each other in two of them.
        """
        line = self.state.line
        passed = self._passed(due)
        if not passed:
            return False
        ahead = [waiting for waiting in line[self.spot : passed] if not waiting.deadline]
        behind = [waiting for waiting in line[self.spot : passed] if waiting.deadline]
        line[self.spot : passed] = ahead + behind
        self.spot += len(ahead)
        for waiting in ahead:
            self.pass_by(waiting, now)
        return True

    def _passed(self, due: int) -> int:
        """Return where in the line the last of them ends; 0 for none."""
        passed, tail = 0, replace(self)
        tail.pay(self.cost, floor_after(self.state, self.base, self.cost, due))
        for end, waiting in enumerate(self.state.line[self.spot :], self.spot + 1):
            if not waiting.deadline:
                if waiting.due < max(due, due_of(self.state, tail.base, waiting.cost)):
                    passed = end
                tail.pay(waiting.cost, waiting.floor)
        return passed


def keep_place(question: Question, states: Sequence[State], spots: Sequence[int], now: int) -> Act:
    """Tell a caller when it leaves, if that is soon, or to ask again."""
    seekers = [
        _seeker(state, spot, cost, now)
        for state, spot, (_, cost) in zip(states, spots, question.charges, strict=True)
    ]
    dues = [seeker.due(seeker.cost) for seeker in seekers]
    while any([seeker.let_pass(max(dues), now) for seeker in seekers]):  # noqa: C419 - each of them
        dues = [seeker.due(seeker.cost) for seeker in seekers]
    due = max(dues)
    wait, held = due - now, dues.index(due)
    if wait > question.longest:
        return Act(wait, held)
    number, firm = question.place.number, wait <= FIRM
    for seeker in seekers:
        place = place_of(number, seeker.cost, due, firm, seeker, len(states), now)
        seeker.state.line.insert(seeker.spot, place)
    return Act(wait, held, Place(number, due if firm else 0))


def _seeker(state: State, spot: int, cost: int, now: int) -> _Seeker:
    tail = tail_of(state, now, state.line[:spot])
    return _Seeker(state, tail.base, tail.left, None, spot, cost)
