"""Strict rates: what is refused, and of what they are made."""

import asyncio
from fractions import Fraction

import pytest

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    TokenBucket,
)
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def bucket(clock):
    return TokenBucket.from_rate("60/minute", 6, strict=True, clock=clock)


@pytest.mark.parametrize(
    ("rate", "capacity", "expected"),
    [
        ("60/minute", 6, (6, 54 / 60)),
        ("60/minute", None, (6, 54 / 60)),
        ("5/second", None, (1, 4)),
        ("10 per 5 seconds", Fraction(5, 2), (2.5, 1.5)),
        ("1.5/second", None, (1, 0.5)),
    ],
)
def test_make_strict_bucket_spreads_what_is_not_there_at_once(clock, rate, capacity, expected):
    """P1: The capacity and what comes back in one window are the count together."""
    bucket = TokenBucket.from_rate(rate, capacity, strict=True, clock=clock)

    assert (bucket.capacity, bucket.tokens_per_second) == expected
    assert bucket.available_tokens == bucket.capacity


@pytest.mark.parametrize("rate", ["1/second", "0.5/second"])
def test_make_strict_bucket_that_spreads_nothing_raises(clock, rate):
    """P1: A count of one leaves nothing to spread; it is said over a longer time."""
    with pytest.raises(ValueError, match="must count more than 1"):
        TokenBucket.from_rate(rate, strict=True, clock=clock)
    with pytest.raises(ValueError, match=r"capacity must be below the 10"):
        TokenBucket.from_rate("10/second", 10, strict=True, clock=clock)


@pytest.mark.parametrize("wrong", [1, 0, None, "yes"])
def test_make_with_strict_that_is_no_bool_raises(wrong):
    """P22: A switch is True or False."""
    for make in (
        lambda: TokenBucket.from_rate("10/second", strict=wrong),
        lambda: BucketGroup.from_rate("10/second", strict=wrong),
        lambda: KeyedRateLimiter.from_rate("10/second", strict=wrong),
    ):
        with pytest.raises(TypeError, match="strict must be True or False"):
            make()


def enter(limiter, *args, **options):
    with limiter.acquire(*args, **options) as permit:
        return permit


