"""What a bucket takes of a server's memory."""

from fractions import Fraction

import pytest

from rate_limiter.redis import RedisTokenBucket

PREFIX = "rate_limiter:"
BYTES = 128  # of Redis; what a key takes is each server's own matter
SHORT = 44  # characters of a string that Redis and Valkey keep in one piece
LIMITS = [(10, 5), (10, 3), (100, Fraction(100, 60)), (1000, Fraction(1000, 86_400)), (3, 3.14)]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_keep_a_bucket_takes_at_most_128_bytes(client, name, limit):
    """P24: A bucket whose name has 8 characters takes no more than a short string does."""
    name = name[-8:]
    RedisTokenBucket(client, name, *limit).allow()
    bare = name[:-1] + ("x" if name[-1] != "x" else "y")
    client.set(f"{PREFIX}{bare}", "x" * SHORT, px=60_000)

    taken, string = [client.memory_usage(f"{PREFIX}{key}") for key in (name, bare)]

    assert taken <= string
    if "valkey_version" not in client.info("server"):
        assert taken - len(PREFIX) <= BYTES
