"""The token bucket on a server, for threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from ..clock import Clock
from ..exceptions import BackendError
from ..rates import Number
from ..shared.blocking import BlockingBucket
from ..shared.fallback import Fallback, read_fallback
from ..shared.group import BlockingGroup
from ..shared.lease import Lease
from ..shared.named_bucket import NamedBucket
from ..shared.returning import give_back
from .blocking import blocking_store
from .keys import check_slots, limit_of

__all__ = ["RedisTokenBucket"]


class RedisTokenBucket(NamedBucket, BlockingBucket):
    """A token bucket that is shared by all processes and machines that use its name.

        client = redis.Redis(socket_timeout=1)
        bucket = RedisTokenBucket(client, "search", capacity=10, tokens_per_second=5)
        with RateLimiter(bucket).acquire(3):
            ...

    It means what `TokenBucket` means, with these differences. The server's clock decides, to the
    microsecond. A caller that waits was told when to leave and keeps that time, even through a
    pause; only one that waits longer than 10 s moves up when somebody ahead leaves, and is held by
    a pause, for it renews its place every 5 s.
    A place that is not renewed for 15 s, because its process died, is given back. A limit that is
    changed in code applies from the next call on, and the level stays. Losing the server's data
    costs at most one capacity, and what was promised to waiters. It takes a `redis.Redis`,
    a `RedisCluster`, a client from Sentinel, or one of valkey-py; in asyncio use
    `AsyncRedisTokenBucket`.

    Args:
        client: The client to ask through. Set its `socket_timeout`; each call takes one round trip.
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
        super().__init__(
            blocking_store(client), None, client, limits, fallback=understudy, clock=clock
        )
        self._lease(lease)

    def close(self) -> None:
        """Give back what is left of a lease. The bucket can be used afterwards."""
        with suppress(BackendError):
            give_back(self, early=True)

    def _check_together(self, keys: Sequence[bytes]) -> None:
        check_slots(self._source, keys)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> BlockingGroup:
        return BlockingGroup(unnamed, named)

    def _refuse_tasks(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} would block the event loop; "
            "use AsyncRedisTokenBucket with a redis.asyncio client"
        )
