"""What every kind of bucket can do: wait, reserve, correct, pause."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn, TypeAlias

from .clock import Clock, nanoseconds, seconds, timeout_nanoseconds
from .exceptions import RateLimitExceeded
from .ledger import exclusive
from .line import Line, Waiter
from .rates import Number, shown
from .sleeping import Sleeper, ThreadSleeper, task_sleeper
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

__all__ = ["Bucket", "Paid", "Reservation", "Tokens"]

Paid: TypeAlias = dict[Line, Fraction]
Tokens: TypeAlias = Number | Mapping[str, Number]
"""A number of tokens, or for a group a number for each of its named buckets."""


class Bucket(ABC):
    """Something that holds tokens, and a line of callers who wait for them."""

    __slots__ = ("__weakref__", "_clock", "_now")

    _clock: Clock
    _now: Callable[[], int]

    @abstractmethod
    def allow(self, tokens: Tokens = 1) -> bool:
        """Take tokens if they are there now; never block.

        Args:
            tokens: How many to take. More than the capacity are never there.

        Returns:
            Whether they were taken. A refusal changes nothing.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """

    def try_consume(self, tokens: Tokens = 1) -> bool:
        """Do as `allow`."""
        return self.allow(tokens)

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Block this thread until the tokens are there, and take them; first come, first served.

        Args:
            tokens: How many to take; more than the capacity are waited for as well.
            timeout: The most seconds to wait. 0 tries once; None waits as long as it takes.

        Raises:
            RateLimitExceeded: The wait would be longer than `timeout`: at once, nothing taken.
            TypeError: An argument is not a real number.
            ValueError: `tokens` is not positive and finite, or `timeout` is negative or NaN.
        """
        timeout_nanoseconds(timeout)
        if not self.allow(tokens):
            self._wait(tokens, timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Suspend this task until the tokens are there, and take them; otherwise as `wait`.

        It serves tasks of asyncio and of trio. A task that is cancelled meanwhile gives its tokens
        back, and those behind it move up.
        """
        timeout_nanoseconds(timeout)
        if not self.allow(tokens):
            await self._wait_async(tokens, timeout)

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        """Take tokens now for a use later; for schedulers, which wait in their own way.

            reservation = bucket.reserve()
            task_queue.enqueue(job, countdown=reservation.delay)

        Args:
            tokens: How many to take; more than the capacity are reserved as well.
            timeout: The longest acceptable delay in seconds; None accepts any.

        Raises:
            RateLimitExceeded: The delay would be longer than `timeout`: nothing is taken.
            TypeError: An argument is not a real number.
            ValueError: `tokens` is not positive and finite, or `timeout` is negative or NaN.
        """
        waiter = Waiter()
        try:
            self._join(waiter, tokens, timeout)
        except BaseException:
            wake(leave(waiter, self._now()))
            raise
        return Reservation(self, waiter)

    def refund(self, tokens: Tokens) -> None:
        """Give tokens back; what would overflow the bucket is lost.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """
        wake(self._give_back(tokens, self._now()))

    def pause(self, seconds: Number) -> None:
        """Admit nobody for so many seconds, as a server asks for with Retry-After.

        The bucket is empty then, and refills from then on. Whoever waits already, waits on.

        Raises:
            TypeError: `seconds` is not a real number.
            ValueError: `seconds` is negative, NaN or infinite.
        """
        duration, now = nanoseconds(seconds), self._now()
        wake(pause(self._lines, now + duration, now))

    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return the seconds until `allow(tokens)` could succeed, rounded up.

        0.0 means now, infinity never (more than the capacity). An `allow` made exactly then
        succeeds unless somebody else came first; one made a nanosecond earlier does not.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """
        now = self._now()
        due = self._told(tokens, now)
        return math.inf if due is None else seconds(due - now)

    @property
    @abstractmethod
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; never below zero, not even in debt."""

    @property
    @abstractmethod
    def capacity(self) -> float:
        """The most tokens it holds."""

    @property
    @abstractmethod
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""

    @property
    @abstractmethod
    def _lines(self) -> list[Line]:
        """The lines of its callers."""

    @abstractmethod
    def _prices(self, tokens: Tokens) -> Prices:
        """Return the lines to stand in for so many tokens, and the price in each, or refuse."""

    @abstractmethod
    def _amounts(self, tokens: Tokens) -> Prices:
        """Do as `_prices` for tokens that have been used, and may be none."""

    @abstractmethod
    def _full_in(self) -> int:
        """Return the nanoseconds until it is full and nobody waits; 0 if it is."""

    @abstractmethod
    def _twin(self) -> Bucket:
        """Return another handle to the same tokens and the same line."""

    @abstractmethod
    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock, full; return what `_move_back` needs."""

    @abstractmethod
    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""

    def _take(self, tokens: Tokens) -> bool:
        """Take tokens if they are there now, also from a bucket that has a line."""
        waiter, now = Waiter(), self._now()
        wake(self._enter(waiter, tokens, now, now))
        return waiter.granted

    def _check(self, tokens: Tokens) -> None:
        """Refuse what is no cost, as every call that takes tokens does."""
        self._prices(tokens)

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
            raise RateLimitExceeded(
                f"rate limit exceeded: a cost of {shown(tokens)} can be paid in {delay:.6g} s, "
                f"but the timeout is {timeout} s",
                retry_after=delay,
                tokens=tokens,
            )

    def _correct(self, paid: Paid, used: Paid) -> None:
        """Charge what was used beyond what was paid, or give the rest back, and note it as paid."""
        wake(_correct(paid, used, self._now()))
        paid.update(used)

    # Prices are in units that `configure` may change, so they are read and used in one step.

    @exclusive
    def _told(self, tokens: Tokens, now: int) -> int | None:
        prices = self._prices(tokens)
        fits = all(price <= line.ledger.span for line, price in prices)
        return told(prices, now) if fits else None

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
        """Return what so many tokens are in each line; there may be none."""
        return {line: Fraction(x, line.ledger.unit) for line, x in self._amounts(tokens)}

    def _use_clock(self, clock: Clock) -> None:
        if isinstance(clock, type) or not isinstance(clock, Clock):
            raise TypeError(
                f"clock must have now(), sleep() and sleep_async(), as "
                f"rate_limiter.testing.ManualClock has; got {shown(clock)}"
            )
        self._clock = clock
        self._now = clock.now

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a live {type(self).__name__} cannot be pickled or copied: the copy would be a second "
            "limit; share it by reference, and make one in each process"
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()


class Reservation:
    """Tokens taken now for a use later; made by `reserve`."""

    __slots__ = ("_bucket", "_waiter")

    def __init__(self, bucket: Bucket, waiter: Waiter) -> None:
        self._bucket = bucket
        self._waiter = waiter

    @property
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""
        due = due_of(self._waiter)
        return 0.0 if due is None else seconds(max(due - self._bucket._now(), 0))

    def cancel(self) -> None:
        """Give the tokens back, for they will not be used; those behind move up.

        A second call does nothing.
        """
        wake(leave(self._waiter, self._bucket._now()))

    def settle(self, actual: Tokens) -> None:
        """Say what was really used: the rest is given back, or the excess charged.

        Args:
            actual: How many tokens; 0 or more.

        Raises:
            RuntimeError: The reservation has been cancelled.
            TypeError: `actual` is not a real number.
            ValueError: `actual` is negative, NaN or infinite.
        """
        if not self._waiter.places:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        bucket = self._bucket
        wake(bucket._reprice(self._waiter, actual, bucket._now()))

    def __repr__(self) -> str:
        state = f"delay={self.delay:g}" if self._waiter.places else "cancelled"
        return f"{type(self).__name__}({state})"


@exclusive
def _correct(paid: Paid, used: Paid, now: int) -> list[Sleeper]:
    return correct(
        [
            (line, round((tokens - paid.get(line, 0)) * line.ledger.unit))
            for line, tokens in used.items()
        ],
        now,
    )
