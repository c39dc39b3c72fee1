"""Measure memory: the bytes of a bucket, and of a key."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

from table import Figure

from rate_limiter import KeyedRateLimiter, TokenBucket

COUNT = 50_000


def sizes() -> Iterator[Figure]:
    """Measure everything."""
    buckets: list[TokenBucket] = []
    yield Figure("bytes of a bucket", taken(lambda n: buckets.append(TokenBucket(5, 1e-3))), 350)
    names = [f"user {number}" for number in range(COUNT)]
    limiters = KeyedRateLimiter(lambda: TokenBucket(5, 1e-3))
    used = taken(lambda n: limiters[names[n]].bucket.allow())
    yield Figure("bytes of a key that has been used, without the key itself", used)


def taken(make: Callable[[int], object]) -> float:
    """Return the bytes that making each of many things takes."""
    gc.collect()
    tracemalloc.start()
    for number in range(COUNT):
        make(number)
    gc.collect()
    bytes_taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return bytes_taken / COUNT
