"""The line of those who wait: first come, first served, in one bucket or in several at once.

Every bucket has a `Line`. Who cannot be served stands in the line of each bucket that it needs, and
is granted when it is first in all of them and all its tokens have accrued. Tokens are charged on
joining, so the `full_at` of a ledger includes its line, and newcomers pass nobody; `base` is what
`full_at` would be without the line.

Nobody is served by anyone: time alone grants. Whoever touches a line drops those whose time has
come. A sleeper is told on joining when its time will come, and sleeps until then. If somebody ahead
leaves, its time comes earlier: then the first sleeper of the line is woken to set its alarm anew,
and whoever is granted does the same for the next. So there is no polling and no herd (P13).

All of it runs under `ledger.exclusive`, here or in the caller, and the callers wake after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ..sleeping import Sleeper
from .ledger import Ledger, exclusive
from .line import HOLD, Line, Place, Waiter, next_number

__all__ = [
    "Prices",
    "correct",
    "due_of",
    "join",
    "leave",
    "look",
    "pause",
    "refresh",
    "reprice",
    "restate",
    "told",
    "wake",
]

Prices: TypeAlias = Sequence[tuple[Line, int]]
"""What to take, in clock units, from which line."""


def told(prices: Prices, now: int) -> int:
    """Return the nanosecond at which a newcomer's time would come if it joined now."""
    due = now
    for line, price in prices:
        base, last = _tail(line, now)
        due = max(due, last, line.due(base, price))
    return due


def join(waiter: Waiter, prices: Prices, latest: float, now: int) -> list[Sleeper]:
    """Stand in line and take the tokens, unless they will not be there by `latest`.

    The alarm of the waiter is set to when they will be, whether it stands in line or not.
    """
    lines = [line for line, _ in prices]
    granted = _advance(lines, now)
    waiter.alarm = due = told(prices, now)
    if due <= latest:
        _stand(waiter, prices, due, now)
    if due <= now:
        granted += _advance(lines, now)
    return _rouse(lines, granted)


@exclusive
def look(waiter: Waiter, now: int) -> list[Sleeper]:
    """Have a sleeper that woke see whether its time has come, and if not, set its alarm.

    If others sleep before it, it has no alarm: the last of them will rouse it.
    """
    granted = _advance(waiter.lines, now)
    if not waiter.granted:
        waiter.alarm = _exact(waiter)
    return _rouse(waiter.lines, granted)


@exclusive
def leave(waiter: Waiter, now: int) -> list[Sleeper]:
    """Give the tokens back, granted or not, and leave the line; those behind move up."""
    lines = waiter.lines
    granted = _advance(lines, now)
    while waiter.places:
        waiter.places[-1].abandon(now)
        waiter.places.pop()
    return _rouse(lines, granted + _advance(lines, now))


def reprice(waiter: Waiter, prices: Prices, now: int) -> list[Sleeper]:
    """Change what somebody pays, whether it has been granted or still waits."""
    changed = dict(prices)
    granted = _advance(waiter.lines, now)
    for place in waiter.places:
        if place.line in changed:
            place.reprice(changed[place.line], now)
    return _rouse(waiter.lines, granted + _advance(waiter.lines, now))


def correct(extras: Prices, now: int) -> list[Sleeper]:
    """Charge more for what has been taken before, or with negative amounts, give back."""
    lines = [line for line, _ in extras]
    granted = _advance(lines, now)
    for line, extra in extras:
        line.correct(extra, now)
    return _rouse(lines, granted + _advance(lines, now))


@exclusive
def pause(lines: Sequence[Line], until: int, now: int) -> list[Sleeper]:
    """Empty the buckets until the nanosecond `until`, and let them refill from then on."""
    granted = _advance(lines, now)
    for line in lines:
        line.bar(until * line.ledger.scale + line.ledger.span)
    return _rouse(lines, granted)


def restate(line: Line, ledger: Ledger, now: int) -> list[Sleeper]:
    """Go on with another ledger, and so with another capacity or rate."""
    granted = _advance([line], now)
    line.restate(ledger, now)
    return _rouse([line], granted + _advance([line], now))


@exclusive
def refresh(line: Line, now: int) -> list[Sleeper]:
    """Grant everybody in this line whose time has come."""
    return _rouse([line], _advance([line], now))


@exclusive
def due_of(waiter: Waiter) -> int | None:
    """Return the nanosecond at which somebody's time comes if nothing changes; None if it has."""
    return None if waiter.granted else _plan(waiter.lines).get(waiter)


