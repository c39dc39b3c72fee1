"""The limit that is tried, and a limiter of it for each key."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..bucket_group import BucketGroup
from ..limiter import RateLimiter
from ..testing import ManualClock
from ..token_bucket import TokenBucket
from .numbers import Cost

__all__ = ["Limit", "Limiters"]

_ROOM = 10_000  # keys before full buckets are looked for


class Limit(NamedTuple):
    """What is tried: rates in words that hold together, and how.

    Attributes:
        rates: The rates.
        capacity: The most tokens of a bucket, for a single rate; None as for the bucket itself.
        strict: Whether no more than the count is admitted in any span of the rate's length.
        together: Whether all keys share one limit.
    """

    rates: tuple[str, ...]
    capacity: Cost | None = None
    strict: bool = False
    together: bool = False

    @property
    def words(self) -> str:
        """The rates in one string."""
        return "; ".join(self.rates)

    def bucket(self, clock: ManualClock) -> TokenBucket | BucketGroup:
        """Make a bucket of the rate on a clock, or a group of several.

        Raises:
            ValueError: The rates or the capacity cannot be had; the text says why.
        """
        if len(self.rates) == 1:
            return TokenBucket.from_rate(self.words, self.capacity, strict=self.strict, clock=clock)
        if self.capacity is not None:
            raise ValueError(
                f"a capacity goes with a single rate, got {self.capacity} and {self.words}; leave "
                "it out: each rate has its count for a capacity"
            )
        return BucketGroup.from_rate(self.words, strict=self.strict, clock=clock)


class Limiters(dict[str, RateLimiter[Any]]):
    """A limiter for each key, made when the key is first used.

    Full buckets are dropped when there are many, because a new one is the same; so memory follows
    the keys in use. `KeyedRateLimiter` does so as well, but for servers: it looks at some of its
    keys whenever one is added, which would take most of the time here.

    Args:
        limit: The limit of each.
        clock: The clock of all.
    """

    def __init__(self, limit: Limit, clock: ManualClock) -> None:
        super().__init__()
        self._limit, self._clock = limit, clock
        self._room = _ROOM

    def __missing__(self, key: str) -> RateLimiter[Any]:
        if len(self) >= self._room:
            self._drop_full()
        limiter = self[key] = RateLimiter(self._limit.bucket(self._clock), block=False)
        return limiter

    def _drop_full(self) -> None:
        full = [key for key, limiter in self.items() if limiter.bucket.level.full_in == 0]
        for key in full:
            del self[key]
        self._room = max(_ROOM, 2 * len(self))
