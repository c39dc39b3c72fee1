"""What every kind of bucket can do, wherever its tokens are kept."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar, NoReturn, Protocol, TypeAlias

from .clock import Clock
from .exceptions import CostExceedsCapacity, RateLimitExceeded
from .rates import Number, shown

__all__ = [
    "Acquired",
    "AsyncBucket",
    "AsyncReservation",
    "BaseBucket",
    "Bucket",
    "Paid",
    "Payer",
    "Reservation",
    "Tokens",
    "number_of",
]

Tokens: TypeAlias = Number | Mapping[str, Number]
"""A number of tokens, or for a group a number for each of its named buckets."""
Paid: TypeAlias = dict[Any, Fraction]
"""How many tokens were paid, by where they are kept."""


def number_of(tokens: Tokens) -> Number:
    """Return the cost of a single bucket.

    Raises:
        TypeError: It is a mapping.
    """
    if isinstance(tokens, Mapping):
        raise TypeError(
            f"a TokenBucket takes a number of tokens, got {shown(tokens)}; "
            "a cost for each of several named buckets needs a BucketGroup"
        )
    return tokens


class Payer(Protocol):
    """What has been charged, and may have to be corrected."""

    def _paid(self, tokens: Tokens) -> Paid:
        """Return what so many tokens are in each place where they are kept; there may be none."""
        ...

    def _correct(self, paid: Paid, used: Paid) -> None:
        """Charge what was used beyond what was paid, or give the rest back, and note it as paid."""
        ...

    async def _correct_async(self, paid: Paid, used: Paid) -> None:
        """Do as `_correct` from within a task."""
        ...


Acquired: TypeAlias = tuple[float, Payer]
"""The seconds waited, and what was charged."""


class BaseBucket(ABC):
    """What a limiter asks of a bucket."""

    __slots__ = ("__weakref__", "_now")

    _now: Callable[[], int]  # nanoseconds
    _awaited: ClassVar[bool] = False  # whether its answers are awaited

    @property
    @abstractmethod
    def capacity(self) -> float:
        """The most tokens it holds."""

    @property
    @abstractmethod
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""

    @abstractmethod
    def _check(self, tokens: Tokens) -> None:
        """Refuse what is no cost, as every call that takes tokens does."""

    @abstractmethod
    def _fits(self, tokens: Tokens) -> bool:
        """Tell whether so many tokens could ever be there at once."""

    @abstractmethod
    def _acquire(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        """Take tokens, and wait for them or refuse, as a limiter says.

        Returns:
            The seconds waited, and what was charged.

        Raises:
            CostExceedsCapacity: They never fit at once, and `block` is False.
            RateLimitExceeded: They are not there now, or not within `timeout`.
        """

    @abstractmethod
    async def _acquire_async(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        """Do as `_acquire` from within a task."""

    @abstractmethod
    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        """Return what takes so many tokens if they are there, or says no without having looked."""

    @abstractmethod
    def _paid(self, tokens: Tokens) -> Paid: ...

    @abstractmethod
    def _correct(self, paid: Paid, used: Paid) -> None: ...

    @abstractmethod
    async def _correct_async(self, paid: Paid, used: Paid) -> None: ...

    @abstractmethod
    def _full_in(self) -> int:
        """Return the nanoseconds until it could be replaced by a new one."""

    @abstractmethod
    def _twin(self) -> BaseBucket:
        """Return another handle to the same tokens and the same line."""

    @abstractmethod
    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock, full; return what `_move_back` needs."""

    @abstractmethod
    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""

    def _group(self, unnamed: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return a group of such buckets, if they make their own; None otherwise."""
        return None

    def _refusal(self, tokens: Tokens, delay: float) -> Exception:
        """Return the error for a cost that can be paid only after so many seconds."""
        if delay == math.inf:
            return CostExceedsCapacity(
                f"a cost of {shown(tokens)} is above the capacity of {self.capacity:g}; "
                "lower the cost, raise the capacity, or wait for the tokens with block=True"
            )
        return RateLimitExceeded(
            f"rate limit exceeded: a cost of {shown(tokens)} can be paid in {delay:.6g} s",
            retry_after=delay,
            tokens=tokens,
        )

    def _too_late(self, tokens: Tokens, delay: float, timeout: Number | None) -> Exception:
        """Return the error for a cost that can be paid only after the timeout."""
        return RateLimitExceeded(
            f"rate limit exceeded: a cost of {shown(tokens)} can be paid in {delay:.6g} s, "
            f"but the timeout is {timeout} s",
            retry_after=delay,
            tokens=tokens,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a live {type(self).__name__} cannot be pickled or copied: the copy would be a second "
            "limit; share it by reference, and make one in each process"
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()


class Bucket(BaseBucket):
    """Something that holds tokens, and a line of callers who wait for them."""

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
            timeout: The most seconds to wait. 0 tries once; None waits as long as it takes.

        Raises:
            RateLimitExceeded: The wait would be longer than `timeout`: at once, nothing taken.
            TypeError: An argument is not a real number.
            ValueError: `tokens` is not positive and finite, or `timeout` is negative or NaN.
        """

    @abstractmethod
    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Suspend this task until the tokens are there, and take them; otherwise as `wait`.

        It serves tasks of asyncio and of trio. A task that is cancelled meanwhile gives its tokens
        back, and those behind it move up.
        """

    @abstractmethod
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

    @abstractmethod
    def refund(self, tokens: Tokens) -> None:
        """Give tokens back; what would overflow the bucket is lost.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """

    @abstractmethod
    def pause(self, seconds: Number) -> None:
        """Admit nobody for so many seconds, as a server asks for with Retry-After.

        The bucket is empty then, and refills from then on. Whoever waits already, waits on.

        Raises:
            TypeError: `seconds` is not a real number.
            ValueError: `seconds` is negative, NaN or infinite.
        """

    @abstractmethod
    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return the seconds until `allow(tokens)` could succeed, rounded up.

        0.0 means now, infinity never (more than the capacity). An `allow` made exactly then
        succeeds unless somebody else came first; one made a nanosecond earlier does not.

        Raises:
            TypeError: `tokens` is not a real number.
            ValueError: `tokens` is not positive and finite.
        """

    @property
    @abstractmethod
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; never below zero, not even in debt."""


class Reservation(ABC):
    """Tokens taken now for a use later; made by `reserve`."""

    __slots__ = ()

    @property
    @abstractmethod
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""

    @abstractmethod
    def cancel(self) -> None:
        """Give the tokens back, for they will not be used; those behind move up.

        A second call does nothing.
        """

    @abstractmethod
    def settle(self, actual: Tokens) -> None:
        """Say what was really used: the rest is given back, or the excess charged.

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
    async def allow(self, tokens: Tokens = 1) -> bool:
        """Take tokens if they are there now; see `Bucket.allow`."""

    async def try_consume(self, tokens: Tokens = 1) -> bool:
        """Do as `allow`."""
        return await self.allow(tokens)

    @abstractmethod
    async def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Suspend this task until the tokens are there, and take them; see `Bucket.wait`."""

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        """Do as `wait`; it is what other buckets call this."""
        await self.wait(tokens, timeout)

    @abstractmethod
    async def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> AsyncReservation:
        """Take tokens now for a use later; see `Bucket.reserve`."""

    @abstractmethod
    async def refund(self, tokens: Tokens) -> None:
        """Give tokens back; see `Bucket.refund`."""

    @abstractmethod
    async def pause(self, seconds: Number) -> None:
        """Admit nobody for so many seconds; see `Bucket.pause`."""

    @abstractmethod
    async def retry_after(self, tokens: Tokens = 1) -> float:
        """Return the seconds until `allow(tokens)` could succeed; see `Bucket.retry_after`."""

    @property
    @abstractmethod
    def available_tokens(self) -> Awaitable[float]:
        """What could be taken right now, in tokens: `await bucket.available_tokens`."""


class AsyncReservation(ABC):
    """Tokens taken now for a use later; made by `AsyncBucket.reserve`."""

    __slots__ = ()

    @property
    @abstractmethod
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""

    @abstractmethod
    async def cancel(self) -> None:
        """Give the tokens back, for they will not be used; see `Reservation.cancel`."""

    @abstractmethod
    async def settle(self, actual: Tokens) -> None:
        """Say what was really used; see `Reservation.settle`."""
