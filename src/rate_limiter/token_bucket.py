"""The token bucket: a ledger, a clock, and callers that may wait."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Self

from .bucket import Tokens, number_of
from .clock import NANO, SYSTEM_CLOCK, Clock
from .memory.bucket import LocalBucket
from .memory.ledger import Ledger, exclusive
from .memory.line import Line
from .memory.waiting import Prices, refresh, restate, wake
from .rates import Number, non_negative, parse_rate, per_second, positive, shown
from .sleeping import Sleeper

__all__ = ["TokenBucket"]

_ONE = 1  # what nearly every call costs; knowing it by identity spares a fifth of `allow`


class TokenBucket(LocalBucket):
    """Hold up to `capacity` tokens and get `tokens_per_second` new ones, evenly, all the time.

    Think of a jar of coins that someone tops up at a steady pace until it is full. Whoever wants
    to do something takes coins first: a full jar serves that many at once, an empty one holds
    everybody to the pace of the topping-up.

        bucket = TokenBucket(capacity=10, tokens_per_second=5)
        if bucket.allow():
            ...  # one token taken
        bucket.wait(3)  # blocks until three are there, and takes them

    One bucket serves threads, tasks of any number of event loops, and signal handlers at the same
    time. A forked child goes on with a copy of its own. It is not a limit on how many things run
    at once; that is a semaphore.

    Args:
        capacity: The most tokens it holds.
        tokens_per_second: How fast tokens come back.
        initial_tokens: What it holds at first, from 0 to `capacity`; full if None.
        clock: Where time comes from; the machine's monotonic clock if None. Tests pass a
            `rate_limiter.testing.ManualClock`.

    Raises:
        TypeError: An argument is not a real number (bool included), or `clock` is no clock.
        ValueError: A number is not positive and finite, or `initial_tokens` is out of range.
    """

    __slots__ = ("_ledger", "_line")

    def __init__(
        self,
        capacity: Number,
        tokens_per_second: Number,
        *,
        initial_tokens: Number | None = None,
        clock: Clock | None = None,
    ) -> None:
        ledger = Ledger(positive(capacity, "capacity"), per_second(tokens_per_second))
        missing = 0 if initial_tokens is None else ledger.span - _read_level(initial_tokens, ledger)
        self._ledger = ledger
        self._line: Line | None = None
        self._use_clock(SYSTEM_CLOCK if clock is None else clock)
        ledger.full_at = self._now() * ledger.scale + missing

    @classmethod
    def from_rate(
        cls,
        rate: str,
        capacity: Number | None = None,
        *,
        initial_tokens: Number | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Make a bucket from a rate in words.

            TokenBucket.from_rate("100/minute")
            TokenBucket.from_rate("5 per 10 seconds", capacity=1)

        Args:
            rate: A count per second, minute, hour or day, or per a number of them.
            capacity: The most tokens it holds; the count in `rate` if None.
            initial_tokens: As for the class.
            clock: As for the class.

        Raises:
            TypeError: `rate` is not a string; otherwise as for the class.
            ValueError: `rate` does not have this form; otherwise as for the class.
        """
        count, tokens_per_second = parse_rate(rate)
        return cls(
            count if capacity is None else capacity,
            tokens_per_second,
            initial_tokens=initial_tokens,
            clock=clock,
        )

    @property
    def capacity(self) -> float:
        """The most tokens the bucket holds."""
        return self._ledger.capacity

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self._ledger.tokens_per_second

    @property
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; never below zero, not even in debt."""
        if self._line is not None:
            wake(refresh(self._line, self._now()))
        ledger = self._ledger
        level = max(ledger.level(self._now() * ledger.scale), 0)
        tokens = level / ledger.unit
        while ledger.amount(tokens) > level:  # so that allow(available_tokens) succeeds
            tokens = math.nextafter(tokens, 0.0)
        return tokens

    def allow(self, tokens: Tokens = 1) -> bool:
        ledger = self._ledger
        cost = ledger.unit if tokens is _ONE else ledger.cost(number_of(tokens))
        now = self._now() * ledger.scale
        latest = now + ledger.span - cost
        if ledger.full_at <= latest and ledger.charge(cost, now, latest) <= latest:
            return True
        return self._line is not None and self._outdated(ledger) and self._take(tokens)

    try_consume = allow

    def configure(
        self, capacity: Number | None = None, tokens_per_second: Number | None = None
    ) -> None:
        """Change the limit while it is in use; tokens, debt and waiters are kept.

        Args:
            capacity: The most tokens it holds from now on; as before if None.
            tokens_per_second: How fast tokens come back from now on; as before if None.

        Raises:
            TypeError: An argument is not a real number.
            ValueError: An argument is not positive and finite.
        """
        new_capacity = None if capacity is None else positive(capacity, "capacity")
        new_rate = None if tokens_per_second is None else per_second(tokens_per_second)
        wake(self._restate(new_capacity, new_rate, self._now()))

    @property
    def _lines(self) -> list[Line]:
        return [self._own_line()]

    def _prices(self, tokens: Tokens) -> Prices:
        line = self._own_line()
        return [(line, line.ledger.cost(number_of(tokens)))]

    def _amounts(self, tokens: Tokens) -> Prices:
        line = self._own_line()
        return [(line, line.ledger.amount(number_of(tokens)))]

    def _full_in(self) -> int:
        if self._line is not None:
            wake(refresh(self._line, self._now()))
        ledger = self._ledger
        return max(-(-ledger.full_at // ledger.scale) - self._now(), 0)

    def _twin(self) -> TokenBucket:
        twin = object.__new__(type(self))
        twin._clock, twin._now = self._clock, self._now
        twin._ledger, twin._line = self._ledger, self._line
        return twin

    @exclusive
    def _outdated(self, ledger: Ledger) -> bool:
        """Tell whether a refusal may be wrong: somebody's time has come, or the limit changed."""
        line = self._own_line()
        first = line.first
        return line.ledger is not ledger or (first is not None and first.due() <= self._now())

    @exclusive
    def _restate(
        self, capacity: Fraction | None, tokens_per_second: Fraction | None, now: int
    ) -> list[Sleeper]:
        old, line = self._ledger, self._own_line()
        self._ledger = Ledger(
            capacity or Fraction(old.span, old.unit),
            tokens_per_second or Fraction(old.scale * NANO, old.unit),
        )
        return restate(line, self._ledger, now)

    @exclusive
    def _own_line(self) -> Line:
        """Return the line, made when it is first needed: most buckets never have one."""
        if self._line is None:
            self._line = Line(self._ledger)
        return self._line

    def _move_to(self, clock: Clock) -> Any:
        state = self._clock, self._ledger, self._line
        self._use_clock(clock)
        self._ledger, self._line = self._ledger.renewed(clock.now()), None
        return state

    def _move_back(self, state: Any) -> None:
        clock, self._ledger, self._line = state
        self._use_clock(clock)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(capacity={self.capacity:g}, "
            f"tokens_per_second={self.tokens_per_second:g}, "
            f"available_tokens={self.available_tokens:g})"
        )


def _read_level(initial_tokens: Number, ledger: Ledger) -> int:
    level = round(non_negative(initial_tokens, "initial_tokens") * ledger.unit)
    if level > ledger.span:
        raise ValueError(
            f"initial_tokens must be at most the capacity of {ledger.capacity:g}, "
            f"got {shown(initial_tokens)}"
        )
    return level
