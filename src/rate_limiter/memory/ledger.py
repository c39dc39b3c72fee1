"""The whole algorithm: one integer that says when the bucket will be full again.

At `r` tokens per second a token is worth `1/r` seconds, so a bucket that lacks three tokens is a
bucket that will be full in `3/r` seconds. That instant, `full_at`, is all there is to remember:
nothing is refilled, nothing drifts. Taking tokens moves it later, refunding moves it earlier, and
time passing does the rest. This is the virtual scheduling form of the generic cell rate algorithm
(ITU-T I.371, annex A), kept in integers so that no comparison needs a tolerance.

The rules by which `full_at` moves are here. Instants called `now`, `due` and `closed_until` are
nanoseconds of the bucket's clock; `full_at`, `base` and prices are in units of the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import gettrace
from typing import Any, ClassVar

from ..admission import Tokens
from ..core import LedgerFields, layout, twin
from ..units import LARGE, Limit
from .transaction import JOURNAL

__all__ = ["FastPath", "Ledger"]

_ONE = 1  # what nearly every call costs; it is known by its identity, for True == 1


@layout("ledger")
class Ledger(LedgerFields):
    """Count the tokens of one bucket.

    Attributes:
        limit: The capacity and the rate.
        full_at: When the bucket is full, in units. It counts grants only: no pause, no waiters.
        closed_until: The end of a pause in nanoseconds; None without one. The first change after
            the end folds it into `full_at`.
        line: Its waiters; None if there are none.
        fast: The limit while nobody waits and no pause is on; None otherwise. It is all that the
            fast path has to look at.
    """

    STATE: ClassVar[tuple[str, ...]] = ("closed_until", "fast", "full_at", "limit", "line")
    FIXED: ClassVar[tuple[str, ...]] = ()
    __slots__ = ()  # the attributes are of the base

    closed_until: int | None
    fast: Limit | None
    full_at: int
    limit: Limit
    line: Any

    @twin("begin_ledger")
    def __init__(self, limit: Limit, full_at: int) -> None:
        self.limit = limit
        self.full_at = full_at
        self.closed_until = None
        self.line = None
        self.fast = limit

    def when_full(self) -> int | None:
        """Return when the bucket is full, in nanoseconds; None if only a step can tell."""
        limit = self.fast
        # On one line, so that the two belong together.
        full_at = self.full_at if limit is not None and self.fast is limit and not JOURNAL.busy else None  # fmt: skip  # noqa: E501
        return None if limit is None or full_at is None else -(-full_at // limit.scale)

    @property
    def base(self) -> int:
        """What the next grant counts from: when the bucket is full, a pause included."""
        if self.closed_until is None:
            return self.full_at
        limit = self.limit
        return max(self.full_at, self.closed_until * limit.scale + limit.head_start)

    def due(self, base: int, price: int, left: int) -> int:
        """Return when a price could be served, in nanoseconds. Nothing else computes this.

        Args:
            base: When the bucket is full, in units, once the waiters ahead are served.
            price: The price, in units.
            left: The nanosecond before which nobody is served, such as when the one ahead leaves.
        """
        limit, closed_until = self.limit, self.closed_until
        due = -((limit.span - base - price) // limit.scale)
        due = due if due > left else left  # noqa: FURB136 - as in `corrected`
        return due if closed_until is None or closed_until < due else closed_until

    def served(self, base: int, price: int, due: int) -> int:
        """Return the base after a price was served at `due`.

        If its tokens had been there earlier, because another bucket of a group held it up, the
        tokens that came in beyond the capacity meanwhile are lost.
        """
        limit = self.limit
        if -((limit.span - base - price) // limit.scale) < due:
            base = max(base, due * limit.scale - max(price - limit.span, 0))
        return base + price

    def end_pause(self, now: int) -> None:
        """Fold a pause that is over into `full_at`, before anything else changes."""
        if self.closed_until is not None and self.closed_until <= now:
            self.full_at, self.closed_until = self.base, None

    def floor(self, now: int, head: int) -> int:
        """Return the least that `full_at` may be at `now`: below it, tokens are above the capacity.

        Args:
            now: Now, in nanoseconds.
            head: The price of the head of the line, in units; 0 if nobody waits. While it is above
                the capacity, tokens add up for it.
        """
        limit = self.limit
        return now * limit.scale - max(head - limit.span, 0)

    def corrected(self, units: int, floor: int) -> int:
        """Return `full_at` after these units were charged, or given back if they are below zero."""
        # max() and min() are calls, which would take a tenth of all that settling takes.
        full_at = self.full_at
        if units > 0:
            return (full_at if full_at > floor else floor) + units  # noqa: FURB136
        least = full_at if full_at < floor else floor  # noqa: FURB136
        full_at += units
        return full_at if full_at > least else least  # noqa: FURB136

    def cut(self, floor: int) -> None:
        """Drop the tokens above the capacity."""
        self.full_at = max(self.full_at, floor)

    def pause(self, until: int) -> None:
        """Admit nobody until the nanosecond `until`; a pause that lasts longer stays."""
        if self.closed_until is None or self.closed_until < until:
            self.closed_until = until

    def resume(self, now: int) -> None:
        """End a pause; at most one token is there now."""
        if self.closed_until is not None:
            self.closed_until = min(self.closed_until, now)
            self.end_pause(now)

    def restate(self, limit: Limit, now: int, head: int, new_head: int) -> None:
        """Go on with another limit; the level stays, up to the new capacity."""
        old = self.limit
        missing = max(self.full_at, self.floor(now, head)) - now * old.scale
        level = old.span - missing
        self.limit = limit
        self.full_at = now * limit.scale + limit.span - level * limit.unit // old.unit
        self.cut(self.floor(now, new_head))


class FastPath:
    """Take tokens from a ledger that nobody waits for, without a step.

    The question and the change are on one line that calls nothing: no thread, handler, finalizer or
    tracer of lines can come in between (P18, P19). It keeps off while a step is under way, which
    may be about to write, and where a tracer may let threads switch at any bytecode.
    """

    __slots__ = ()

    _ledger: Ledger
    _now: Callable[[], int]
    _allow_in_step: Callable[..., bool]

    @twin("allow")
    def allow(self, tokens: Tokens = 1) -> bool:
        """Take tokens if they are there now; see `Bucket.allow`."""
        ledger = self._ledger
        if (limit := ledger.fast) is not None and gettrace() is None:
            now = self._now() * limit.scale
            if tokens is _ONE:
                cost = limit.unit
                latest = now + limit.slack
            else:
                if type(tokens) is int and 0 < tokens < LARGE:
                    cost = tokens * limit.unit
                else:
                    cost = limit.cost(tokens)
                latest = now + limit.span - cost
            start: Any = None
            if ledger.fast is limit and not JOURNAL.busy and (start := full if (full := ledger.full_at) > now else now) <= latest: ledger.full_at = start + cost; return True  # fmt: skip  # noqa: E501, E701, E702
            if start is not None:
                return False
        return self._allow_in_step(tokens)

    try_consume = allow

    @twin("allow")
    def _take_quickly(self, tokens: Tokens = 1) -> bool:
        """Do as `allow`, by the fast path alone: what a decorated function tries first.

        False: use the slow path; it does not mean that the tokens are missing.
        """
        ledger = self._ledger
        if (limit := ledger.fast) is not None and gettrace() is None:
            now = self._now() * limit.scale
            if tokens is _ONE:
                cost = limit.unit
                latest = now + limit.slack
            else:
                if type(tokens) is int and 0 < tokens < LARGE:
                    cost = tokens * limit.unit
                else:
                    cost = limit.cost(tokens)
                latest = now + limit.span - cost
            if ledger.fast is limit and not JOURNAL.busy and (start := full if (full := ledger.full_at) > now else now) <= latest: ledger.full_at = start + cost; return True  # fmt: skip  # noqa: E501, E701, E702
        return False

    @twin("at_once")
    def _at_once(self, tokens: Tokens) -> tuple[int, Limit, int] | None:
        """Take tokens if they are there; see `BaseBucket._at_once`.

        Returns:
            Now in nanoseconds, the limit, and when the bucket will be full, in units.
        """
        ledger = self._ledger
        if (limit := ledger.fast) is not None and gettrace() is None:
            instant = self._now()
            now = instant * limit.scale
            if tokens is _ONE:
                cost = limit.unit
                latest = now + limit.slack
            else:
                cost = limit.cost(tokens)
                latest = now + limit.span - cost
            if ledger.fast is limit and not JOURNAL.busy and (start := full if (full := ledger.full_at) > now else now) <= latest: ledger.full_at = full = start + cost; return instant, limit, full  # fmt: skip  # noqa: E501, E701, E702
        return None
