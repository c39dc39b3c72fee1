"""The token bucket on a server, for asyncio."""

from __future__ import annotations

from typing import Any, Self

from ..rates import Number, parse_rate
from .awaiting import AwaitingRedisBucket
from .fallback import Fallback, read_fallback
from .group import AsyncRedisBucketGroup
from .limits import OneLimit, new_limit

__all__ = ["AsyncRedisTokenBucket"]


class AsyncRedisTokenBucket(AwaitingRedisBucket):
    """A token bucket that all processes and machines share who use its name, for asyncio.

        client = redis.asyncio.Redis(socket_timeout=1)
        bucket = AsyncRedisTokenBucket(client, "search", capacity=10, tokens_per_second=5)
        async with RateLimiter(bucket).acquire(3):
            ...

    It is `RedisTokenBucket`, over the same keys, with answers to await: `await bucket.allow()`,
    `await bucket.available_tokens`. A task that is cancelled at any moment gives its tokens back.
    Its client, and so the bucket, serves one event loop at a time, such as those of successive
    `asyncio.run` calls; loops that run at once need a client and a bucket each, of the same name.

    Args:
        client: A client of `redis.asyncio` or `valkey.asyncio`. Set its `socket_timeout`.
        name: What all who share the bucket call it; str or bytes, up to 64 KiB, of any content.
            In a cluster, buckets of a group need a part in braces in common: "{tenant}:requests".
        capacity: The most tokens it holds.
        tokens_per_second: How fast tokens come back.
        prefix: What its key begins with on the server, before a colon.
        fallback: What decides while the server is away: None raises `BackendError`, "allow" admits,
            "deny" refuses, and a `TokenBucket` counts in this process alone.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is not positive and finite, the bucket takes more than 100 years to
            fill, or `name` is empty or too long.
    """

    __slots__ = ()

    _limits: OneLimit

    def __init__(
        self,
        client: Any,
        name: str | bytes,
        capacity: Number,
        tokens_per_second: Number,
        *,
        prefix: str | bytes = "rate_limiter",
        fallback: Fallback = None,
    ) -> None:
        limit = new_limit(name, prefix, capacity, tokens_per_second)
        super().__init__(client, limit, read_fallback(fallback, limit.paid))

    @classmethod
    def from_rate(
        cls,
        client: Any,
        name: str | bytes,
        rate: str,
        capacity: Number | None = None,
        *,
        prefix: str | bytes = "rate_limiter",
        fallback: Fallback = None,
    ) -> Self:
        """Make a bucket from a rate in words such as "100/minute"; see `TokenBucket.from_rate`."""
        count, per_second = parse_rate(rate)
        capacity = count if capacity is None else capacity
        return cls(client, name, capacity, per_second, prefix=prefix, fallback=fallback)

    def configure(
        self, capacity: Number | None = None, tokens_per_second: Number | None = None
    ) -> None:
        """Change the limit for the calls of this process, from the next one on.

        Each process says with each call what its limit is, so change it in all of them. The tokens
        that the bucket lacks, and those that were promised to who waits, stay as they are.

        Args:
            capacity: The most tokens it holds; as before if None.
            tokens_per_second: How fast tokens come back; as before if None.

        Raises:
            TypeError: An argument is not a real number.
            ValueError: An argument is not positive and finite, or the script cannot count it.
        """
        self._limits.change(capacity, tokens_per_second)

    def _group(self, unnamed: tuple[Any, ...], named: dict[str, Any]) -> AsyncRedisBucketGroup:
        return AsyncRedisBucketGroup(unnamed, named)
