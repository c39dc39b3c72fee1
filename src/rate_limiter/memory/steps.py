"""What callers do with a bucket, each in one step: take, stand in line, look, leave.

Those that meet a line go through `in_turn`, which first serves the waiters whose time has come, and
last names the sleepers to wake. Nothing here changes anything: `transaction.run` does the writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..clock import CENTURY
from ..units import Exact, units_of
from .draft import Draft
from .ledger import Ledger
from .levels import Snapshot, snapshot, unpaused
from .line import (
    Line,
    Place,
    Prices,
    Waiter,
    in_units,
    ledgers_of,
    next_order,
    stand,
    take_out,
)
from .planning import Tail, due_of, extend_plan, first_place, tail_of
from .serving import (
    TOO_MUCH,
    begin_change,
    correct_one,
    end_change,
    rouse,
    serve,
    serve_one,
)
from .transaction import UNFINISHED, Result, Write

__all__ = [
    "After",
    "Answer",
    "Ledgers",
    "ask",
    "due_of_waiter",
    "enter",
    "in_turn",
    "leave",
    "look",
    "look_at",
    "take",
]

Ledgers: TypeAlias = Sequence[Ledger]
After: TypeAlias = tuple[Any, ...]
"""What the buckets are like after a decision: its nanosecond, and a tuple of a `Snapshot` for each;
or of a bucket alone, with nobody in line and no pause, the nanosecond, the limit and `full_at`."""


class Answer(NamedTuple):
    """The answer to a caller who asks for tokens.

    Attributes:
        served: Whether the tokens have been taken.
        due: The nanosecond at which they are there, or could be; None for never. For who waits its
            alarm tells it.
        slowest: The index of the bucket that holds the caller up longest.
        after: What each bucket is like after the decision; empty for who waits.
        waits: Whether the caller stands in line now.
    """

    served: bool
    due: int | None
    slowest: int
    after: tuple[Snapshot, ...]
    waits: bool = False


_TAKEN = Answer(served=True, due=0, slowest=0, after=())  # for callers that need no more
_WAITS_ALONE = Answer(served=False, due=None, slowest=0, after=(), waits=True)


def in_turn(act: Callable[..., Any], ledgers: Iterable[Ledger], now: int, *args: Any) -> Result:
    """Serve the waiters of these lines whose time has come, act, and name the sleepers to wake."""
    draft = Draft()
    if not serve(draft, ledgers, now):
        rouse(draft)  # here, for the next step knows only of what it moves itself
        return UNFINISHED, draft.writes()
    result = act(draft, now, *args)
    rouse(draft)
    return result, draft.writes()


def take(prices: Prices, members: Ledgers, now: int) -> Result:
    """Take tokens if they are there now; a cost above the capacity never is."""
    charges = _charges(prices, now)
    if charges is None or _line_beside(prices, members):
        return in_turn(_take, members or ledgers_of(prices), now, prices, members)
    return _taken(charges, members, now), charges


def enter(
    waiter: Waiter, prices: Prices, members: Ledgers, longest: int | None, now: int
) -> Result:
    """Take tokens that are there now, or stand in line for them; see `join`."""
    if len(prices) == 1:
        ledger, price = prices[0]
        alone = _enter_alone(waiter, ledger, price, longest, now)
        if alone is not None:
            return alone
    charges = _charges(prices, now)
    if charges is not None and not _line_beside(prices, members):
        places = tuple(Place(ledger, waiter, in_units(price, ledger)) for ledger, price in prices)
        served: list[Write] = [
            (setattr, waiter, "places", places),
            (setattr, waiter, "served", True),
        ]
        return _taken(charges, members, now), [*charges, *served]
    return in_turn(join, members, now, waiter, prices, members, longest)


def _enter_alone(
    waiter: Waiter, ledger: Ledger, price: Exact, longest: int | None, now: int
) -> Result | None:
    """Begin the line of a single bucket, the commonest of all waits, without a draft.

    Returns None, for the longer way, if that is not all there is to do. A full bucket goes there,
    for its `full_at` has to be cut first: until then `due` may be too early, but never too late.
    """
    limit = ledger.fast
    if limit is None or limit.strict:
        return None
    full_at = ledger.full_at
    due = ledger.due(full_at, units_of(price, limit), now)
    delay = due - now
    if delay <= 0 or delay > (CENTURY if longest is None else longest):
        return None
    if full_at < now * limit.scale:  # the cost is above the capacity
        return None
    place = Place(ledger, waiter, in_units(price, ledger), 1, next_order())
    return _WAITS_ALONE, [
        (setattr, ledger, "fast", None),
        (setattr, ledger, "line", Line(now, place)),
        (setattr, waiter, "places", (place,)),
        (setattr, waiter, "alarm", due),
    ]


def ask(draft: Draft, now: int, prices: Prices, members: Ledgers, at_once: bool) -> Answer:
    """Tell when tokens could be taken.

    Args:
        draft: The state.
        now: Now, in nanoseconds.
        prices: What to take.
        members: The ledgers whose snapshots to return.
        at_once: Whether a price above the capacity is refused, because it is never there at once.
    """
    due: int | None
    due, slowest, _ = _find_due(draft, now, prices)
    for index, (ledger, price) in enumerate(prices):
        limit = draft.get(ledger, ledger).limit
        if at_once and units_of(price, limit) > limit.span:
            due, slowest = None, index
            break
    return Answer(False, due, slowest, snapshots(draft, members))


def join(
    draft: Draft, now: int, waiter: Waiter, prices: Prices, members: Ledgers, longest: int | None
) -> Answer:
    """Take tokens that are there now, or stand in line for them.

    Args:
        draft: The state.
        now: Now, in nanoseconds.
        waiter: The caller.
        prices: What to take.
        members: The ledgers whose snapshots to return.
        longest: The longest acceptable wait in nanoseconds; None accepts any.

    Returns:
        The answer. If the wait is too long, nothing has been taken.

    Raises:
        ValueError: The wait would be longer than 100 years.
    """
    due, slowest, tails = _find_due(draft, now, prices)
    for index, (ledger, price) in enumerate(prices):
        limit = draft.get(ledger, ledger).limit
        if limit.strict and units_of(price, limit) > limit.span:
            return Answer(False, None, index, snapshots(draft, members))
    if due - now > CENTURY:
        raise ValueError(TOO_MUCH)
    if longest is not None and due - now > longest:
        return Answer(False, due, slowest, snapshots(draft, members))
    for ledger, _ in prices:
        if draft.get(ledger, ledger).line is None:
            work = draft[ledger]
            work.end_pause(now)
            work.cut(now * work.limit.scale)
    stand(draft, waiter, prices, now)
    if due <= now:
        serve_one(draft, waiter, due, now)
        return Answer(True, due, slowest, snapshots(draft, members))
    extend_plan(draft, waiter, due, tails)
    draft[waiter].alarm = due
    return Answer(False, due, slowest, (), waits=True)


def look(waiter: Waiter, members: Ledgers, now: int) -> Result:
    """Tell a sleeper that woke what the buckets are like, if it was served.

    The result is an `After`; None if it was not served, and its alarm is set again.
    """
    if len(members) == 1:
        alone = _look_alone(waiter, members[0], now)
        if alone is not None:
            return alone
    ledgers = dict.fromkeys([*[place.ledger for place in waiter.places], *members])
    return in_turn(_look, ledgers, now, waiter, members)


def _look_alone(waiter: Waiter, ledger: Ledger, now: int) -> Result | None:
    """Look for who is alone in the line of a single bucket without a pause, without a draft.

    Returns None, for the longer way, if that is not how it is.
    """
    line, limit = ledger.line, ledger.limit
    if line is None or line.waiting > 1 or ledger.closed_until is not None:
        return None
    place, full_at = line.first, ledger.full_at
    if place.waiter is not waiter:
        return None
    units = units_of(place.price, limit)
    due = ledger.due(full_at, units, line.left)
    if due > now:
        return None, [(setattr, waiter, "alarm", due)]
    full_at = ledger.served(full_at, units, due)
    return (now, limit, full_at), [
        (setattr, ledger, "full_at", full_at),
        (setattr, ledger, "fast", limit),
        (setattr, ledger, "line", None),
        (setattr, waiter, "served", True),
    ]


def _look(draft: Draft, now: int, waiter: Waiter, members: Ledgers) -> After | None:
    if draft.get(waiter, waiter).served:
        return now, snapshots(draft, members)
    draft[waiter].alarm = due_of(draft, waiter)
    return None


def look_at(draft: Draft, now: int, members: Ledgers) -> After:
    """Return what the buckets are like, after all who are due were served."""
    return now, snapshots(draft, members)


def due_of_waiter(draft: Draft, now: int, waiter: Waiter) -> int:
    """Return when a waiter is served if nothing changes; `now` if it was served or has left."""
    seen = draft.get(waiter, waiter)
    return now if seen.served or seen.left else due_of(draft, waiter)


def leave(waiter: Waiter, now: int) -> Result:
    """Give the tokens back, served or not, and leave the line; those behind move up."""
    ledgers = [place.ledger for place in waiter.places]
    if not waiter.served or any(ledger.fast is None for ledger in ledgers):
        return in_turn(_leave, ledgers, now, waiter)
    writes: list[Write] = [(setattr, waiter, "places", ()), (setattr, waiter, "left", True)]
    for place in waiter.places:
        ledger, limit = place.ledger, place.ledger.limit
        full_at = ledger.corrected(-units_of(place.price, limit), now * limit.scale)
        writes.append((setattr, ledger, "full_at", full_at))
    return None, writes


def _leave(draft: Draft, now: int, waiter: Waiter) -> None:
    work = draft[waiter]
    for place in work.places:
        if work.served:
            correct_one(draft, place.ledger, -draft.get(place, place).price, now)
            continue
        first = first_place(draft, place.ledger) is place
        begin_change(draft, place.ledger, now)
        take_out(draft, place)
        if first:  # the next one is served now at the earliest (P1)
            draft[place.ledger].cut(now * draft[place.ledger].limit.scale)
        end_change(draft, place.ledger, now)
    ledgers = [place.ledger for place in work.places]
    work.places, work.left = (), True
    serve(draft, ledgers, now)


def snapshots(draft: dict[Any, Any], members: Ledgers) -> tuple[Snapshot, ...]:
    """Return what these are like now."""
    return tuple(snapshot(draft, ledger) for ledger in members)


def _charges(prices: Prices, now: int) -> list[Write] | None:
    """Return the writes that take tokens where nobody waits; None if they are not there."""
    charges: list[Write] = []
    for ledger, price in prices:
        limit = ledger.fast
        if limit is None:  # somebody waits, or a pause is on
            return None
        units = price * limit.unit if type(price) is int else units_of(price, limit)
        instant = now * limit.scale
        start = ledger.full_at
        start = max(start, instant)
        if start + units > instant + limit.span:
            return None
        charges.append((setattr, ledger, "full_at", start + units))
    return charges


def _line_beside(prices: Prices, members: Ledgers) -> bool:
    """Tell whether a member that nothing is taken from has waiters or a pause."""
    return len(members) > len(prices) and any(member.fast is None for member in members)


def _taken(charges: list[Write], members: Ledgers, now: int) -> Answer:
    if not members:
        return _TAKEN
    taken = {ledger: unpaused(ledger.limit, full_at) for _, ledger, _, full_at in charges}
    after = tuple(taken.get(ledger) or snapshot({}, ledger) for ledger in members)
    return Answer(True, now, 0, after)


def _take(draft: Draft, now: int, prices: Prices, members: Ledgers) -> Answer:
    answer = ask(draft, now, prices, members, True)
    if answer.due != now:
        return answer
    for ledger, price in prices:
        begin_change(draft, ledger, now)
        work = draft[ledger]
        work.cut(now * work.limit.scale)
        work.full_at += units_of(price, work.limit)
        end_change(draft, ledger, now)
    return Answer(True, now, 0, snapshots(draft, members))


def _find_due(draft: Draft, now: int, prices: Prices) -> tuple[int, int, list[Tail]]:
    """Return when a newcomer would be served, by what it is held up longest, and behind what."""
    tails: list[Tail] = []
    due, slowest = now, 0
    for index, (ledger, price) in enumerate(prices):
        base, left = tail = tail_of(draft, ledger, now)
        tails.append(tail)
        work = draft.get(ledger, ledger)
        there = work.due(base, units_of(price, work.limit), left)
        if there > due:
            due, slowest = there, index
    return due, slowest, tails
