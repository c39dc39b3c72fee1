"""What is given back while somebody waits for more than the capacity adds up for them."""

import pytest

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(start=9)


@pytest.fixture
def bucket(clock):
    return TokenBucket(4, 1, clock=clock)


def by_cancel(bucket):
    return bucket.reserve(3).cancel


def by_settled_reservation(bucket):
    reservation = bucket.reserve(3)
    return lambda: reservation.settle(0)


def by_refund(bucket):
    bucket.allow(3)
    return lambda: bucket.refund(3)


def by_permit(bucket):
    return RateLimiter(bucket).acquire(3).__enter__().refund


def by_settled_permit(bucket):
    permit = RateLimiter(bucket).acquire(3).__enter__()
    return lambda: permit.settle(0)


def in_parts(bucket):
    bucket.allow(3)
    return lambda: [bucket.refund(1) for _ in range(3)]


WAYS = [by_cancel, by_settled_reservation, by_refund, by_permit, by_settled_permit, in_parts]
every_way = pytest.mark.parametrize("way", WAYS)
wrapped = pytest.mark.parametrize("wrap", [lambda b: b, BucketGroup, lambda b: BucketGroup(x=b)])


@wrapped
@every_way
def test_tokens_given_back_add_up_for_a_large_head(way, wrap, bucket):
    """P3: Whoever gives back, the head of the line gets all of it, above the capacity as well."""
    target = wrap(bucket)
    give_back = way(target)
    head = target.reserve(10)
    assert head.delay == 9
    give_back()
    assert head.delay == 6


@every_way
def test_tokens_given_back_late_keep_what_has_accrued(way, bucket, clock):
    """P3: What accrued for the head before something was given back is not lost by that."""
    give_back = way(bucket)
    head = bucket.reserve(10)
    clock.advance(5)
    assert head.delay == 4
    give_back()
    assert head.delay == 1


def test_more_given_back_than_the_head_needs_overflows(bucket, clock):
    """P4: Tokens add up to the price of the head, and what is given back beyond it is lost."""
    bucket.allow(4)
    head = bucket.reserve(6)
    bucket.refund(50)
    assert (head.delay, bucket.available_tokens) == (0, 0)


def test_head_of_the_capacity_or_less_adds_up_nothing(bucket):
    """P4: For a head that fits, tokens add up to the capacity."""
    bucket.allow(4)
    first, second = bucket.reserve(4), bucket.reserve(4)
    bucket.refund(100)
    assert (first.delay, second.delay) == (0, 4)


def test_rate_changed_while_a_large_head_waits_keeps_its_tokens(bucket, clock):
    """P3: What has added up for a head stays when the capacity or the rate changes."""
    bucket.allow(4)
    head = bucket.reserve(10)
    clock.advance(7)
    bucket.configure(tokens_per_second=3)
    assert head.delay == 1
    bucket.configure(capacity=2)
    assert head.delay == 1
