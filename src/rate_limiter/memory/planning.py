"""When each of those who wait is served.

In the line of one bucket that is a sum: a place is served when its price and those ahead of it have
accrued. A waiter who needs several buckets is held up by the slowest, and holds up those behind it
in all the others. So lines that share waiters, directly or through others, are played through in
the order of joining, and the plan is kept until something changes in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, TypeAlias

from ..units import units_of
from .draft import Draft, Table
from .ledger import Ledger
from .line import Line, Place, Waiter
from .sums import total

__all__ = [
    "Plan",
    "Tail",
    "drop_plan",
    "due_at_head",
    "due_of",
    "extend_plan",
    "first_place",
    "tail_of",
]

Tail: TypeAlias = tuple[int, int]
"""What a newcomer finds at the end of a line: the base in units, and when the last one leaves."""


class Plan:
    """When the waiters in a family of lines are served.

    Attributes:
        valid: Whether nothing has changed since.
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
    """Return when a waiter who is first wherever it stands is served."""
    dues: list[int] = []
    for place in draft.get(waiter, waiter).places:
        ledger = draft.get(place.ledger, place.ledger)
        price = units_of(draft.get(place, place).price, ledger.limit)
        dues.append(ledger.due(ledger.base, price, draft.get(ledger.line, ledger.line).left))
    return max(dues)


def due_of(draft: Draft, waiter: Waiter) -> int:
    """Return when someone who waits is served, if nothing changes."""
    places = draft.get(waiter, waiter).places
    place = places[0]
    ledger = draft.get(place.ledger, place.ledger)
    line = draft.get(ledger.line, ledger.line)
    if not line.joint:
        price = units_of(total(line.nodes, place.number), ledger.limit)
        return ledger.due(ledger.base, price, line.left)
    if all(first_place(draft, place.ledger) is place for place in places):
        return due_at_head(draft, waiter)
    due: int = _plan_of(draft, place.ledger).dues[waiter]
    return due


def first_place(draft: Draft, ledger: Ledger) -> Place | None:
    """Return the place at the head of a line, if there is one."""
    line = draft.get(ledger, ledger).line
    return None if line is None else draft.get(line, line).first


def extend_plan(draft: Draft, waiter: Waiter, due: int, tails: list[Tail]) -> None:
    """Note in the plan, if one is needed, that a newcomer stands at the end of its lines now.

    Args:
        draft: Where its places are.
        waiter: The newcomer.
        due: When it is served.
        tails: What it has found at the ends of its lines.
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
    """Forget the plan, for something has changed in a line that it covers."""
    line = draft.get(ledger, ledger).line
    plan = None if line is None else draft.get(line, line).plan
    if plan is not None:
        draft[plan].valid = False


def tail_of(draft: Draft, ledger: Ledger, now: int) -> Tail:
    """Return what a newcomer finds at the end of a line in which nobody's time has come."""
    work = draft.get(ledger, ledger)
    if work.line is None:
        return max(work.base, now * work.limit.scale), now
    line = draft.get(work.line, work.line)
    if not line.joint:
        ahead = units_of(total(line.nodes, line.size), work.limit)
        return work.base + ahead, max(line.left, now)
    base, last = _plan_of(draft, ledger).tails[ledger]
    return base, max(last, now)


def _plan_of(draft: Draft, ledger: Ledger) -> Plan:
    line: Line = draft[draft[ledger].line]
    plan = line.plan
    if plan is None or not draft.get(plan, plan).valid:
        plan = _make_plan(draft, ledger)
    result: Plan = draft.get(plan, plan)
    return result


def _new_plan(draft: Draft) -> Plan:
    plan = Plan()
    draft.add(plan)
    return plan


def _make_plan(draft: Draft, ledger: Ledger) -> Plan:
    """Play through a line and all that share waiters with it."""
    plan = _new_plan(draft)
    tails: dict[Ledger, Tail] = {}
    for member in _family(draft, ledger):
        work = draft[member]
        line = draft[work.line]
        line.plan = plan
        tails[member] = work.base, line.left
    waiters = {place.waiter for member in tails for place in _places(draft, member)}
    for waiter in sorted(waiters, key=lambda waiter: draft.get(waiter, waiter).order):
        plan.dues[waiter] = _play(draft, draft.get(waiter, waiter).places, tails)
    plan.tails.update(tails)
    return plan


def _play(draft: Draft, places: tuple[Place, ...], tails: dict[Ledger, Tail]) -> int:
    """Serve a waiter at the ends of its lines, and return when."""
    steps = []
    for place in places:
        ledger = draft[place.ledger]
        base, last = tails[place.ledger]
        price = units_of(draft.get(place, place).price, ledger.limit)
        steps.append((ledger, base, price, ledger.due(base, price, last)))
    due = max(there for _, _, _, there in steps)
    for place, (ledger, base, price, _) in zip(places, steps, strict=True):
        tails[place.ledger] = ledger.served(base, price, due), due
    return due


def _family(draft: Draft, ledger: Ledger) -> dict[Ledger, None]:
    """Return a ledger and all whose lines share waiters with its line, directly or not."""
    found = {ledger: None}
    pending = [ledger]
    while pending:
        draft.check()
        for place in _places(draft, pending.pop()):
            for other in draft.get(place.waiter, place.waiter).places:
                if other.ledger not in found:
                    found[other.ledger] = None
                    pending.append(other.ledger)
    return found


def _places(draft: Draft, ledger: Ledger) -> Iterator[Place]:
    """Yield the places in a line."""
    place = first_place(draft, ledger)
    while place is not None:
        draft.check()
        yield place
        place = draft.get(place, place).behind
