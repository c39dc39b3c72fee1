"""Where callers of a shared bucket stand in line, and when they leave it.

The rules are those of `memory/ledger.py`, with two differences that a round trip makes.

A caller that waits no longer than `FIRM` has been told when to leave, and asks no more: that time
stays, whatever others do. A caller that waits longer has been told to ask again. It moves up when
somebody ahead leaves, and its place is given back once it has not been renewed for `LIFE` (P40).
So a time is promised only to those who will keep it, and what was promised is kept in the floors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .state import State, Waiting
from .terms import SECOND

__all__ = [
    "FIRM",
    "LIFE",
    "RENEWAL",
    "Tail",
    "advance",
    "charge",
    "crowded",
    "cut",
    "due_of",
    "end_pause",
    "floor_after",
    "gather",
    "place_of",
    "tail_of",
]

RENEWAL = 5 * SECOND  # how often a place is renewed
FIRM = 2 * RENEWAL  # the longest wait that is promised
LIFE = 3 * RENEWAL  # how long a place lasts that is not renewed
_GRACE = SECOND  # how late a renewal may come without letting others pass
_SETTLED = 48  # places that have been told; beyond, the oldest are kept as one
_APART = 16  # of which this many, the last ones, stay apart
_RENEWING = 256  # places that renew; beyond, callers are told a time however long they wait


def advance(state: State, now: int) -> None:
    """Bring a state up to now: without callers that have left and places not renewed."""
    staying: list[Waiting] = []
    for waiting in state.line:
        if (waiting.deadline or waiting.due) > now:
            staying.append(waiting)
        elif waiting.deadline:
            if not staying:
                cut(state, waiting.deadline)
        else:
            end_pause(state, waiting.due)
            state.full_at = max(state.full_at + waiting.cost, waiting.floor)
    state.line = staying
    end_pause(state, now)
    state.full_at = max(state.full_at, least(state, now))


def cut(state: State, now: int) -> None:
    """Cut what has added up beyond the capacity for a head of the line, which has left it now."""
    state.full_at = max(state.full_at, now * state.terms.scale)


def end_pause(state: State, now: int) -> None:
    """Fold a pause that is over into `full_at`."""
    if state.closed_until is not None and state.closed_until <= now:
        state.full_at = _after_pause(state, state.full_at, state.closed_until)
        state.closed_until = None


def _after_pause(state: State, base: int, end: int) -> int:
    """Return when the bucket is full, in units: at the end of a pause one token is there."""
    return max(base, end * state.terms.scale + state.terms.head_start)


def least(state: State, now: int) -> int:
    """Return the least that `full_at` may be: for a large head, tokens exceed the capacity."""
    head = state.line[0].cost if state.line else 0
    return now * state.terms.scale - max(head - state.terms.span, 0)


def charge(state: State, units: int, now: int) -> None:
    """Charge units, or give back what is below zero; beyond the capacity it is lost."""
    floor = least(state, now)
    if units > 0:
        state.full_at = max(state.full_at, floor) + units
    else:
        state.full_at = max(state.full_at + units, min(state.full_at, floor))


def due_of(state: State, base: int, cost: int) -> int:
    """Return the microsecond at which a cost could be paid."""
    return -((state.terms.span - base - cost) // state.terms.scale)


def floor_after(state: State, base: int, cost: int, due: int) -> int:
    """Return when the bucket is full at the earliest, once a cost was paid at `due`."""
    terms = state.terms
    exact = base + cost - terms.span if due_of(state, base, cost) == due else due * terms.scale
    return exact + min(cost, terms.span)


@dataclass(slots=True)
class Tail:
    """Where a caller would stand behind some of the line.

    Attributes:
        state: The bucket.
        base: When it is full, once those ahead have left, in units.
        left: The microsecond at which the last of them leaves.
        closed_until: The end of a pause that `base` does not count from yet, for some of those
            ahead were told an earlier time; None without one.
    """

    state: State
    base: int
    left: int
    closed_until: int | None

    def pass_by(self, waiting: Waiting, now: int) -> None:
        """Stand behind one more."""
        due = waiting.due
        if waiting.deadline or due >= (self.closed_until or 0):
            self.open()
        if waiting.deadline:
            due = max(self.due(waiting.cost), due, _asks(waiting, now))
            floor = floor_after(self.state, self.base, waiting.cost, due)
        else:
            floor = waiting.floor
        self.pay(waiting.cost, floor)
        self.left = max(self.left, due)

    def pay(self, cost: int, floor: int) -> None:
        """Count a cost, and when the bucket is full at the earliest with it."""
        self.base = max(self.base + cost, floor)

    def open(self) -> None:
        """Count from the end of the pause: the next caller leaves after it."""
        if self.closed_until is not None:
            self.base = _after_pause(self.state, self.base, self.closed_until)
            self.closed_until = None

    def due(self, cost: int) -> int:
        """Return the microsecond at which a cost could be paid from here."""
        return max(due_of(self.state, self.base, cost), self.left)


def _asks(waiting: Waiting, now: int) -> int:
    """Return when a place that renews can leave at the earliest: not before it has asked again."""
    asks = waiting.deadline - LIFE + RENEWAL + _GRACE
    return asks if asks > now else waiting.deadline


def _front(state: State, now: int) -> Tail:
    """Return where the first in line stands."""
    return Tail(state, state.full_at, max(now, state.closed_until or 0), state.closed_until)


def tail_of(state: State, now: int, line: Iterable[Waiting] | None = None) -> Tail:
    """Return where a newcomer would stand behind these, or behind all."""
    tail = _front(state, now)
    for waiting in state.line if line is None else line:
        tail.pass_by(waiting, now)
    tail.open()
    return tail


def place_of(  # noqa: PLR0917 - what a place is
    number: int, cost: int, due: int, firm: bool, tail: Tail, buckets: int, now: int
) -> Waiting:
    """Return a place behind `tail`, which is told when to leave if it is firm."""
    if firm:
        floor = floor_after(tail.state, tail.base, cost, due)
        return Waiting(number, number, 1, cost, floor, due, 0)
    return Waiting(number, number, 1, cost, 0, due if buckets > 1 else 0, now + LIFE)


def crowded(state: State) -> bool:
    """Tell whether as many callers renew their places as may."""
    return sum(waiting.deadline > 0 for waiting in state.line) >= _RENEWING


def gather(state: State) -> None:
    """Keep the oldest of many told places as one, so that a value stays short."""
    line = state.line
    if len(line) <= _SETTLED or sum(not waiting.deadline for waiting in line) <= _SETTLED:
        return
    gathered: list[Waiting] = []
    for waiting in line[:-_APART]:
        before = gathered[-1] if gathered else None
        if before and not before.deadline and not waiting.deadline and before.last < waiting.first:
            gathered[-1] = _as_one(before, waiting)
        else:
            gathered.append(waiting)
    state.line = gathered + line[-_APART:]


def _as_one(ahead: Waiting, behind: Waiting) -> Waiting:
    floor = max(ahead.floor + behind.cost, behind.floor)
    count, cost = ahead.count + behind.count, ahead.cost + behind.cost
    return Waiting(ahead.first, behind.last, count, cost, floor, behind.due, 0)
