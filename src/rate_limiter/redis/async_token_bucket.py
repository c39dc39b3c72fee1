"""The token bucket on a server, for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .awaiting import AwaitingRedisBucket
from .group import AsyncRedisBucketGroup
from .named_bucket import NamedBucket

__all__ = ["AsyncRedisTokenBucket"]


class AsyncRedisTokenBucket(NamedBucket, AwaitingRedisBucket):
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

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> AsyncRedisBucketGroup:
        return AsyncRedisBucketGroup(unnamed, named)
