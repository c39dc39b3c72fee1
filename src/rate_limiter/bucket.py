"""What every kind of bucket can do, wherever its tokens are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeAlias

from .clock import Clock
from .exceptions import CostExceedsCapacity, Label, RateLimitExceeded
from .rates import Number, shown
from .source import Source

__all__ = [
    "REFUNDED",
    "Admission",
    "AsyncBucket",
    "AsyncReservation",
    "BaseBucket",
    "Bucket",
    "Level",
    "Levels",
    "Paid",
    "Payer",
    "Receipt",
    "Reservation",
    "Tokens",
    "copied",
    "scarcest",
]

Tokens: TypeAlias = Number | Mapping[str, Any]
"""A number of tokens, or for a group a number for each of its named buckets."""
Paid: TypeAlias = Mapping[Any, Any]
"""How many tokens were paid, for each ledger or each limit on a server."""


REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Level:
    """What a bucket is like at an instant.

    Attributes:
        capacity: The most tokens it holds.
        tokens_per_second: How fast they come back.
        available_tokens: What could be taken at that instant, in tokens; 0.0 while somebody waits.
        full_in: Seconds until it is full, those who wait served; 0.0 means that it is.
        paused_for: Seconds until a pause ends; 0.0 without one.
        waiting: How many callers wait in line; None if that is not known.
    """

    capacity: float
    tokens_per_second: float
    available_tokens: float
    full_in: float
    paused_for: float
    waiting: int | None


Levels: TypeAlias = Mapping[Label, Level]
"""What each bucket is like, by its label."""


def scarcest(levels: list[Level]) -> Level:
    """Return the level of a group: of each value the scarcest among its buckets."""
    if len(levels) == 1:
        return levels[0]
    return Level(
        capacity=min(level.capacity for level in levels),
        tokens_per_second=min(level.tokens_per_second for level in levels),
        available_tokens=min(level.available_tokens for level in levels),
        full_in=max(level.full_in for level in levels),
        paused_for=max(level.paused_for for level in levels),
        waiting=max(level.waiting or 0 for level in levels),
    )


def copied(tokens: Tokens) -> Tokens:
    """Return a cost that does not change when the caller's mapping does."""
    if isinstance(tokens, Mapping):
        return {name: copied(cost) for name, cost in tokens.items()}
    return tokens


class Receipt(Protocol):
    """What a permit knows of its payment; the bucket that was paid changes it.

    Attributes:
        _tokens: What it was taken for.
        _paid: What it has paid, once that was corrected; None if it has not been, and `REFUNDED`
            once all has been given back.
    """

    _tokens: Tokens
    _paid: Paid | str | None


class Payer(Protocol):
    """A bucket that was charged, or what stands in for it; a permit corrects its payment there."""

    def _levels(self, after: Any) -> Levels:
        """Return the levels by label, from the last part of an `Admission`."""
        ...

    def _settle(self, receipt: Any, actual: Tokens) -> bool:
        """Charge what was used beyond what was paid, or give the rest back.

        Returns:
            Whether the payment was corrected; False if it had been refunded.
        """
        ...

    async def _settle_async(self, receipt: Any, actual: Tokens) -> bool:
        """Do as `_settle` from within a task."""
        ...

    def _give_back(self, receipt: Any) -> None:
        """Give everything back, once."""
        ...

    async def _give_back_async(self, receipt: Any) -> None:
        """Do as `_give_back` from within a task."""
        ...


Admission: TypeAlias = tuple[float, Payer, Any]
"""The seconds waited, the payer, and what its buckets were like, for `Payer._levels` to read."""


