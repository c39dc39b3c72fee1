"""How a caller keeps its place in line: it asks again, and moves up if it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .line import FIRM, Tail, due_of, floor_after, place_of, tail_of
from .state import State, Waiting
from .store import NOWHERE, Place, Question

__all__ = ["Act", "keep_place", "run_of", "spot_of"]


class Act(NamedTuple):
    """What has been done; see `Answer`."""

    wait: int
    slowest: int
    place: Place = NOWHERE
    changed: bool = True
    spare: int = 0


def spot_of(state: State, number: int) -> int | None:
    """Return where in the line a caller stands, if it stands there by itself."""
    for spot, waiting in enumerate(state.line):
        if waiting.first == waiting.last == number:
            return spot
    return None


def run_of(state: State, number: int) -> int | None:
    """Return where in the line a caller that was told when to leave stands with others."""
    for spot, waiting in enumerate(state.line):
        if waiting.first <= number <= waiting.last:
            return spot
    return None


@dataclass(slots=True)
class _Seeker(Tail):
    """A caller on its way to its place, which is at `spot` in the line."""

    spot: int
    cost: int

    def let_pass(self, due: int, now: int) -> bool:
        """Let those pass whose promised time would not be kept if this one left first.

        It was late to ask, or a pause or a debt has come since. Callers that renew stay in the
        order in which they came, in every bucket: or two could wait for each other in two of them.
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
    places = [state.line.pop(spot) for state, spot in zip(states, spots, strict=True)]
    if not places[0].deadline:
        return _tell_again(question, seekers, places, Act(places[0].due - now, _latest(dues)))
    while any([seeker.let_pass(max(dues), now) for seeker in seekers]):  # noqa: C419 - each of them
        dues = [seeker.due(seeker.cost) for seeker in seekers]
    due = max(dues)
    wait, slowest = due - now, _latest(dues)
    if wait > question.longest:
        return Act(wait, slowest)
    number, firm = question.place.number, wait <= FIRM
    for seeker in seekers:
        place = place_of(number, seeker.cost, due, firm, seeker, len(states), now)
        seeker.state.line.insert(seeker.spot, place)
    return Act(wait, slowest, Place(number, due if firm else 0))


def _tell_again(
    question: Question, seekers: Sequence[_Seeker], places: Sequence[Waiting], act: Act
) -> Act:
    """Tell a caller what it was told before: the reply was lost, but the place is as it was."""
    if act.wait > question.longest:
        return act
    for seeker, place in zip(seekers, places, strict=True):
        seeker.state.line.insert(seeker.spot, place)
    return act._replace(place=Place(question.place.number, places[0].due))


def _latest(dues: Sequence[int]) -> int:
    return dues.index(max(dues))


def _seeker(state: State, spot: int, cost: int, now: int) -> _Seeker:
    tail = tail_of(state, now, state.line[:spot])
    return _Seeker(state, tail.base, tail.left, None, spot, cost)
