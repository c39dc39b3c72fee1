"""What buckets are like at an instant."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..clock import seconds
from ..level import Level
from ..units import Limit, units_of
from .ledger import Ledger
from .planning import base_in_line
from .sums import total

__all__ = ["Snapshot", "full_in", "level_of", "snapshot", "unpaused"]


class Snapshot(NamedTuple):
    """What a bucket is like at an instant; its `Level` follows from it.

    Attributes:
        limit: The limit.
        base: What the head of the line counts from, in units: when it is full without the waiters.
        closed_until: The end of a pause in nanoseconds, or None.
        waiting: How many callers wait.
        booked: The sum of their prices, in units.
    """

    limit: Limit
    base: int
    closed_until: int | None
    waiting: int
    booked: int


def unpaused(limit: Limit, full_at: int) -> Snapshot:
    """Return the snapshot of a bucket that nobody waits for and that has no pause."""
    return Snapshot(limit, full_at, None, 0, 0)


def snapshot(draft: dict[Any, Any], ledger: Ledger) -> Snapshot:
    """Return what a bucket is like."""
    work = draft.get(ledger, ledger)
    if work.line is None:
        return Snapshot(work.limit, work.base, work.closed_until, 0, 0)
    line = draft.get(work.line, work.line)
    booked = units_of(total(line.nodes, line.size), work.limit)
    base = base_in_line(draft, ledger)
    return Snapshot(work.limit, base, work.closed_until, line.waiting, booked)


def full_in(shot: Snapshot, now: int) -> int:
    """Return the nanoseconds until the bucket is full and all waiters have been served."""
    return max(-(-(shot.base + shot.booked) // shot.limit.scale) - now, 0)


def level_of(shot: Snapshot, now: int) -> Level:
    """Return the level of a bucket that was like this at the nanosecond `now`."""
    limit, base, closed_until, waiting, _ = shot
    closed = closed_until is not None and closed_until > now
    units = 0 if closed or waiting else limit.span - max(base - now * limit.scale, 0)
    return Level(
        capacity=limit.capacity,
        tokens_per_second=limit.tokens_per_second,
        available_tokens=limit.available(units),
        full_in=seconds(full_in(shot, now)),
        paused_for=seconds(closed_until - now) if closed_until is not None and closed else 0.0,
        waiting=waiting,
    )
