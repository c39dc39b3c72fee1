"""Serve the waiters whose time has come, change levels, and name the sleepers to wake."""

from __future__ import annotations

from collections.abc import Iterable

from ..clock import CENTURY
from ..units import Exact, Limit, units_of
from .draft import Draft
from .ledger import Ledger
from .line import Place, Waiter, head_price, take_out
from .planning import drop_plan, due_at_head, due_of, first_place

__all__ = [
    "MOST_SERVED",
    "TOO_MUCH",
    "begin_change",
    "check_debt",
    "correct_one",
    "end_change",
    "rouse",
    "serve",
    "serve_one",
    "units_to_correct",
]

MOST_SERVED = 64  # in one step, so that nobody else is held up for long (P38)
TOO_MUCH = "tokens must be at most what comes back in 100 years"


def correct_one(draft: Draft, ledger: Ledger, extra: Exact, now: int) -> None:
    """Charge these tokens on top, or give them back if they are below zero."""
    begin_change(draft, ledger, now)
    work = draft[ledger]
    floor = work.floor(now, head_price(draft, ledger))
    work.full_at = work.corrected(units_to_correct(extra, work.limit), floor)
    check_debt(work.limit, work.full_at, now)
    end_change(draft, ledger, now)


def units_to_correct(extra: Exact, limit: Limit) -> int:
    """Convert tokens to units; below zero they are given back."""
    if type(extra) is int:
        return extra * limit.unit
    return units_of(extra, limit) if extra >= 0 else -units_of(-extra, limit)


def check_debt(limit: Limit, full_at: int, now: int) -> None:
    """Refuse a debt that takes more than 100 years to pay.

    Raises:
        ValueError: It does.
    """
    if full_at - now * limit.scale - limit.span > CENTURY * limit.scale:
        raise ValueError(TOO_MUCH)


def begin_change(draft: Draft, ledger: Ledger, now: int) -> None:
    """Prepare a change of a ledger: its plan is outdated, and a pause that is over is folded in."""
    drop_plan(draft, ledger)
    draft[ledger].end_pause(now)


def end_change(draft: Draft, ledger: Ledger, now: int) -> None:
    """Finish a change of a ledger: nobody is served before it, and the fast path is on or off."""
    work = draft[ledger]
    if work.line is not None:
        draft.moved.append(ledger)
        line = draft[work.line]
        line.left = max(line.left, now)
    work.fast = work.limit if work.line is None and work.closed_until is None else None


def serve(draft: Draft, ledgers: Iterable[Ledger], now: int) -> bool:
    """Serve the waiters whose time has come; return False if one step could not serve them all."""
    pending, served = list(ledgers), 0
    while pending:
        draft.check()  # or the loop might never end in a line that a handler has changed
        place = first_place(draft, pending.pop())
        if place is None:
            continue
        places = draft.get(place.waiter, place.waiter).places
        ahead = [p.ledger for p in places if first_place(draft, p.ledger) is not p]
        if ahead:  # the first one there joined earlier, so this ends
            pending.extend(ahead)
            continue
        due = due_at_head(draft, place.waiter)
        if due > now:
            continue
        if served == MOST_SERVED:
            return False
        serve_one(draft, place.waiter, due, now)
        served += 1
        pending.extend(p.ledger for p in places)
    return True


def serve_one(draft: Draft, waiter: Waiter, due: int, now: int) -> None:
    """Give a waiter who is first in all its lines its tokens, as of `due`."""
    work = draft[waiter]
    for place in work.places:
        ledger = draft[place.ledger]
        price = units_of(draft.get(place, place).price, ledger.limit)
        ledger.full_at = ledger.served(ledger.base, price, due)
        ledger.closed_until = None  # or it would not be due
        line = draft[ledger.line]
        take_out(draft, place)
        line.left = due
        ledger.fast = ledger.limit if ledger.line is None else None
        draft.moved.append(place.ledger)
    work.served = True
    if work.sleeper is not None and work.alarm > now:
        draft.wake(work.sleeper)


def rouse(draft: Draft) -> None:
    """Wake the first sleepers of lines that moved, if they are due before their alarm.

    Each of them wakes the next one when it has been served, so no crowd wakes at once (P13).
    """
    pending = list(dict.fromkeys(draft.moved))
    found = set(pending)
    while pending:
        ledger = pending.pop()
        line = draft.get(ledger, ledger).line
        if line is not None:
            line = draft.get(line, line)
            if line.first_asleep is not None:
                _rouse_one(draft, line.first_asleep.waiter)
            if line.linked is not None:
                new = [other for other in line.linked.keys_of_all() if other not in found]
                found.update(new)
                pending.extend(new)


def _rouse_one(draft: Draft, waiter: Waiter) -> None:
    places = draft.get(waiter, waiter).places
    if waiter.sleeper is None or any(_first_asleep(draft, p.ledger) is not p for p in places):
        return  # it is woken when the last sleeper ahead of it has been served
    due = due_of(draft, waiter)
    if due < draft.get(waiter, waiter).alarm:
        draft[waiter].alarm = due
        draft.wake(waiter.sleeper)


def _first_asleep(draft: Draft, ledger: Ledger) -> Place | None:
    line = draft.get(ledger, ledger).line
    return None if line is None else draft.get(line, line).first_asleep
