"""The line of waiters: first come, first served, in one bucket or in several at once.

A caller who cannot be served stands in the line of each bucket that it needs, and is served when it
is first in all of them and all its tokens have come in. No thread serves the line: each step serves
those whose time has come. This file says which waiter stands where, `planning` when each waiter
is served, and `steps` what a call does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

from ..sleeping import Sleeper
from ..units import Exact, exact_tokens, units_of
from .draft import Draft, Table
from .ledger import Ledger
from .sums import append, change

__all__ = [
    "Line",
    "Place",
    "Prices",
    "Waiter",
    "change_price",
    "head_price",
    "in_units",
    "ledgers_of",
    "next_order",
    "stand",
    "take_out",
]

Prices: TypeAlias = Sequence[tuple[Ledger, Exact]]
"""The ledgers to take from, and how many tokens from each."""

next_order = itertools.count().__next__
"""Return a number that is larger than any before."""


class Waiter:
    """A caller who waits, in one line or in several, or a reservation.

    Args:
        sleeper: The thread or task to wake; None for a reservation, for which nobody sleeps.

    Attributes:
        places: Where it stands or has stood; none before it joins, and after it has left, or has
            waited to the end.
        served: Whether it has its tokens.
        left: Whether it has given its tokens back, or left the line.
        alarm: The nanosecond at which the sleeper wakes by itself.
    """

    STATE: ClassVar[tuple[str, ...]] = ("alarm", "left", "places", "served")
    FIXED: ClassVar[tuple[str, ...]] = ("sleeper",)
    __slots__ = (*STATE, *FIXED)

    def __init__(self, sleeper: Sleeper | None = None) -> None:
        self.sleeper = sleeper
        self.places: tuple[Place, ...] = ()
        self.served = False
        self.left = False
        self.alarm = 0


class Place:
    """Where a waiter stands in one line, between its neighbours.

    Attributes:
        price: What it costs, in tokens.
        number: Its number in the sums of the line; 0 if it never stood in one.
        order: When its waiter joined: a number that is larger than those of all who joined before.
        others: The other ledgers that its waiter needs.
        ahead, behind: The places next to it.
        asleep_ahead, asleep_behind: The places next to it among those of sleepers.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *("ahead", "behind", "asleep_ahead", "asleep_behind"),
        "price",
    )
    FIXED: ClassVar[tuple[str, ...]] = ("ledger", "number", "order", "others", "waiter")
    __slots__ = (*STATE, *FIXED)

    def __init__(
        self,
        ledger: Ledger,
        waiter: Waiter,
        price: Exact,
        number: int = 0,
        order: int = 0,
        *,
        others: tuple[Ledger, ...] = (),
    ) -> None:
        self.ledger = ledger
        self.others = others
        self.waiter = waiter
        self.price = price
        self.number = number
        self.order = order
        self.ahead: Place | None = None
        self.behind: Place | None = None
        self.asleep_ahead: Place | None = None
        self.asleep_behind: Place | None = None


