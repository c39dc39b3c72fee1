"""One look at the bucket decides, and says why: what is refused and what is told agree."""

import threading

import pytest

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(start=9)


def pair(clock, capacity=10):
    return BucketGroup(
        a=TokenBucket(capacity, 1, clock=clock), b=TokenBucket(capacity, 1, clock=clock)
    )


CORRECTIONS = {
    "cancelled": lambda group: group.reserve(2).cancel(),
    "settled": lambda group: group.reserve(2).settle(0),
    "refunded": lambda group: group.allow(2) and group.refund(2),
    "permit refunded": lambda group: RateLimiter(group).acquire(2).__enter__().refund(),
    "permit settled": lambda group: RateLimiter(group).acquire(2).__enter__().settle(0),
    "paused": lambda group: (group.pause(1e-9), group.resume()),
}


@pytest.mark.parametrize("correct", CORRECTIONS.values(), ids=CORRECTIONS)
def test_step_back_of_the_clock_after_a_correction_stops_no_group(correct, clock):
    """P8: Tokens that are there can be taken, however the clock stepped since they came back."""
    group = pair(clock)
    correct(group)
    there = min(int(bucket.available_tokens) for bucket in group.buckets.values())
    clock.advance(-1e-9)
    taken = 0
    while group.retry_after() == 0:
        assert group.allow()
        taken += 1
    assert not group.allow()
    assert there - 1 <= taken <= there


@pytest.mark.parametrize("shape", ["bucket", "group", "nested"])
def test_refusals_under_time_that_passes_never_say_now(shape):
    """P6: A refusal on the machine's clock never says that the tokens are there already."""
    bucket = TokenBucket(2, 1_000)
    for _ in range(("bucket", "group", "nested").index(shape)):
        bucket = BucketGroup(bucket, TokenBucket(2, 1_000))
    limiter, waits = RateLimiter(bucket, block=False), []
    while len(waits) < 200:
        try:
            limiter.acquire().__enter__()
        except RateLimitExceeded as error:
            waits.append(error.retry_after)
    assert min(waits) > 0


def test_refuse_reservation_and_wait_never_say_now():
    """P6: A reservation or a wait that is refused for its timeout says how long it would be."""
    bucket, waits = TokenBucket(1, 1_000), []
    for take in (bucket.reserve, bucket.wait) * 2_000:
        try:
            take(1, timeout=0)
        except RateLimitExceeded as error:
            waits.append(error.retry_after)
    assert waits
    assert min(waits) > 0


def test_threads_that_settle_a_group_are_refused_nothing_that_is_there():
    """P7: Threads that take, and give a part back, are never refused tokens that are there."""
    buckets = TokenBucket(10**6, 0.001), TokenBucket(10**6, 0.001)
    limiter, refused = RateLimiter(BucketGroup(*buckets), block=False), []

    def work():
        for _ in range(500):
            try:
                with limiter.acquire(9) as permit:
                    permit.settle(5)
            except RateLimitExceeded as error:
                refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    assert [round(10**6 - bucket.available_tokens) for bucket in buckets] == [10_000, 10_000]


def refusal_of(group, cost, **options):
    with pytest.raises((CostExceedsCapacity, RateLimitExceeded)) as caught:
        RateLimiter(group, **options).acquire(cost).__enter__()
    return caught.value


def test_refusal_names_the_bucket_that_refused(clock):
    """Of a group the bucket that can never pay is named, or the one that holds up longest."""
    calls, words = TokenBucket(60, 1, clock=clock), TokenBucket(2000, 9, clock=clock)
    group = BucketGroup(calls=calls, words=words)
    never = refusal_of(group, {"calls": 1, "words": 3000}, block=False)
    assert (never.refused_by, "2000" in str(never)) == ("words", True)
    calls.allow(60)
    words.allow(2000)
    cost = {"calls": 1, "words": 90}
    for options in ({"block": False}, {"timeout": 5}):
        later = refusal_of(group, cost, **options)
        assert (later.refused_by, later.retry_after) == ("words", 10)
    outer = BucketGroup(other=TokenBucket(9, 1, clock=clock), inner=group)
    assert refusal_of(outer, {"inner": cost}, block=False).refused_by == "inner.words"
