"""The token bucket on a server, for threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocking import BlockingRedisBucket
from .group import RedisBucketGroup
from .named_bucket import NamedBucket

__all__ = ["RedisTokenBucket"]


class RedisTokenBucket(NamedBucket, BlockingRedisBucket):
    """A token bucket that all processes and machines share who use its name.

        client = redis.Redis(socket_timeout=1)
        bucket = RedisTokenBucket(client, "search", capacity=10, tokens_per_second=5)
        with RateLimiter(bucket).acquire(3):
            ...

    It means what `TokenBucket` means, with these differences. The server's clock decides, to the
    microsecond. Whoever waits was told how long and keeps that time: if somebody ahead leaves, the
    tokens are there for those who come later. A limit that is changed in code applies from the next
    call on; the tokens that the bucket lacks stay as they are. Losing the server's data costs at
    most one capacity, and what was promised to those who wait. It takes a `redis.Redis`, a
    `RedisCluster`, a client from Sentinel, or one of valkey-py; in asyncio use
    `AsyncRedisTokenBucket`.

    Args:
        client: The client to ask through. Set its `socket_timeout`; each call takes one round trip.
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

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> RedisBucketGroup:
        return RedisBucketGroup(unnamed, named)
