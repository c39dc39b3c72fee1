"""What every kind of bucket can do, wherever its tokens are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, NoReturn

from .admission import Tokens
from .base_bucket import BaseBucket
from .level import Level
from .rates import Number

__all__ = ["AsyncBucket", "AsyncReservation", "Bucket", "Reservation"]


class Bucket(BaseBucket):
    """Something that holds tokens, and a line of callers that wait for them."""

    __slots__ = ()

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

    @abstractmethod
    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Block this thread until the tokens are there, and take them; first come, first served.

        Args:
            tokens: How many to take; more than the capacity are waited for as well.
            timeout: The most seconds to wait. 0 or less tries once; None waits as long as it takes.

        Raises:
            CostExceedsCapacity: The rate is strict, and `tokens` is above the capacity.
            RateLimitExceeded: The wait would be longer than `timeout`; it is raised at once, and
                nothing is taken.
            TypeError: An argument is not a real number.
            ValueError: `tokens` is not positive and finite, `timeout` is NaN, or the wait would be
                longer than 100 years.
        """

    @abstractmethod
    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Suspend this task until the tokens are there, and take them; otherwise as `wait`.

        It serves tasks of asyncio and of trio. A task that is cancelled meanwhile gives its tokens
        back, and those behind it move up.
        """

    @abstractmethod
    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        """Take tokens now for a later use; for schedulers, which wait in their own way.

            reservation = bucket.reserve()
            task_queue.enqueue(job, countdown=reservation.delay)

        Args:
            tokens: How many to take; more than the capacity are reserved as well.
            timeout: The longest acceptable delay in seconds; None accepts any.

        Raises:
            CostExceedsCapacity: The rate is strict, and `tokens` is above the capacity.
            RateLimitExceeded: The delay would be longer than `timeout`; nothing is taken.
            TypeError: An argument is not a real number.
            ValueError: `tokens` is not positive and finite, `timeout` is NaN, or the delay would be
                longer than 100 years.
        """

    @abstractmethod
    def refund(self, tokens: Tokens) -> None:
        """Give tokens back; tokens beyond the capacity are lost.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """

    @abstractmethod
    def pause(self, seconds: Number) -> None:
        """Admit nobody for this many seconds, as a server asks for with Retry-After.

        At its end there is at most one token: one caller leaves, and the others follow at the rate.
        Nothing shortens a pause but `resume`. Of two pauses the one that ends later counts, and 0
        changes nothing. Callers that wait already are held as well; in a store, those that have
        not been told their time yet.

        Raises:
            TypeError: `seconds` is not a real number.
            ValueError: `seconds` is negative, NaN or more than 100 years.
        """

    async def pause_async(self, seconds: Number) -> None:
        """Do as `pause` from within a task; a bucket in a file never blocks the loop."""
        self.pause(seconds)

    @abstractmethod
    def resume(self) -> None:
        """End a pause now, with at most one token; without a pause, do nothing."""

    @abstractmethod
    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return the seconds until `allow(tokens)` could succeed, rounded up.

        0.0 means now, and infinity means never, for a cost above the capacity. An `allow` made
        exactly then succeeds unless somebody else came first; one made a nanosecond earlier fails.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """

    @property
    @abstractmethod
    def available_tokens(self) -> float:
        """What could be taken now, in tokens; 0.0 in debt, in a pause and while somebody waits."""

    @property
    @abstractmethod
    def level(self) -> Level:
        """What the bucket is like right now; of a group, the scarcest of each value."""


class _TakenAhead(ABC):
    """What every reservation has in common."""

    __slots__ = ()

    @property
    @abstractmethod
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "a reservation cannot be pickled or copied: the copy would be of the same tokens"
        )


class Reservation(_TakenAhead):
    """Tokens taken now for a later use; made by `reserve`."""

    __slots__ = ()

    @abstractmethod
    def cancel(self) -> None:
        """Give the tokens back, because they will not be used; those behind move up.

        A second call does nothing.
        """

    @abstractmethod
    def settle(self, actual: Tokens) -> None:
        """Say how many tokens were used: the rest is given back, or the excess charged.

        Args:
            actual: How many tokens; 0 or more.

        Raises:
            RuntimeError: The reservation has been cancelled.
            TypeError: `actual` is not a real number.
            ValueError: `actual` is negative, NaN or infinite.
        """


class AsyncBucket(BaseBucket):
    """A bucket that is asked over an event loop: as `Bucket`, but every answer is awaited."""

    __slots__ = ()

    _awaited = True

    @abstractmethod
    def allow(self, tokens: Tokens = 1) -> Coroutine[Any, Any, bool]:
        """Take tokens if they are there now; see `Bucket.allow`."""

    def try_consume(self, tokens: Tokens = 1) -> Coroutine[Any, Any, bool]:
        """Do as `allow`."""
        return self.allow(tokens)

    @abstractmethod
    async def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Suspend this task until the tokens are there, and take them; see `Bucket.wait`."""

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Do as `wait`; the name that other buckets have for it."""
        await self.wait(tokens, timeout)

    @abstractmethod
    async def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> AsyncReservation:
        """Take tokens now for a later use; see `Bucket.reserve`."""

    @abstractmethod
    async def refund(self, tokens: Tokens) -> None:
        """Give tokens back; see `Bucket.refund`."""

    @abstractmethod
    async def pause(self, seconds: Number) -> None:
        """Admit nobody for this many seconds; see `Bucket.pause`."""

    async def pause_async(self, seconds: Number) -> None:
        """Do as `pause`; the name that other buckets have for it."""
        await self.pause(seconds)

    @abstractmethod
    async def resume(self) -> None:
        """End a pause now; see `Bucket.resume`."""

    @abstractmethod
    async def retry_after(self, tokens: Tokens = 1) -> float:
        """Return the seconds until `allow(tokens)` could succeed; see `Bucket.retry_after`."""

    @property
    @abstractmethod
    def available_tokens(self) -> Awaitable[float]:
        """What could be taken right now, in tokens: `await bucket.available_tokens`."""

    @property
    @abstractmethod
    def level(self) -> Awaitable[Level]:
        """What the bucket is like right now: `await bucket.level`; see `Bucket.level`."""


class AsyncReservation(_TakenAhead):
    """Tokens taken now for a later use; made by `AsyncBucket.reserve`."""

    __slots__ = ()

    @abstractmethod
    async def cancel(self) -> None:
        """Give the tokens back, because they will not be used; see `Reservation.cancel`."""

    @abstractmethod
    async def settle(self, actual: Tokens) -> None:
        """Say how many tokens were used; see `Reservation.settle`."""
