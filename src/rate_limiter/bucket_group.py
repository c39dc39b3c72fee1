"""Several limits at once, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, overload

from .bucket import AsyncBucket, BaseBucket, Bucket, Tokens
from .clock import Clock
from .members import Members
from .memory.bucket import LocalBucket
from .memory.line import Line
from .memory.waiting import Prices

__all__ = ["BucketGroup"]


class BucketGroup(LocalBucket):
    """Take from several buckets at once, or from none.

    Think of a turnstile that wants a coin of every kind: 10 a second *and* 1000 an hour, requests
    *and* model tokens. It is a bucket itself, and waits, reserves and settles as one.

        limiter = RateLimiter(BucketGroup(
            requests=TokenBucket.from_rate("60/minute"),
            tokens=TokenBucket.from_rate("90000/minute"),
        ))
        with limiter.acquire({"requests": 1, "tokens": 900}):
            ...

    A number costs every bucket the same; a mapping costs each bucket that it names its own, and the
    others nothing. A caller is served when all its buckets can serve it, and only then pays each of
    them. Its buckets may be used alone and in other groups at the same time.

    Args:
        buckets: Buckets or groups, without a name.
        named_buckets: Buckets or groups, with the names that a cost mapping uses.

    Raises:
        TypeError: An argument is no bucket.
        ValueError: There is none, one is there twice, or they run on different clocks.
    """

    __slots__ = ("_members",)

    @overload
    def __new__(cls, *buckets: Bucket, **named_buckets: Bucket) -> Self: ...

    @overload
    def __new__(  # type: ignore[misc]  # it is a group of their kind
        cls, *buckets: AsyncBucket, **named_buckets: AsyncBucket
    ) -> AsyncBucket: ...

    def __new__(cls, *buckets: Any, **named_buckets: Any) -> Any:
        """Make a group, or have buckets that are kept elsewhere make one of their kind."""
        first = next(iter((*buckets, *named_buckets.values())), None)
        elsewhere = first._group(buckets, named_buckets) if isinstance(first, BaseBucket) else None
        if elsewhere is not None:
            return elsewhere
        group = super().__new__(cls)
        group._hold(Members[LocalBucket](LocalBucket, buckets, named_buckets))
        return group

    def _hold(self, members: Members[LocalBucket]) -> None:
        self._members = members
        if len(set(self._lines)) < len(self._lines):
            raise ValueError("a bucket can be in a BucketGroup only once")
        clocks = [member._clock for member in members.all]
        if any(clock is not clocks[0] for clock in clocks):
            raise ValueError("the buckets of a BucketGroup must run on the same clock")
        self._use_clock(clocks[0])

    @property
    def buckets(self) -> Mapping[str, LocalBucket]:
        """The buckets that have a name."""
        return dict(self._members.named)

    @property
    def available_tokens(self) -> float:
        """What could be taken from every bucket right now, in tokens."""
        return min(member.available_tokens for member in self._members.all)

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets, in tokens."""
        return self._members.capacity

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return self._members.tokens_per_second

    def allow(self, tokens: Tokens = 1) -> bool:
        return self._take(tokens)

    @property
    def _lines(self) -> list[Line]:
        return [line for member in self._members.all for line in member._lines]

    def _prices(self, tokens: Tokens) -> Prices:
        costs = self._members.costs(tokens)
        return [price for member, cost in costs for price in member._prices(cost)]

    def _amounts(self, tokens: Tokens) -> Prices:
        costs = self._members.costs(tokens)
        return [amount for member, cost in costs for amount in member._amounts(cost)]

    def _full_in(self) -> int:
        return max(member._full_in() for member in self._members.all)

    def _twin(self) -> BucketGroup:
        twins = {name: bucket._twin() for name, bucket in self._members.named.items()}
        return type(self)(*(bucket._twin() for bucket in self._members.unnamed), **twins)

    def _move_to(self, clock: Clock) -> Any:
        state = self._clock, [member._move_to(clock) for member in self._members.all]
        self._use_clock(clock)
        return state

    def _move_back(self, state: Any) -> None:
        clock, members = state
        self._use_clock(clock)
        for member, state_of_member in zip(self._members.all, members, strict=True):
            member._move_back(state_of_member)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._members!r})"
