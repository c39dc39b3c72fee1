"""Measure memory: the bytes of a bucket, and of a key; and what it takes to add a key."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from statistics import median
from time import thread_time

from table import Figure, aim

from rate_limiter import KeyedRateLimiter, TokenBucket, rate_limited

COUNT = 44_000  # just after a dictionary of them has grown, when it is emptiest
ROUNDS = 9


def sizes() -> Iterator[Figure]:
    """Measure everything."""
    buckets: list[TokenBucket] = []
    yield Figure(
        "bytes of a bucket", taken(lambda n: buckets.append(TokenBucket(5, 1e-3))), aim(220, 330)
    )
    names = [f"user {number}" for number in range(COUNT)]
    call = decorated()
    label = "bytes of a key of a decorated call, without the key itself"
    yield Figure(label, taken(lambda n: call(names[n])), 130)
    limiters = KeyedRateLimiter.from_rate("5/hour")
    used = taken(lambda n: limiters[names[n]].bucket.allow())
    yield Figure("bytes of a key of from_rate, without the key itself", used, 130)
    made = KeyedRateLimiter(lambda: TokenBucket(5, 1e-3))
    used = taken(lambda n: made[names[n]].bucket.allow())
    yield Figure("bytes of a key with a maker, without the key itself", used)
    label = "processor us of a decorated call with a new key"
    yield Figure(label, median(microseconds(decorated(), names) for _ in range(ROUNDS)), 2)


def decorated() -> Callable[[str], object]:
    """Return a function that does nothing but pay for its key."""
    return rate_limited(5, 1e-3, key=str)(lambda key: None)


def microseconds(call: Callable[[str], object], names: list[str]) -> float:
    """Return the processor time that each of many calls with other keys takes."""
    began = thread_time()
    for name in names:
        call(name)
    return (thread_time() - began) / len(names) * 1e6


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
