"""The token bucket in a file, for threads and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clock import Clock
from ..rates import Number
from ..shared.blocking import BlockingBucket
from ..shared.fallback import Fallback, read_fallback
from ..shared.group import BlockingGroup
from ..shared.limits import OneLimit, name_bytes
from ..shared.named_bucket import NamedBucket
from ..shared.store import Limit
from ..shared.terms import Terms
from .opened import Path, store_at
from .tasks import SQLiteTasks

__all__ = ["SQLiteTokenBucket"]

_TIMEOUT = 5.0  # seconds


class SQLiteTokenBucket(NamedBucket, BlockingBucket):
    """A token bucket in a file, shared by the processes of this machine that use its name.

        bucket = SQLiteTokenBucket("/run/app/limits.db", "github", capacity=10, tokens_per_second=5)
        with RateLimiter(bucket).acquire(3):
            ...

    It means what `TokenBucket` means, and serves threads and tasks alike, with the differences that
    `RedisTokenBucket` has: it counts microseconds, a caller that waits keeps the time that it was
    told, and a place that is not renewed for 15 s is given back. In tasks, `await` and `async with`
    never block the loop, nor do `pause_async`, `permit.settle_async` and `permit.refund_async`;
    `allow`, `settle` and other plain calls do, for as long as others have the file locked, which is
    microseconds each. A file holds any number of buckets. It is made when it is first asked, and
    belongs to buckets alone. Losing it costs at most one capacity, and what was promised to callers
    that wait.
    Processes may be forked and killed at any moment. It is not for network file systems: across
    machines use `RedisTokenBucket`.

    Args:
        path: The path of the file, in a directory where every process may write.
        name: The name by which it is shared; str or bytes, up to 64 KiB, of any content.
        capacity: The most tokens it holds.
        tokens_per_second: How fast tokens come back.
        fallback: What decides while the file cannot be used: None raises `BackendError`, "allow"
            admits, "deny" refuses, and a `TokenBucket` counts in this process alone.
        busy_timeout: How many seconds a call, from when it is made, waits for others who have the
            file locked, which takes them some microseconds each; then it has failed. A group waits
            as long as its first bucket.
        clock: For tests: what tells the time instead of the machine.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is not positive and finite, the bucket takes more than 100 years to
            fill, `path` is no file's, or `name` is empty or too long.
    """

    __slots__ = ()

    def __init__(
        self,
        path: Path,
        name: str | bytes,
        capacity: Number,
        tokens_per_second: Number,
        *,
        fallback: Fallback = None,
        busy_timeout: Number = _TIMEOUT,
        clock: Clock | None = None,
    ) -> None:
        limits = OneLimit(Limit(name_bytes(name), Terms(capacity, tokens_per_second)))
        understudy = read_fallback(fallback, limits.use)
        store = store_at(path, busy_timeout)
        tasks = SQLiteTasks(store)
        super().__init__(store, tasks, store.shared, limits, fallback=understudy, clock=clock)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> BlockingGroup:
        return BlockingGroup(unnamed, named)
