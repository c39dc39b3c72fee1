"""Several limits at once, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bucket import Tokens
from .clock import Clock
from .line import Line
from .local_bucket import LocalBucket
from .rates import shown
from .waiting import Prices

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

    __slots__ = ("_buckets", "_members")

    def __init__(self, *buckets: LocalBucket, **named_buckets: LocalBucket) -> None:
        self._buckets = named_buckets
        self._members = [*buckets, *named_buckets.values()]
        if not self._members:
            raise ValueError("a BucketGroup needs at least one bucket")
        for member in self._members:
            if not isinstance(member, LocalBucket):
                raise TypeError(
                    f"a BucketGroup holds buckets, got {shown(member)} ({type(member).__name__})"
                )
        if len(set(self._lines)) < len(self._lines):
            raise ValueError("a bucket can be in a BucketGroup only once")
        clocks = [member._clock for member in self._members]
        if any(clock is not clocks[0] for clock in clocks):
            raise ValueError("the buckets of a BucketGroup must run on the same clock")
        self._use_clock(clocks[0])

    @property
    def buckets(self) -> Mapping[str, LocalBucket]:
        """The buckets that have a name."""
        return dict(self._buckets)

    @property
    def available_tokens(self) -> float:
        """What could be taken from every bucket right now, in tokens."""
        return min(member.available_tokens for member in self._members)

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets, in tokens."""
        return min(member.capacity for member in self._members)

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return min(member.tokens_per_second for member in self._members)

    def allow(self, tokens: Tokens = 1) -> bool:
        return self._take(tokens)

    @property
    def _lines(self) -> list[Line]:
        return [line for member in self._members for line in member._lines]

    def _prices(self, tokens: Tokens) -> Prices:
        return [price for member, cost in self._costs(tokens) for price in member._prices(cost)]

    def _amounts(self, tokens: Tokens) -> Prices:
        return [amount for member, cost in self._costs(tokens) for amount in member._amounts(cost)]

    def _costs(self, tokens: Tokens) -> list[tuple[LocalBucket, Tokens]]:
        if not isinstance(tokens, Mapping):
            return [(member, tokens) for member in self._members]
        names = ", ".join(map(repr, self._buckets)) or "none"
        if not tokens:
            raise ValueError(f"a cost mapping must name at least one bucket of: {names}")
        for name in tokens:
            if name not in self._buckets:
                raise ValueError(
                    f"no bucket of this group is called {shown(name)}; its names are: {names}"
                )
        return [(self._buckets[name], cost) for name, cost in tokens.items()]

    def _full_in(self) -> int:
        return max(member._full_in() for member in self._members)

    def _twin(self) -> BucketGroup:
        twins = {name: bucket._twin() for name, bucket in self._buckets.items()}
        unnamed = self._members[: len(self._members) - len(twins)]
        return type(self)(*(bucket._twin() for bucket in unnamed), **twins)

    def _move_to(self, clock: Clock) -> Any:
        state = self._clock, [member._move_to(clock) for member in self._members]
        self._use_clock(clock)
        return state

    def _move_back(self, state: Any) -> None:
        clock, members = state
        self._use_clock(clock)
        for member, state_of_member in zip(self._members, members, strict=True):
            member._move_back(state_of_member)

    def __repr__(self) -> str:
        named = [f"{name}={bucket!r}" for name, bucket in self._buckets.items()]
        unnamed = [repr(bucket) for bucket in self._members[: -len(named) or None]]
        return f"{type(self).__name__}({', '.join(unnamed + named)})"
