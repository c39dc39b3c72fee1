"""What a bucket takes of a server's memory."""

from fractions import Fraction
from statistics import median

import pytest

from rate_limiter.redis import RedisTokenBucket

PREFIX = "rate_limiter:"
BYTES = 128
LIMITS = [(10, 5), (10, 3), (100, Fraction(100, 60)), (1000, Fraction(1000, 86_400)), (3, 3.14)]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_keep_a_bucket_takes_at_most_128_bytes(client, name, limit):
    """P24: That is with a name of 8 characters, and without the prefix.

    It is the median of many, for an allocator gives more to one than to another.
    """
    names = [f"{name[-5:]}{number:03}" for number in range(21)]
    for each in names:
        RedisTokenBucket(client, each, *limit).allow()

    assert median(client.memory_usage(PREFIX + each) for each in names) - len(PREFIX) <= BYTES