class BaseBucket(ABC):
    """What a limiter asks of a bucket."""

    __slots__ = ("__weakref__", "_now")

    _now: Callable[[], int]  # nanoseconds
    _awaited: ClassVar[bool] = False  # whether its answers are awaited
    _stored: ClassVar[bool] = False  # whether its tokens are kept on a server, under a name
    _labels: Sequence[Label] = (None,)  # the labels of its buckets

    @property
    def _core(self) -> Any:
        """The object that decides for it: itself, unless it is a `BucketGroup`."""
        return self

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
        """Raise what every call that takes tokens raises for a cost that is none."""

    @abstractmethod
    def _check_fits(self, tokens: Tokens) -> None:
        """Refuse a cost above the capacity.

        Raises:
            CostExceedsCapacity: It is above the capacity.
        """

    def _at_once(self, tokens: Tokens) -> Any:
        """Take tokens on the fast path, if there is one, without waiting.

        Returns:
            What the bucket is like then; see `Payer._levels`. None: use the slow path; it does not
            mean that the tokens are missing.
        """
        return None

    @abstractmethod
    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        """Take tokens, and wait for them or refuse, as a limiter says.

        Args:
            tokens: How many.
            block: Whether to wait.
            timeout: The most seconds to wait.
            source: Whose wait it is, for `instrumentation.waits.waiting`; None for nobody's.

        Raises:
            CostExceedsCapacity: They never fit at once, and `block` is False.
            RateLimitExceeded: They are not there now, or not within `timeout`.
        """

    @abstractmethod
    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        """Do as `_admit` from within a task."""

    @abstractmethod
    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        """Return a function that tries to take the tokens quickly.

        It returns True if it has taken them. False means that the caller must take the slow path,
        not that the tokens are missing.
        """

    @abstractmethod
    def _uses(self, actual: Tokens, taken: Tokens) -> Any:
        """Return what was used in each ledger or limit that `actual` names, or refuse it.

        Args:
            actual: What was used.
            taken: What had been taken for it.
        """

    @abstractmethod
    def _full_in(self) -> int:
        """Return the nanoseconds until the bucket is full and nobody waits.

        From then on it cannot be told from a new bucket.
        """

    @abstractmethod
    def _reset(self) -> Any:
        """Fill the bucket and empty its line; to be awaited, if its answers are."""

    @abstractmethod
    def _twin(self) -> BaseBucket:
        """Return another handle to the same tokens and the same line."""

    @abstractmethod
    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock, full; return what `_move_back` needs."""

    @abstractmethod
    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""

    @abstractmethod
    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Return the object that decides for a group of such buckets in one step."""

    def _never(
        self,
        tokens: Tokens,
        capacity: float,
        label: Label = None,
        levels: Any = None,
        *,
        strict: bool = False,
    ) -> Exception:
        """Return the error for a cost that can never be paid, or not without waiting."""
        of_bucket = "" if label is None else f" of bucket {label!r}"
        remedy = "lower the cost, raise the capacity, or wait for the tokens with block=True"
        if strict:
            remedy = (
                "lower the cost or raise the capacity; waiting for it would break a strict rate"
            )
        return CostExceedsCapacity(
            f"a cost of {shown(tokens)} is above the capacity of {capacity:g}{of_bucket}; {remedy}",
            tokens=tokens,
            refused_by=label,
            levels=levels,
        )

    def _not_yet(
        self,
        tokens: Tokens,
        delay: float,
        label: Label = None,
        levels: Any = None,
        timeout: Number | None = None,
    ) -> Exception:
        """Return the error for a cost that can be paid only later, or later than a timeout."""
        of_bucket = "" if label is None else f"; it is held up by bucket {label!r}"
        late = "" if timeout is None else f", but the timeout is {timeout} s"
        return RateLimitExceeded(
            f"rate limit exceeded: a cost of {shown(tokens)} can be paid in {delay:.6g} s"
            f"{late}{of_bucket}",
            retry_after=delay,
            tokens=tokens,
            refused_by=label,
            levels=levels,
        )

    if not TYPE_CHECKING:  # for common mistakes: say what to write instead

        def _is_no_limiter(self, *_: Any, **__: Any) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} only holds tokens; limit a block with "
                "'with RateLimiter(bucket).acquire():' and a function with '@RateLimiter(bucket)'"
            )

        __call__ = __enter__ = __exit__ = __aenter__ = __aexit__ = _is_no_limiter

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
        changes nothing. Callers who wait already are held as well.

        Raises:
            TypeError: `seconds` is not a real number.
            ValueError: `seconds` is negative, NaN or more than 100 years.
        """

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


class Reservation(ABC):
    """Tokens taken now for a later use; made by `reserve`."""

    __slots__ = ()

    @property
    @abstractmethod
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""

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


class AsyncReservation(ABC):
    """Tokens taken now for a later use; made by `AsyncBucket.reserve`."""

    __slots__ = ()

    @property
    @abstractmethod
    def delay(self) -> float:
        """How long until the tokens may be used, in seconds; 0.0 means now."""

    @abstractmethod
    async def cancel(self) -> None:
        """Give the tokens back, because they will not be used; see `Reservation.cancel`."""

    @abstractmethod
    async def settle(self, actual: Tokens) -> None:
        """Say how many tokens were used; see `Reservation.settle`."""
