"""First guesses that people make are told what to write instead."""

import asyncio
import math

import pytest

from rate_limiter import (
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    per_instance,
    rate_limited,
)
from rate_limiter.testing import ManualClock


@pytest.fixture
def bucket():
    return TokenBucket(5, 1, clock=ManualClock())


@pytest.fixture
def limiter(bucket):
    return RateLimiter(bucket)


@pytest.fixture
def keyed():
    return KeyedRateLimiter(lambda: TokenBucket(5, 1, clock=ManualClock()))


def function(x=1):
    return x


def enter(thing):
    with thing:
        return 1


def enter_async(thing):
    async def main():
        async with thing:
            return 1

    return asyncio.run(main())


def said(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    text = str(caught.value)
    assert "<locals>" not in text
    assert "ABCMeta" not in text
    return text


@pytest.mark.parametrize("use", [enter, enter_async, lambda bucket: bucket(function)])
def test_limit_with_a_bucket_tells_of_the_limiter(bucket, use):
    """A bucket only holds tokens; a limiter says what to do."""
    assert "RateLimiter(bucket)" in said(TypeError, use, bucket)
    assert "RateLimiter(bucket)" in said(TypeError, use, BucketGroup(bucket))


@pytest.mark.parametrize("name", ["allow", "try_consume"])
def test_ask_a_limiter_as_a_bucket_tells_of_its_bucket(limiter, name):
    """A limiter has no answer of its own."""
    text = said(AttributeError, getattr, limiter, name)
    assert "limiter.bucket.allow(tokens)" in text


@pytest.mark.parametrize(
    "name",
    [
        *("reserve", "refund", "pause", "resume", "configure"),
        *("level", "retry_after", "available_tokens"),
    ],
)
def test_ask_a_limiter_for_what_its_bucket_has_tells_where_it_is(limiter, name):
    """A limiter says what to do; the rest is its bucket's."""
    assert f"no {name!r}; that is its bucket's" in said(AttributeError, getattr, limiter, name)
    assert hasattr(limiter.bucket, name)


def test_configure_a_group_tells_of_its_members(bucket):
    """A group has no limit of its own."""
    group = BucketGroup(only=bucket)
    assert "group.members" in said(AttributeError, lambda: group.configure(1, 1))
    assert group.members


@pytest.mark.parametrize("name", ["wait", "wait_async"])
def test_wait_with_a_limiter_tells_of_acquire(limiter, name):
    """A limiter waits around a block."""
    assert "limiter.acquire(tokens)" in said(AttributeError, getattr, limiter, name)


def test_ask_a_limiter_for_anything_else_says_that_it_has_none(limiter):
    """Other names are refused as by any object."""
    text = said(AttributeError, lambda: limiter.colour)
    assert text == "'RateLimiter' object has no attribute 'colour'"
    assert not hasattr(limiter, "_move")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("acquire", "limiters[key].acquire()"),
        ("cost", "limiters[key].cost()"),
        ("allow", "limiters[key].bucket.allow()"),
        ("try_consume", "limiters[key].bucket.try_consume()"),
        ("wait", "limiters[key].bucket.wait()"),
        ("wait_async", "limiters[key].bucket.wait_async()"),
    ],
)
def test_use_a_keyed_limiter_without_a_key_tells_where_it_is(keyed, name, there):
    """A keyed limiter has a limiter for each key."""
    assert there in said(AttributeError, lambda: getattr(keyed, name)("ada"))


def test_ask_a_keyed_limiter_for_anything_else_says_that_it_has_none(keyed):
    """Other names are refused as by any object."""
    text = said(AttributeError, lambda: keyed.colour)
    assert text == "'KeyedRateLimiter' object has no attribute 'colour'"


@pytest.mark.parametrize("use", [enter, enter_async, lambda keyed: keyed(function)])
def test_limit_with_a_keyed_limiter_tells_of_the_key(keyed, use):
    """A block needs a key, and a function needs to say where it is."""
    text = said(TypeError, use, keyed)
    assert "limiters[key].acquire()" in text
    assert "key=" in text


@pytest.mark.parametrize("calls", [lambda made: made(), lambda made: made(1, x=2)])
def test_give_a_function_for_a_cost_tells_how_to_decorate(limiter, calls):
    """`limiter.cost(function)` takes the function for what computes the cost."""
    assert "limiter.cost(2)(function)" in said(TypeError, calls, limiter.cost(function))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: rate_limited(function), "got function"),
        (rate_limited, "got nothing"),
        (lambda: rate_limited(rate=5), "got 5"),
        (lambda: rate_limited(10), "got None"),
    ],
)
def test_decorate_without_a_limit_shows_a_decorator_with_one(make, match):
    """`@rate_limited` alone has no limit."""
    text = said(TypeError, make)
    assert match in text
    assert "@rate_limited(capacity=10, rate=5)" in text


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimiter("10/second"),
        lambda: TokenBucket("10/second", 5),
        lambda: TokenBucket(10, "10/second"),
        lambda: KeyedRateLimiter("10/second"),
    ],
)
def test_give_a_rate_for_a_bucket_tells_of_from_rate(make):
    """A rate in words makes a bucket by from_rate."""
    assert ".from_rate('10/second')" in said(TypeError, make)


def test_give_words_for_the_capacity_tells_that_they_are_the_rate():
    """`rate_limited` takes words as its rate."""
    text = said(TypeError, rate_limited, "10/second; 100/hour")
    assert "@rate_limited(rate='10/second; 100/hour')" in text


def test_decorate_with_a_permit_tells_of_cost(limiter):
    """A permit is for one block."""
    permit = limiter.acquire(2)
    assert "@limiter.cost(2)" in said(TypeError, permit, function)
    permit.__enter__()


def test_limit_with_a_class_tells_to_make_one():
    """A class is no bucket yet."""
    assert "RateLimiter(TokenBucket(" in said(TypeError, RateLimiter, TokenBucket)


@pytest.mark.parametrize("options", [{}, {"block": False}, {"timeout": 1}])
def test_ask_a_permit_for_its_truth_tells_to_enter_it(limiter, options):
    """A permit that was not entered has taken nothing, whatever it costs."""
    permit = limiter.acquire(3, **options)
    text = said(TypeError, bool, permit)
    assert "with limiter.acquire(3)" in text
    assert "bucket.allow(3)" in text
    assert limiter.bucket.available_tokens == 5
    assert enter(permit)


def test_ask_an_entered_permit_for_its_truth_says_true(limiter):
    """Once it was admitted there is nothing to ask."""
    with limiter.acquire(5) as permit:
        assert permit


def test_ask_limiters_for_their_truth_says_true(limiter, keyed):
    """A limiter is one, also while it has no keys; only a bucket's answer is a truth."""
    assert limiter
    assert (bool(keyed), len(keyed)) == (True, 0)


def test_write_retry_after_without_decimals_rounds_up():
    """P6: A header asks nobody back too early."""
    error = RateLimitExceeded("no", retry_after=0.43)
    assert f"{error.retry_after:.0f}" == "1" == str(math.ceil(error.retry_after))


def test_decorate_a_function_per_instance_tells_why_not():
    """A function has no instance to keep a bucket for."""
    text = said(TypeError, rate_limited(5, 1, key=per_instance), function)
    assert "key=per_instance is for methods" in text
