"""What a key of other libraries takes of a server's memory; whichever are installed.

pip install throttled-py limits pyrate-limiter
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

NAME = "somebody"  # of 8 characters, like all names here


def peers(client: Any, url: str) -> Iterator[tuple[str, int]]:
    """Yield what other libraries keep for 10 at 5 per second, and its bytes."""
    makers: list[Callable[[Any, str], Iterator[tuple[str, Callable[[], object]]]]] = [
        throttled_py,
        limits,
        pyrate_limiter,
    ]
    for maker in makers:
        with suppress(ImportError):
            for label, take in maker(client, url):
                yield label, taken(client, take)


def taken(client: Any, take: Callable[[], object]) -> int:
    """Return the bytes of the keys that are there after an admission, and were not before."""
    before = set(client.keys())
    take()
    return sum(client.memory_usage(key) for key in set(client.keys()) - before)


def throttled_py(_: Any, url: str) -> Iterator[tuple[str, Callable[[], object]]]:
    from throttled import Throttled, per_sec
    from throttled.store import RedisStore

    for using in ("gcra", "token_bucket"):
        made = Throttled(
            NAME, using=using, quota=per_sec(5, burst=10), store=RedisStore(server=url)
        )
        yield f"throttled-py {using}", made.limit


def limits(_: Any, url: str) -> Iterator[tuple[str, Callable[[], object]]]:
    from limits import RateLimitItemPerSecond, storage, strategies

    kept, item = storage.RedisStorage(url), RateLimitItemPerSecond(10, 2)
    for kind in (strategies.FixedWindowRateLimiter, strategies.MovingWindowRateLimiter):
        yield f"limits {kind.__name__}", lambda kind=kind: kind(kept).hit(item, NAME)  # type: ignore[misc]
        kept.reset()


def pyrate_limiter(client: Any, _: str) -> Iterator[tuple[str, Callable[[], object]]]:
    from pyrate_limiter import Limiter, Rate, RedisBucket

    bucket = RedisBucket.init([Rate(10, 2000)], client, NAME)
    yield "pyrate-limiter, one of 10 taken", lambda: Limiter(bucket).try_acquire(NAME)