class Line:
    """The waiters of one bucket. A bucket has a line only while it has waiters.

    Args:
        left: See below.
        place: The first place, whose waiter stands in no other line; None for an empty line.

    Attributes:
        first, last: The places at its ends.
        first_asleep, last_asleep: The same among the places of sleepers.
        waiting: How many places there are.
        joint: How many of them are of waiters who stand in other lines as well.
        size: The number of the last place.
        nodes: The sums of the prices; see `sums`.
        left: The nanosecond before which nobody else is served: when the last one was, or when
            something changed for the better.
        plan: When each waiter is served, if some stand in other lines as well; see `planning`.
        linked: For each other ledger, how many reservations stand in its line and in this one. No
            sleeper is woken for them, so when they move up, both lines have to be looked at. None
            until there is one.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *("first", "last", "first_asleep", "last_asleep"),
        *("waiting", "joint", "size", "nodes", "left", "plan", "linked"),
    )
    FIXED: ClassVar[tuple[str, ...]] = ()
    __slots__ = STATE

    def __init__(self, left: int, place: Place | None = None) -> None:
        asleep = None if place is None or place.waiter.sleeper is None else place
        self.first = self.last = place
        self.first_asleep = self.last_asleep = asleep
        self.joint = 0
        self.nodes = nodes = Table()
        if place is None:
            self.waiting = self.size = 0
        else:
            self.waiting = self.size = 1
            nodes[1] = place.price
        self.left = left
        self.plan: Any = None
        self.linked: Table | None = None


# The names of the links in a chain: its first and its last, and ahead and behind of each.
_EVERYBODY = ("first", "last", "ahead", "behind")
_SLEEPERS = ("first_asleep", "last_asleep", "asleep_ahead", "asleep_behind")


def ledgers_of(prices: Prices) -> list[Ledger]:
    """Return the ledgers to take from."""
    return [ledger for ledger, _ in prices]


def head_price(draft: dict[Any, Any], ledger: Ledger) -> int:
    """Return the price of the head of a line in units; 0 if nobody waits."""
    ledger = draft.get(ledger, ledger)
    if ledger.line is None:
        return 0
    first = draft.get(ledger.line, ledger.line).first
    return units_of(draft.get(first, first).price, ledger.limit)


def stand(draft: Draft, waiter: Waiter, prices: Prices, now: int) -> None:
    """Put a waiter at the end of the lines."""
    work = draft[waiter]
    order, ledgers = next_order(), ledgers_of(prices)
    places: list[Place] = []
    for ledger, price in prices:
        line = _line_of(draft, ledger, now)
        line.size += 1
        others = tuple(other for other in ledgers if other is not ledger)
        tokens = in_units(price, draft[ledger])
        place = Place(ledger, waiter, tokens, line.size, order, others=others)
        draft.add(place)
        places.append(place)
        line.waiting += 1
        line.joint += bool(place.others)
        append(line.nodes, place.number, place.price)
        _link(draft, line, place, _EVERYBODY)
        if waiter.sleeper is not None:
            _link(draft, line, place, _SLEEPERS)
        else:
            _note_reservation(line, place, 1)
    work.places = tuple(places)


def take_out(draft: Draft, place: Place) -> None:
    """Take a place out of its line; the last one to go takes the line with it."""
    ledger = draft[place.ledger]
    line, waiter = draft[ledger.line], place.waiter
    line.waiting -= 1
    line.joint -= bool(place.others)
    change(line.nodes, place.number, line.size, -draft.get(place, place).price)
    _unlink(draft, line, place, _EVERYBODY)
    if waiter.sleeper is not None:
        _unlink(draft, line, place, _SLEEPERS)
    else:
        _note_reservation(line, place, -1)
    if line.plan is not None:
        plan = draft[line.plan]
        plan.dues[waiter] = 0
        if not line.joint:  # from now on the sums suffice for the others
            plan.tails[place.ledger] = 0
            line.plan = None
    if not line.waiting:
        ledger.line = None


def change_price(draft: Draft, place: Place, price: Exact) -> None:
    """Change the price of a place."""
    work, ledger = draft[place], draft[place.ledger]
    line, price = draft[ledger.line], in_units(price, ledger)
    change(line.nodes, place.number, line.size, price - work.price)
    work.price = price


def _note_reservation(line: Line, place: Place, count: int) -> None:
    for other in place.others:
        if line.linked is None:
            line.linked = Table()
        line.linked[other] += count


def _line_of(draft: Draft, ledger: Ledger, now: int) -> Line:
    """Return the line of a bucket, a new one if nobody waits for it."""
    work = draft[ledger]
    if work.line is None:
        work.line = Line(now)
        work.fast = None
        draft.add(work.line)
    line: Line = draft[work.line]
    return line


def in_units(price: Exact, ledger: Ledger) -> Exact:
    """Round a price down to whole units, so that sums of prices are whole units as well."""
    if type(price) is int:
        return price
    return exact_tokens(units_of(price, ledger.limit), ledger.limit)


def _link(draft: Draft, line: Line, place: Place, chain: tuple[str, str, str, str]) -> None:
    first, last, ahead, behind = chain
    end = getattr(line, last)
    setattr(draft[place], ahead, end)
    if end is None:
        setattr(line, first, place)
    else:
        setattr(draft[end], behind, place)
    setattr(line, last, place)


def _unlink(draft: Draft, line: Line, place: Place, chain: tuple[str, str, str, str]) -> None:
    first, last, ahead, behind = chain
    work = draft.get(place, place)
    before, after = getattr(work, ahead), getattr(work, behind)
    if before is None:
        setattr(line, first, after)
    else:
        setattr(draft[before], behind, after)
    if after is None:
        setattr(line, last, before)
    else:
        setattr(draft[after], ahead, before)