def wake(sleepers: Iterable[Sleeper]) -> None:
    """Wake these; to be called when the lock is free again."""
    for sleeper in sleepers:
        sleeper.wake()


def _stand(waiter: Waiter, prices: Prices, due: int, now: int) -> None:
    waiter.order = next_number()
    waiter.places = [Place(line, price, waiter) for line, price in prices]
    for place in waiter.places:
        line, base = place.line, _tail(place.line, now)[0]
        tail = (line.charged(base, place.price, due), due, Line.changes)
        place.book(place.price if len(prices) == 1 else place.price + HOLD, now)
        line.tail = tail


def _advance(lines: Iterable[Line], now: int) -> list[Waiter]:
    """Grant and return everybody in these lines whose time has come."""
    pending = list(lines)
    granted: list[Waiter] = []
    while pending:
        first = pending.pop().first
        if first is None:
            continue
        if blocking := first.waiter.not_first_in:
            pending.extend(blocking)  # whoever is ahead there came earlier, so this comes to an end
            continue
        due = max(place.due() for place in first.waiter.places)
        if due > now:
            continue
        first.waiter.wake_before(now)  # first, so that no interrupt can keep it asleep (P19)
        first.waiter.granted = True
        granted.append(first.waiter)
        for place in first.waiter.places:
            place.pay(due)
            pending.append(place.line)
    return granted


def _rouse(lines: Iterable[Line], granted: Iterable[Waiter]) -> list[Sleeper]:
    """Return the first sleepers of lines that moved, if their time now comes before their alarm."""
    sleepers: list[Sleeper] = []
    moved = (line for waiter in granted for line in waiter.lines)
    for line in _connected([*lines, *moved], by_reservations=True):
        waiter, _ = _first_sleeper(line)
        if waiter is None or waiter.sleeper is None or (due := _exact(waiter)) is None:
            continue
        if waiter.alarm is None or due < waiter.alarm:
            waiter.alarm = due
            sleepers.append(waiter.sleeper)
    return sleepers


def _first_sleeper(line: Line) -> tuple[Waiter | None, int]:
    """Return the first in line that sleeps, and the price of the reservations ahead of it."""
    ahead = 0
    for place in line.places:
        if place.waiter.sleeper is not None:
            return place.waiter, ahead
        ahead += place.price
    return None, ahead


def _exact(waiter: Waiter) -> int | None:
    """Return when a sleeper's time comes, if it is the first sleeper wherever it stands."""
    firsts = [_first_sleeper(line) for line in waiter.lines]
    if any(first is not waiter for first, _ in firsts):
        return None
    if waiter.not_first_in and any(line.booked >= HOLD for line in waiter.lines):
        return _plan(waiter.lines)[waiter]  # what is ahead may wait for another line
    return max(place.due(ahead) for place, (_, ahead) in zip(waiter.places, firsts, strict=True))


def _tail(line: Line, now: int) -> tuple[int, int]:
    """Return the base that a newcomer finds at the end of a line, and when the last one leaves."""
    if line.booked < HOLD:
        return max(line.ledger.full_at, now * line.ledger.scale), now
    if line.tail[2] != Line.changes:
        _plan([line])
    return line.tail[:2]


def _plan(lines: Iterable[Line]) -> dict[Waiter, int]:
    """Play through these lines, and all that share waiters with them; note where they end."""
    tails = {line: (line.base, line.left) for line in _connected(lines)}
    waiters = {place.waiter for line in tails for place in line.places}
    dues: dict[Waiter, int] = {}
    for waiter in sorted(waiters, key=lambda waiter: waiter.order):
        steps = [(place.line, place.price, *tails[place.line]) for place in waiter.places]
        due = max(max(line.due(base, price), last) for line, price, base, last in steps)
        tails.update(
            {line: (line.charged(base, price, due), due) for line, price, base, _ in steps}
        )
        dues[waiter] = due
    for line, tail in tails.items():
        line.tail = (*tail, Line.changes)
    return dues


def _connected(lines: Iterable[Line], *, by_reservations: bool = False) -> Iterable[Line]:
    """Return these lines and all that share waiters with them, directly or through others.

    With `by_reservations` only those count who stand ahead of the first sleeper of a line.
    """
    found = dict.fromkeys(lines)
    pending = list(found)
    while pending:
        for place in pending.pop().places:
            if by_reservations and place.waiter.sleeper is not None:
                break
            new = [line for line in place.waiter.lines if line not in found]
            found.update(dict.fromkeys(new))
            pending.extend(new)
    return found
