"""Buckets whose tokens are in this process: wait, reserve, correct, pause."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from ..bucket import Acquired, Bucket, Paid, Reservation, Tokens
from ..clock import Clock, nanoseconds, seconds, timeout_nanoseconds
from ..rates import Number, shown
from ..sleeping import Sleeper, ThreadSleeper, task_sleeper
from .ledger import exclusive
from .line import Line, Waiter
from .waiting import (
    Prices,
    correct,
    due_of,
    join,
    leave,
    look,
    pause,
    reprice,
    told,
    wake,
)

__all__ = ["LocalBucket"]


class LocalBucket(Bucket):
    """A bucket whose tokens and line of callers are in this process."""

    __slots__ = ("_clock",)

    _clock: Clock

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        timeout_nanoseconds(timeout)
        if not self.allow(tokens):
            self._wait(tokens, timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        timeout_nanoseconds(timeout)
        if not self.allow(tokens):
            await self._wait_async(tokens, timeout)

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        waiter = Waiter()
        try:
            self._join(waiter, tokens, timeout)
        except BaseException:
            wake(leave(waiter, self._now()))
            raise
        return LocalReservation(self, waiter)

    def refund(self, tokens: Tokens) -> None:
        wake(self._give_back(tokens, self._now()))

    def pause(self, seconds: Number) -> None:
        duration, now = nanoseconds(seconds), self._now()
        wake(pause(self._lines, now + duration, now))

    def retry_after(self, tokens: Tokens = 1) -> float:
        now = self._now()
        due = self._told(tokens, now)
        return math.inf if due is None else seconds(due - now)

    @property
    @abstractmethod
    def _lines(self) -> list[Line]:
        """The lines of its callers."""

    @abstractmethod
    def _twin(self) -> LocalBucket: ...

    @abstractmethod
    def _prices(self, tokens: Tokens) -> Prices:
        """Return the lines to stand in for so many tokens, and the price in each, or refuse."""

    @abstractmethod
    def _amounts(self, tokens: Tokens) -> Prices:
        """Do as `_prices` for tokens that have been used, and may be none."""

    def _take(self, tokens: Tokens) -> bool:
        """Take tokens if they are there now, also from a bucket that has a line."""
        waiter, now = Waiter(), self._now()
        wake(self._enter(waiter, tokens, now, now))
        return waiter.granted

    def _check(self, tokens: Tokens) -> None:
        self._prices(tokens)

    @exclusive
    def _fits(self, tokens: Tokens) -> bool:
        return all(price <= line.ledger.span for line, price in self._prices(tokens))

    def _acquire(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        if self.allow(tokens):
            return 0.0, self
        if block:
            return self._wait(tokens, timeout), self
        raise self._refusal(tokens, self.retry_after(tokens))

    async def _acquire_async(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        if self.allow(tokens):
            return 0.0, self
        if block:
            return await self._wait_async(tokens, timeout), self
        raise self._refusal(tokens, self.retry_after(tokens))

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        return self.allow if tokens == 1 else partial(self.allow, tokens)

    def _wait(self, tokens: Tokens, timeout: Number | None) -> float:
        """Take tokens as `wait` does; return the seconds waited."""
        asked, sleeper = self._now(), ThreadSleeper()
        waiter = Waiter(sleeper)
        try:
            self._join(waiter, tokens, timeout)
            while not waiter.granted:
                self._clock.sleep(sleeper, waiter.alarm)
                wake(look(waiter, self._now()))
        except BaseException:
            wake(leave(waiter, self._now()))
            raise
        return seconds(max(self._now() - asked, 0))

    async def _wait_async(self, tokens: Tokens, timeout: Number | None) -> float:
        asked, sleeper = self._now(), task_sleeper()
        waiter = Waiter(sleeper)
        try:
            self._join(waiter, tokens, timeout)
            while not waiter.granted:
                await self._clock.sleep_async(sleeper, waiter.alarm)
                wake(look(waiter, self._now()))
        except BaseException:
            wake(leave(waiter, self._now()))
            raise
        return seconds(max(self._now() - asked, 0))

    def _join(self, waiter: Waiter, tokens: Tokens, timeout: Number | None) -> None:
        limit = timeout_nanoseconds(timeout)
        now = self._now()
        wake(self._enter(waiter, tokens, math.inf if limit is None else now + limit, now))
        if not waiter.places:
            delay = seconds((waiter.alarm or now) - now)
            raise self._too_late(tokens, delay, timeout)

    def _correct(self, paid: Paid, used: Paid) -> None:
        wake(_correct(paid, used, self._now()))
        paid.update(used)

    async def _correct_async(self, paid: Paid, used: Paid) -> None:
        self._correct(paid, used)

    # Prices are in units that `configure` may change, so they are read and used in one step.

    @exclusive
    def _told(self, tokens: Tokens, now: int) -> int | None:
        return told(self._prices(tokens), now) if self._fits(tokens) else None

    @exclusive
    def _enter(self, waiter: Waiter, tokens: Tokens, latest: float, now: int) -> list[Sleeper]:
        return join(waiter, self._prices(tokens), latest, now)

    @exclusive
    def _give_back(self, tokens: Tokens, now: int) -> list[Sleeper]:
        return correct([(line, -price) for line, price in self._prices(tokens)], now)

    @exclusive
    def _reprice(self, waiter: Waiter, tokens: Tokens, now: int) -> list[Sleeper]:
        return reprice(waiter, self._amounts(tokens), now)

    @exclusive
    def _paid(self, tokens: Tokens) -> Paid:
        return {line: Fraction(x, line.ledger.unit) for line, x in self._amounts(tokens)}

    def _use_clock(self, clock: Clock) -> None:
        if isinstance(clock, type) or not isinstance(clock, Clock):
            raise TypeError(
                f"clock must have now(), sleep() and sleep_async(), as "
                f"rate_limiter.testing.ManualClock has; got {shown(clock)}"
            )
        self._clock = clock
        self._now = clock.now


class LocalReservation(Reservation):
    """Tokens of a local bucket taken now for a use later."""

    __slots__ = ("_bucket", "_waiter")

    def __init__(self, bucket: LocalBucket, waiter: Waiter) -> None:
        self._bucket = bucket
        self._waiter = waiter

    @property
    def delay(self) -> float:
        due = due_of(self._waiter)
        return 0.0 if due is None else seconds(max(due - self._bucket._now(), 0))

    def cancel(self) -> None:
        wake(leave(self._waiter, self._bucket._now()))

    def settle(self, actual: Tokens) -> None:
        if not self._waiter.places:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        bucket = self._bucket
        wake(bucket._reprice(self._waiter, actual, bucket._now()))

    def __repr__(self) -> str:
        state = f"delay={self.delay:g}" if self._waiter.places else "cancelled"
        return f"Reservation({state})"


@exclusive
def _correct(paid: Paid, used: Paid, now: int) -> list[Sleeper]:
    return correct(
        [
            (line, round((tokens - paid.get(line, 0)) * line.ledger.unit))
            for line, tokens in used.items()
        ],
        now,
    )
