"""Several limits at once, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, overload

from .absent import Absent
from .admission import Admission, Tokens
from .base_bucket import BaseBucket
from .bucket import AsyncBucket, Bucket, Reservation
from .clock import Clock
from .level import Level
from .memory.group import join as join_local  # pyright: ignore[reportUnusedImport]
from .rates import Number, parse_rates
from .source import Source
from .token_bucket import TokenBucket

__all__ = ["BucketGroup"]


class BucketGroup(Bucket):
    """Take from several buckets at once, or from none.

    Think of a turnstile that wants a coin of every kind: 10 a second *and* 1000 an hour, requests
    *and* model tokens. It is a bucket itself, and waits, reserves and settles as one.

        limiter = RateLimiter(BucketGroup(
            requests=TokenBucket.from_rate("60/minute"),
            tokens=TokenBucket.from_rate("90000/minute"),
        ))
        with limiter.acquire({"requests": 1, "tokens": 900}):
            ...

    A number is the cost in every bucket. A mapping has a cost for each bucket that it names; the
    others, and those that cost 0, are left alone. A caller is served when all its buckets can serve
    it, and only then pays each of them. The buckets may be used alone and in other groups as well.

    A group of buckets whose calls are awaited, such as `AsyncRedisTokenBucket`, is awaited as well.

    Args:
        buckets: Buckets or groups, without a name.
        named_buckets: Buckets or groups, with the names that a cost mapping uses.

    Raises:
        TypeError: An argument is no bucket, or they are of several kinds.
        ValueError: There is none, one is there twice, or they run on different clocks.
    """

    __slots__ = ("_buckets", "_joint", "_unnamed")

    if TYPE_CHECKING:

        @overload
        def __new__(cls, *buckets: Bucket, **named_buckets: Bucket) -> Self: ...

        @overload
        def __new__(  # type: ignore[misc]  # its answers are awaited
            cls, *buckets: AsyncBucket, **named_buckets: AsyncBucket
        ) -> AsyncBucket: ...

        def __new__(cls, *buckets: Any, **named_buckets: Any) -> Any: ...

    else:

        def __init__(self, *buckets: Any, **named_buckets: Any) -> None:
            """Find the object that decides for buckets of this kind, which the first one knows."""
            first = next(iter((*buckets, *named_buckets.values())), None)
            join = first._core._join if isinstance(first, BaseBucket) else join_local
            self._joint = join(buckets, named_buckets)
            self._buckets = named_buckets
            self._unnamed = buckets

        configure = Absent("configure its members, each by itself: group.buckets or group.members")

    _buckets: Mapping[str, Any]
    _unnamed: tuple[Any, ...]
    _joint: Any

    @property
    def _core(self) -> Any:
        """The object that decides for all its buckets, in memory or on a server."""
        return self._joint

    @classmethod
    def from_rate(cls, rate: str, *, strict: bool = False, clock: Clock | None = None) -> Self:
        """Make a group from several rates in words, each of which names its bucket.

            BucketGroup.from_rate("10/second; 1000/hour")

        Args:
            rate: Rates as for `TokenBucket.from_rate`, with ";" between them.
            strict: As there, for each of them.
            clock: As there.

        Raises:
            TypeError: As there.
            ValueError: As there, or a rate is there twice.
        """
        words = [label for label, _, _ in parse_rates(rate)]
        return cls(
            **{word: TokenBucket.from_rate(word, strict=strict, clock=clock) for word in words}
        )

    @property
    def buckets(self) -> Mapping[str, Any]:
        """The buckets that have a name."""
        return dict(self._buckets)

    @property
    def members(self) -> tuple[Any, ...]:
        """All its buckets, also those without a name, in the order in which they were given."""
        return (*self._unnamed, *self._buckets.values())

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets, in tokens."""
        return float(self._joint.capacity)

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return float(self._joint.tokens_per_second)

    @property
    def available_tokens(self) -> float:
        """What could be taken from every bucket right now, in tokens."""
        tokens: float = self._joint.available_tokens
        return tokens

    @property
    def level(self) -> Level:
        """The scarcest of each value among its buckets; each bucket has its own level."""
        level: Level = self._joint.level
        return level

    def allow(self, tokens: Tokens = 1) -> bool:
        allowed: bool = self._joint.allow(tokens)
        return allowed

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> Any:
        return self._joint.wait(tokens, timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        await self._joint.wait_async(tokens, timeout)

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        reservation: Reservation = self._joint.reserve(tokens, timeout)
        return reservation

    def refund(self, tokens: Tokens) -> Any:
        return self._joint.refund(tokens)

    def pause(self, seconds: Number) -> Any:
        return self._joint.pause(seconds)

    async def pause_async(self, seconds: Number) -> None:
        await self._joint.pause_async(seconds)

    def resume(self) -> Any:
        return self._joint.resume()

    def retry_after(self, tokens: Tokens = 1) -> float:
        delay: float = self._joint.retry_after(tokens)
        return delay

    def _check(self, tokens: Tokens) -> None:
        self._joint._check(tokens)

    def _check_fits(self, tokens: Tokens) -> None:
        self._joint._check_fits(tokens)

    def _at_once(self, tokens: Tokens) -> Any:
        return self._joint._at_once(tokens)

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        admission: Admission = self._joint._admit(tokens, block, timeout, source)
        return admission

    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        admission: Admission = await self._joint._admit_async(tokens, block, timeout, source)
        return admission

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        taker: Callable[[], bool] = self._joint._taker(tokens)
        return taker

    def _uses(self, actual: Tokens, taken: Tokens) -> Any:
        return self._joint._uses(actual, taken)

    def _reset(self) -> Any:
        return self._joint._reset()

    def _full_in(self) -> int:
        return int(self._joint._full_in())

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        return self._joint._join(unnamed, named)

    def _twin(self) -> BucketGroup:
        twin = object.__new__(type(self))
        twin._joint = self._joint._twin()
        twin._buckets, twin._unnamed = self._buckets, self._unnamed
        return twin

    def _move_to(self, clock: Clock) -> Any:
        return self._joint._move_to(clock)

    def _move_back(self, state: Any) -> None:
        self._joint._move_back(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._joint._members!r})"