CALLS = {
    "wait": lambda bucket: bucket.wait(6.5),
    "wait with timeout": lambda bucket: bucket.wait(6.5, timeout=100),
    "wait_async": lambda bucket: asyncio.run(bucket.wait_async(6.5)),
    "reserve": lambda bucket: bucket.reserve(6.5),
    "acquire": lambda bucket: enter(RateLimiter(bucket), 6.5),
    "acquire at once": lambda bucket: enter(RateLimiter(bucket, block=False), 6.5),
    "decorate": lambda bucket: RateLimiter(bucket).cost(6.5)(len)("abc"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("busy", [False, True])
def test_ask_above_the_capacity_is_refused_in_every_call(bucket, call, busy):
    """P1: One large grant would break the window, so it is refused, waiting or not."""
    if busy:
        bucket.allow(6)
        bucket.reserve(2)
    before = bucket.level

    with pytest.raises(CostExceedsCapacity, match=r"above the capacity of 6\b.*strict") as caught:
        CALLS[call](bucket)

    assert (bucket.level, caught.value.tokens) == (before, 6.5)
    assert caught.value.levels[None].available_tokens == before.available_tokens
    assert not bucket.allow(6.5)
    assert bucket.retry_after(6.5) == float("inf")


def test_ask_a_group_above_a_strict_capacity_is_refused_by_that_bucket(clock, bucket):
    """P1, P7: A strict bucket refuses for its whole group, which takes nothing."""
    other = TokenBucket(1, 1, clock=clock)
    group = BucketGroup(other=other, strict=bucket)

    with pytest.raises(CostExceedsCapacity) as caught:
        group.wait({"other": 2, "strict": 7})

    assert (caught.value.refused_by, other.available_tokens) == ("strict", 1)
    group.reserve({"other": 2, "strict": 6})


@pytest.mark.parametrize("change", [{"capacity": 2}, {"tokens_per_second": 1}, {}])
def test_configure_strict_bucket_is_refused(bucket, change):
    """P9: Capacity and rate make the count together, so neither is changed alone."""
    with pytest.raises(ValueError, match=r"strict rate cannot be changed.*from_rate"):
        bucket.configure(**change)
    assert (bucket.capacity, bucket.tokens_per_second) == (6, 0.9)


def test_settle_strict_permit_above_the_capacity_is_charged_as_debt(bucket):
    """What was really used is used, and is outside the promise."""
    permit = enter(RateLimiter(bucket), 1)
    permit.settle(15)
    assert bucket.retry_after() == pytest.approx(10 / 0.9)


def test_make_group_from_rates_names_each_bucket_by_its_words(clock):
    """Several rates are one bucket each, all of them strict or none."""
    group = BucketGroup.from_rate("10/second;  1000 per hour ", clock=clock)
    strict = BucketGroup.from_rate("10/second; 1000/hour", strict=True, clock=clock)

    assert list(group.buckets) == ["10/second", "1000 per hour"]
    assert [bucket.capacity for bucket in group.buckets.values()] == [10, 1000]
    assert [bucket.capacity for bucket in strict.buckets.values()] == [1, 100]
    assert not group.allow(11)
    assert group.allow(10)
    assert group.buckets["1000 per hour"].available_tokens == 990
    with pytest.raises(CostExceedsCapacity) as caught:
        strict.wait(2)
    assert caught.value.refused_by == "10/second"


@pytest.mark.parametrize(
    ("rate", "options", "capacities"),
    [
        ("10/second", {}, [10]),
        ("10/second", {"capacity": 3}, [3]),
        ("10/second", {"strict": True}, [1]),
        ("10/second; 1000/hour", {}, [10, 1000]),
        ("10/second; 1000/hour", {"strict": True}, [1, 100]),
    ],
)
def test_make_keyed_limiter_from_rates_gives_each_key_all_of_them(clock, rate, options, capacities):
    """Each key has a bucket of the rate, or a group of several."""
    limiters = KeyedRateLimiter.from_rate(rate, clock=clock, block=False, **options)
    bucket = limiters["ada"].bucket
    buckets = getattr(bucket, "buckets", {None: bucket}).values()

    assert [each.capacity for each in buckets] == capacities
    assert bucket.allow(min(capacities))
    assert (bucket.allow(), limiters["bob"].bucket.allow()) == (False, True)
    assert (limiters["ada"].block, limiters["ada"].dry_run) == (False, False)


@pytest.mark.parametrize("strict", [False, True])
def test_make_keyed_limiter_from_rate_shares_one_limit_among_all_keys(strict):
    """P24: The arithmetic of a rate in words is done once, not for each key."""
    limiters = KeyedRateLimiter.from_rate("60/minute", strict=strict)
    first, second = limiters["first"].bucket, limiters["second"].bucket

    assert first._ledger.limit is second._ledger.limit
    assert first._ledger.limit.strict is strict


@pytest.mark.parametrize(
    ("rate", "options", "error", "match"),
    [
        ("10/second; 9/hour", {"capacity": 3}, ValueError, "a capacity goes with a single rate"),
        ("ten/second", {}, ValueError, "a rate must look like"),
        ("10/second; 10/second", {}, ValueError, "a rate must be there once"),
        (10, {}, TypeError, "a rate must be a string"),
        ("10/second", {"capacity": 0}, ValueError, "capacity must be above 0"),
        ("10/second", {"max_keys": 0}, ValueError, "max_keys"),
        ("1/second", {"strict": True}, ValueError, "must count more than 1"),
    ],
)
def test_make_keyed_limiter_from_what_is_no_rate_raises_at_once(rate, options, error, match):
    """P22, P23: A mistake is told when the limiter is made, not at the first key."""
    with pytest.raises(error, match=match):
        KeyedRateLimiter.from_rate(rate, **options)
