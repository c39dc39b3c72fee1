"""When each waiter is served.

In the line of one bucket that is a sum: a place is served when its price and those ahead of it have
accrued. A waiter who needs several buckets is held up by the slowest, and holds up those behind it
in all the others. So lines that share waiters, directly or through others, are played through in
the order of joining, and the plan is kept until something changes in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

from ..units import units_of
from .draft import Draft, Table
from .ledger import Ledger
from .line import Line, Place, Waiter, head_price
from .sums import total

__all__ = [
    "Plan",
    "Tail",
    "base_in_line",
    "drop_plan",
    "due_at_head",
    "due_of",
    "extend_plan",
    "first_place",
    "tail_of",
]

_LONG_AGO = -(2**200)  # nanoseconds; before any clock's zero

Tail: TypeAlias = tuple[int, int]
"""The end of a line as a newcomer finds it: the base in units, and when the last waiter leaves."""


class Plan:
    """When the waiters in a family of lines are served.

    Attributes:
        valid: Whether nothing has changed since the plan was made.
        dues: The nanosecond at which each waiter is served.
        tails: The end of each line.
    """

    STATE: ClassVar[tuple[str, ...]] = ("dues", "tails", "valid")
    FIXED: ClassVar[tuple[str, ...]] = ()
    __slots__ = STATE

    def __init__(self) -> None:
        self.valid = True
        self.dues = Table()
        self.tails = Table()


def due_at_head(draft: Draft, waiter: Waiter) -> int:
    """Return when a waiter is served that is first in all its lines."""
    dues: list[int] = []
    for place in draft.get(waiter, waiter).places:
        ledger = draft.get(place.ledger, place.ledger)
        price = units_of(draft.get(place, place).price, ledger.limit)
        dues.append(ledger.due(ledger.base, price, draft.get(ledger.line, ledger.line).left))
    return max(dues)


def due_of(draft: Draft, waiter: Waiter) -> int:
    """Return when a waiter is served if nothing changes."""
    places = draft.get(waiter, waiter).places
    place = places[0]
    ledger = draft.get(place.ledger, place.ledger)
    line = draft.get(ledger.line, ledger.line)
    if not line.joint:
        price = units_of(total(line.nodes, place.number), ledger.limit)
        return ledger.due(base_in_line(draft, place.ledger), price, line.left)
    if all(first_place(draft, place.ledger) is place for place in places):
        return due_at_head(draft, waiter)
    due: int = _plan_of(draft, place.ledger).dues[waiter]
    return due


def base_in_line(draft: dict[Any, Any], ledger: Ledger) -> int:
    """Return what the head of a line counts from: what overflows before it may leave is lost.

    That is more than the ledger's base only after the clock has stepped back.
    """
    work = draft.get(ledger, ledger)
    left = draft.get(work.line, work.line).left
    base: int = max(work.base, work.floor(left, head_price(draft, ledger)))
    return base


def first_place(draft: Draft, ledger: Ledger) -> Place | None:
    """Return the place at the head of a line, if there is one."""
    line = draft.get(ledger, ledger).line
    return None if line is None else draft.get(line, line).first


def extend_plan(draft: Draft, waiter: Waiter, due: int, tails: list[Tail]) -> None:
    """Add a newcomer, who stands at the end of its lines, to their plan if they need one.

    Args:
        draft: Where its places are.
        waiter: The newcomer.
        due: When it is served.
        tails: The ends of its lines as it found them.
    """
    places = draft[waiter].places
    lines = [draft[draft[place.ledger].line] for place in places]
    if not any(line.joint for line in lines):
        return
    plans = {line.plan for line in lines if line.plan is not None}
    alone = all(line.plan is not None or line.waiting == 1 for line in lines)
    if len(plans) > 1 or not alone:
        for plan in plans:
            draft[plan].valid = False
        return
    plan = plans.pop() if plans else _new_plan(draft)
    for place, line, (base, _) in zip(places, lines, tails, strict=True):
        ledger = draft[place.ledger]
        line.plan = plan
        draft[plan].tails[place.ledger] = (
            ledger.served(base, units_of(place.price, ledger.limit), due),
            due,
        )
    draft[plan].dues[waiter] = due


def drop_plan(draft: Draft, ledger: Ledger) -> None:
    """Mark the plan of a line as outdated, because something has changed there."""
    line = draft.get(ledger, ledger).line
    plan = None if line is None else draft.get(line, line).plan
    if plan is not None:
        draft[plan].valid = False


def tail_of(draft: Draft, ledger: Ledger, now: int) -> Tail:
    """Return the end of a line as a newcomer finds it, once all who are due have been served."""
    work = draft.get(ledger, ledger)
    if work.line is None:
        return max(work.base, now * work.limit.scale), now
    line = draft.get(work.line, work.line)
    if not line.joint:
        ahead = units_of(total(line.nodes, line.size), work.limit)
        return base_in_line(draft, ledger) + ahead, max(line.left, now)
    base, last = _plan_of(draft, ledger).tails[ledger]
    return base, max(last, now)


def _plan_of(draft: Draft, ledger: Ledger) -> Plan:
    line = draft.get(ledger, ledger).line
    plan = draft.get(line, line).plan
    if plan is None or not draft.get(plan, plan).valid:
        plan = _make_plan(draft, ledger)
    result: Plan = draft.get(plan, plan)
    return result


def _new_plan(draft: Draft) -> Plan:
    plan = Plan()
    draft.add(plan)
    return plan


def _make_plan(draft: Draft, ledger: Ledger) -> Plan:
    """Plan a line and all lines that share waiters with it, directly or not."""
    plan = _new_plan(draft)
    orders: dict[Waiter, int] = {}
    tails: dict[Ledger, Tail] = {}
    family = {ledger: draft[ledger]}
    pending = [ledger]
    while pending:
        draft.check()
        member = pending.pop()
        line = draft[family[member].line]
        line.plan = plan
        tails[member] = family[member].base, line.left
        for place in _places(draft, line):
            orders[place.waiter] = place.order
            for other in place.others:
                if other not in family and draft.get(other, other).line is not None:
                    family[other] = draft[other]
                    pending.append(other)
    for waiter in sorted(orders, key=orders.__getitem__):
        plan.dues[waiter] = _play(draft, waiter, family, tails)
    plan.tails.update(tails)
    return plan


def _play(
    draft: Draft, waiter: Waiter, family: dict[Ledger, Ledger], tails: dict[Ledger, Tail]
) -> int:
    """Return when a waiter at the ends of its lines is served, and move the ends behind it."""
    steps: list[tuple[Ledger, Ledger, int, int]] = []
    due = _LONG_AGO
    for place in draft.get(waiter, waiter).places:
        ledger = family[place.ledger]
        base, last = tails[place.ledger]
        price = units_of(draft.get(place, place).price, ledger.limit)
        there = ledger.due(base, price, last)
        due = max(due, there)
        steps.append((place.ledger, ledger, base, price))
    for original, ledger, base, price in steps:
        tails[original] = ledger.served(base, price, due), due
    return due


def _places(draft: Draft, line: Line) -> Iterator[Place]:
    """Yield the places in a line."""
    place = line.first
    while place is not None:
        yield place
        place = draft.get(place, place).behind
