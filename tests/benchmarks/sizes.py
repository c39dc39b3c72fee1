"""Measure memory: the bytes of a bucket, and of a key."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator

from table import Figure

from rate_limiter import KeyedRateLimiter, TokenBucket

AWKWARD = (7, 0.123456789)  # capacity and rate that make large integers
PLAIN = (10, 5)


def sizes() -> Iterator[Figure]:
    """Measure everything."""
    yield Figure("bytes of a bucket", owned(TokenBucket(*AWKWARD), TokenBucket(*PLAIN)), 350)
    yield Figure("bytes of a key that has been used", bytes_of_key(), 400)


def bytes_of_key(keys: int = 50_000) -> float:
    """Return what a key takes, all told but the key itself."""
    names = [f"user {number}" for number in range(keys)]
    limiters = KeyedRateLimiter(lambda: TokenBucket(5, 1e-3))
    tracemalloc.start()
    for name in names:
        limiters[name].bucket.allow()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / keys


def owned(bucket: TokenBucket, other: TokenBucket) -> int:
    """Return the bytes of what `bucket` is made of and does not share with every other."""
    shared, mine = parts(other), parts(bucket)
    return sum(sys.getsizeof(part) for key, part in mine.items() if key not in shared)


def parts(thing: object) -> dict[int, object]:
    """Walk down slots and instance dictionaries; return every object found, by identity."""
    found = {id(thing): thing}
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        for slot in [slots] if isinstance(slots, str) else slots:
            if slot != "__weakref__" and hasattr(thing, slot):
                found |= parts(getattr(thing, slot))
    names = getattr(thing, "__dict__", None)
    if isinstance(names, dict):
        found[id(names)] = names
        for part in names.values():
            found |= parts(part)
    return found
