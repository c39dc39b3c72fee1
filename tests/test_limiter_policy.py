"""What a limiter says of blocking and timeout, what a call says, and what comes of it."""

import asyncio
import math

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

WAITS, REFUSES = "waits", RateLimitExceeded


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


@pytest.fixture
def bucket(clock):
    return TokenBucket(10, 1, clock=clock)


def enter(limiter, *args, **kwargs):
    with limiter.acquire(*args, **kwargs) as permit:
        return permit


def enter_async(limiter, *args, **kwargs):
    async def main():
        async with limiter.acquire(*args, **kwargs) as permit:
            return permit

    return asyncio.run(main())


def await_permit(limiter, *args, **kwargs):
    async def main():
        return await limiter.acquire(*args, **kwargs)

    return asyncio.run(main())


# The limiter's own policy, the call's, and what comes of a cost that is 3 s away.
POLICIES = [
    ({}, {}, WAITS),
    ({"timeout": 3}, {}, WAITS),
    ({"timeout": 2}, {}, REFUSES),
    ({"timeout": 0}, {}, REFUSES),
    ({"timeout": -1}, {}, REFUSES),
    ({"timeout": -math.inf}, {}, REFUSES),
    ({"timeout": math.inf}, {}, WAITS),
    ({"block": False}, {}, REFUSES),
    ({}, {"block": True}, WAITS),
    ({}, {"block": False}, REFUSES),
    ({}, {"timeout": 3}, WAITS),
    ({}, {"timeout": 2}, REFUSES),
    ({}, {"timeout": 0}, REFUSES),
    ({}, {"timeout": -0.001}, REFUSES),
    ({}, {"timeout": math.inf}, WAITS),
    ({}, {"block": True, "timeout": 2}, REFUSES),
    ({}, {"block": False, "timeout": 2}, ValueError),
    ({"timeout": 2}, {"block": True}, REFUSES),
    ({"timeout": 2}, {"block": False}, REFUSES),
    ({"timeout": 2}, {"timeout": 3}, WAITS),
    ({"timeout": 3}, {"timeout": 2}, REFUSES),
    ({"timeout": 2}, {"timeout": math.inf}, WAITS),
    ({"timeout": 2}, {"block": True, "timeout": math.inf}, WAITS),
    ({"timeout": 2}, {"block": False, "timeout": 3}, ValueError),
    ({"block": False}, {"block": True}, WAITS),
    ({"block": False}, {"block": False}, REFUSES),
    ({"block": False}, {"timeout": 3}, ValueError),
    ({"block": False}, {"timeout": math.inf}, ValueError),
    ({"block": False}, {"block": True, "timeout": 3}, WAITS),
    ({"block": False}, {"block": True, "timeout": 2}, REFUSES),
    ({"block": False}, {"block": False, "timeout": 2}, ValueError),
]


@pytest.mark.parametrize("take", [enter, enter_async, await_permit])
@pytest.mark.parametrize(("own", "given", "expected"), POLICIES)
def test_override_policy_for_one_call(take, own, given, expected, clock):
    """What a call says of blocking and timeout goes before what its limiter says."""
    bucket = TokenBucket(10, 1, initial_tokens=2, clock=clock)
    limiter = RateLimiter(bucket, **own)
    if expected is WAITS:
        assert take(limiter, 5, **given).waited == 3
        assert bucket.available_tokens == 0
        return
    with pytest.raises(expected):
        take(limiter, 5, **given)
    assert (bucket.available_tokens, clock.elapsed) == (2, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"block": "no"}, TypeError, "block must be True or False, got 'no'"),
        ({"block": 0}, TypeError, "block must be True or False, got 0"),
        ({"timeout": "5"}, TypeError, "timeout must be a real number.*'5'"),
        ({"timeout": True}, TypeError, "timeout must be a real number.*True"),
        ({"timeout": math.nan}, ValueError, "timeout must be finite, got nan"),
        ({"timeout": 10**400}, ValueError, "timeout must be at most 1.8e308"),
        ({"timeout": 5, "block": False}, ValueError, "timeout=5 needs block=True"),
        ({"timeout": 0, "block": False}, ValueError, "timeout=0 needs block=True"),
    ],
)
def test_refuse_bad_policy_naming_it(options, error, message, bucket):
    """P22: A limiter and a call refuse the same policies, and say what is wrong with them."""
    with pytest.raises(error, match=message):
        RateLimiter(bucket, **options)
    with pytest.raises(error, match=message):
        RateLimiter(bucket).acquire(**options)
    assert bucket.available_tokens == 10
