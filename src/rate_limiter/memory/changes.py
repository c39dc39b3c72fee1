"""What changes a bucket: settling, giving back, pausing, another limit, a fresh start.

As in `steps`, each function computes what a step is worth and what makes it true.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..admission import REFUNDED
from ..units import Exact
from .draft import Draft
from .ledger import Ledger
from .line import Place, Prices, Waiter, change_price, head_price, ledgers_of, take_out
from .planning import drop_plan, first_place
from .serving import (
    MOST_SERVED,
    begin_change,
    check_debt,
    correct_one,
    end_change,
    serve,
    units_to_correct,
)
from .steps import Ledgers, in_turn
from .transaction import Result, Write

__all__ = [
    "correct",
    "give_back",
    "pause",
    "reprice",
    "reset",
    "restate",
    "resume",
    "settle",
    "settle_one",
]


def reprice(draft: Draft, now: int, waiter: Waiter, prices: Prices) -> bool:
    """Change what a waiter pays, served or not; return False if it has left.

    Raises:
        ValueError: It still waits, and is not in the line of one of these buckets.
    """
    work = draft[waiter]
    if work.left:
        return False
    places = {place.ledger: place for place in work.places}
    for ledger, price in prices:
        if ledger not in places:
            if not work.served:
                raise ValueError("a reservation that waits pays only the buckets it was made for")
            places[ledger] = paid = Place(ledger, waiter, 0)
            draft.add(paid)
            work.places += (paid,)
        place = draft[places[ledger]]
        if work.served:
            correct_one(draft, ledger, price - place.price, now)
            place.price = price
        else:
            begin_change(draft, ledger, now)
            change_price(draft, places[ledger], price)
            end_change(draft, ledger, now)
    serve(draft, list(places), now)
    return True


def correct(draft: Draft, now: int, prices: Prices) -> None:
    """Charge these prices on top, or give them back if they are below zero."""
    for ledger, extra in prices:
        correct_one(draft, ledger, extra, now)
    serve(draft, ledgers_of(prices), now)


def settle_one(receipt: Any, ledger: Ledger, tokens: Exact, used: Exact, now: int) -> Result:
    """Do as `settle` for a single bucket, which is mostly paid in whole tokens."""
    limit, before = ledger.fast, receipt._paid
    if before is not REFUNDED:
        before = tokens if before is None else before.get(ledger, 0)
    if limit is None or type(used) is not int or type(before) is not int:
        return settle(receipt, ((ledger, tokens),), ((ledger, used),), now)
    full_at = ledger.corrected((used - before) * limit.unit, now * limit.scale)
    if used > before:
        check_debt(limit, full_at, now)
    return True, [
        (setattr, ledger, "full_at", full_at),
        (setattr, receipt, "_paid", {ledger: used}),
    ]


def settle(receipt: Any, taken: Prices, used: Prices, now: int) -> Result:
    """Correct what a permit has paid, in the buckets that are named.

    Args:
        receipt: The permit.
        taken: What it was admitted for.
        used: What it really used.
        now: Now, in nanoseconds.

    Returns:
        Whether it was settled; False for a permit that has been refunded.
    """
    if receipt._paid is REFUNDED:
        return False, []
    paid = dict(taken) if receipt._paid is None else receipt._paid
    after = dict(paid)
    writes: list[Write] = []
    for ledger, tokens in used:
        limit = ledger.fast
        if limit is None:  # somebody waits, or a pause is on
            return in_turn(_settle, ledgers_of(used), now, receipt, paid, used)
        units = units_to_correct(tokens - paid.get(ledger, 0), limit)
        full_at = ledger.corrected(units, now * limit.scale)
        check_debt(limit, full_at, now)
        after[ledger] = tokens
        writes.append((setattr, ledger, "full_at", full_at))
    return True, [*writes, (setattr, receipt, "_paid", after)]


def _settle(draft: Draft, now: int, receipt: Any, paid: Any, used: Prices) -> bool:
    for ledger, tokens in used:
        correct_one(draft, ledger, tokens - paid.get(ledger, 0), now)
    draft.set(receipt, "_paid", {**paid, **dict(used)})
    serve(draft, ledgers_of(used), now)
    return True


def give_back(receipt: Any, taken: Prices, now: int) -> Result:
    """Give back all that a permit has paid, once."""
    paid = taken if receipt._paid is None or receipt._paid is REFUNDED else receipt._paid
    done, writes = settle(receipt, taken, [(ledger, 0) for ledger in dict(paid)], now)
    return done, [*writes, (setattr, receipt, "_paid", REFUNDED)] if done is True else writes


def pause(draft: Draft, now: int, ledgers: Ledgers, until: int) -> None:
    """Admit nobody until the nanosecond `until`."""
    for ledger in ledgers:
        if until > now:
            begin_change(draft, ledger, now)
            draft[ledger].pause(until)
            end_change(draft, ledger, now)


def resume(draft: Draft, now: int, ledgers: Ledgers) -> None:
    """End a pause."""
    for ledger in ledgers:
        if draft.get(ledger, ledger).closed_until is not None:
            drop_plan(draft, ledger)
            draft[ledger].resume(now)
            end_change(draft, ledger, now)
    serve(draft, ledgers, now)


def reset(draft: Draft, now: int, ledgers: Ledgers) -> bool:
    """Fill buckets, and serve everybody in their lines for nothing.

    Returns:
        Whether it is done; one step takes only a part of a long line.
    """
    for ledger in ledgers:
        begin_change(draft, ledger, now)
        for _ in range(MOST_SERVED):
            place = first_place(draft, ledger)
            if place is not None:
                _let_pass(draft, place, now)
        work = draft[ledger]
        if work.line is not None:
            return False
        work.full_at, work.closed_until = now * work.limit.scale, None
        end_change(draft, ledger, now)
    return True


def _let_pass(draft: Draft, place: Place, now: int) -> None:
    """Take the head of a line out of it, at no cost; it may still wait in others."""
    take_out(draft, place)
    waiter = draft[place.waiter]
    waiter.places = tuple(other for other in waiter.places if other is not place)
    waiter.served = not waiter.places
    if waiter.served and waiter.sleeper is not None and waiter.alarm > now:
        draft.wake(waiter.sleeper)


def restate(
    draft: Draft,
    now: int,
    ledger: Ledger,
    capacity: Fraction | None,
    tokens_per_second: Fraction | None,
) -> None:
    """Go on with another capacity or rate; None leaves it as it is."""
    begin_change(draft, ledger, now)
    work, head = draft[ledger], head_price(draft, ledger)
    # While somebody waits, prices stay whole numbers of units.
    unit = 1 if work.line is None else work.limit.unit
    limit = work.limit.changed(capacity, tokens_per_second, unit)
    work.restate(limit, now, head, head * limit.unit // work.limit.unit)
    check_debt(work.limit, work.full_at, now)
    end_change(draft, ledger, now)
    serve(draft, [ledger], now)
