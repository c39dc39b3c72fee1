"""The token bucket on a server, for asyncio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..clock import Clock
from ..rates import Number
from ..shared.awaiting import AwaitingBucket
from ..shared.fallback import Fallback, read_fallback
from ..shared.group import AwaitingGroup
from ..shared.lease import Lease
from ..shared.named_bucket import NamedBucket
from ..shared.returning import give_back_async
from .awaiting import async_store
from .keys import check_slots, limit_of

__all__ = ["AsyncRedisTokenBucket"]


class AsyncRedisTokenBucket(NamedBucket, AwaitingBucket):
    """A token bucket for asyncio, shared by all processes and machines that use its name.

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
        name: The name by which it is shared; str or bytes, up to 64 KiB, of any content.
            In a cluster, buckets of a group need a part in braces in common: "{tenant}:requests".
        capacity: The most tokens it holds.
        tokens_per_second: How fast tokens come back.
        prefix: What its key begins with on the server, before a colon; without one itself.
        fallback: What decides while the server is away: None raises `BackendError`, "allow" admits,
            "deny" refuses, and a `TokenBucket` counts in this process alone.
        lease: How many tokens to take in advance; None takes each token when it is asked for.
        clock: For tests: what tells the time instead of the server.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is not positive and finite, the bucket takes more than 100 years to
            fill, `name` is empty or too long, or `prefix` has a colon.
    """

    __slots__ = ()

    def __init__(
        self,
        client: Any,
        name: str | bytes,
        capacity: Number,
        tokens_per_second: Number,
        *,
        prefix: str | bytes = "rate_limiter",
        fallback: Fallback = None,
        lease: Lease | None = None,
        clock: Clock | None = None,
    ) -> None:
        limits = limit_of(name, prefix, capacity, tokens_per_second)
        understudy = read_fallback(fallback, limits.use)
        super().__init__(async_store(client), client, limits, fallback=understudy, clock=clock)
        self._lease(lease)

    async def close(self) -> None:
        """Give back what is left of a lease. The bucket can be used afterwards."""
        await give_back_async(self, early=True)

    def _check_together(self, keys: Sequence[bytes]) -> None:
        check_slots(self._source, keys)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> AwaitingGroup:
        return AwaitingGroup(unnamed, named)
