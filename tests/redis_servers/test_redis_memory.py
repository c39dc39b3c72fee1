"""What a bucket takes of a server's memory."""

from fractions import Fraction
from statistics import median

import pytest

from rate_limiter.redis import RedisTokenBucket

PREFIX = "rate_limiter:"
BYTES = 128  # of Redis; what a key takes is each server's own matter
SHORT = 44  # characters of a string that Redis and Valkey keep in one piece
LIMITS = [(10, 5), (10, 3), (100, Fraction(100, 60)), (1000, Fraction(1000, 86_400)), (3, 3.14)]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_keep_a_bucket_takes_at_most_128_bytes(client, name, limit):
    """P24: A bucket whose name has 8 characters takes no more than a short string does.

    That is the median of many, for an allocator gives more to one than to another.
    """
    names = [f"{name[-5:]}{number:03}" for number in range(21)]
    bare = [f"{PREFIX}{each[:-1]}x" for each in names]
    for each, key in zip(names, bare, strict=True):
        RedisTokenBucket(client, each, *limit).allow()
        client.set(key, "x" * SHORT, px=60_000)

    taken, string = [
        median(map(client.memory_usage, keys))
        for keys in ([PREFIX + each for each in names], set(bare))
    ]

    assert taken <= string
    if "valkey_version" not in client.info("server"):
        assert taken - len(PREFIX) <= BYTES
