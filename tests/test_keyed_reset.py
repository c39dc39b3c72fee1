"""Giving a key a full bucket again, in place."""

import asyncio

import pytest

from rate_limiter import BucketGroup, KeyedRateLimiter, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limiters(clock):
    return KeyedRateLimiter(lambda: TokenBucket(10, 2, clock=clock))


def test_reset_key_fills_its_bucket_in_place(limiters):
    """Whoever holds the limiter of a key goes on with the same bucket."""
    held, other = limiters["ada"].bucket, limiters["bob"].bucket
    assert held.allow(10)
    assert other.allow(10)

    limiters.reset("ada")

    assert limiters["ada"].bucket is held
    assert (held.available_tokens, other.available_tokens) == (10, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bucket: bucket.pause(60),
        lambda bucket: bucket.reserve(10).settle(50),
        lambda bucket: bucket.reserve(500),
        lambda bucket: [bucket.pause(60), bucket.reserve(3)],
    ],
    ids=["pause", "debt", "line", "pause and line"],
)
def test_reset_key_ends_pause_debt_and_line(limiters, spoil, clock):
    """A reset bucket is as a new one, and is forgotten as one."""
    bucket = limiters["ada"].bucket
    spoil(bucket)

    limiters.reset("ada")

    assert bucket.level == TokenBucket(10, 2, clock=clock).level
    assert [bucket.allow(10), bucket.allow()] == [True, False]
    assert bucket.retry_after() == 0.5


def test_reset_key_serves_those_in_line_at_once(limiters, clock):
    """Reservations are due, tasks go on, and they have cost nothing."""
    bucket = limiters["ada"].bucket
    bucket.allow(10)
    reservations = [bucket.reserve(4) for _ in range(3)]

    async def main():
        tasks = [asyncio.create_task(bucket.wait_async(4)) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        limiters.reset("ada")
        await asyncio.wait_for(asyncio.gather(*tasks), 5)

    asyncio.run(main())
    assert [reservation.delay for reservation in reservations] == [0, 0, 0]
    assert (bucket.available_tokens, clock.elapsed) == (10, 0)


@pytest.mark.parametrize("count", [64, 65, 200])
def test_reset_key_with_a_long_line_serves_all_of_it(limiters, count):
    """P38: However long the line is, it is empty in the end, a part of it in each step."""
    bucket = limiters["ada"].bucket
    reservations = [bucket.reserve(5) for _ in range(count)]

    limiters.reset("ada")

    assert not any(reservation.delay for reservation in reservations)
    assert (bucket.level.waiting, bucket.available_tokens) == (0, 10)


def test_reset_key_cancelled_afterwards_mints_nothing(limiters):
    """P4: A reservation that a reset has made free gives nothing back."""
    bucket = limiters["ada"].bucket
    bucket.allow(10)
    reservation = bucket.reserve(4)
    limiters.reset("ada")
    bucket.allow(10)
    reservation.cancel()
    assert bucket.available_tokens == 0


def test_reset_key_of_a_group_fills_each_bucket(clock):
    """The buckets of a key's group are full, and whoever waits elsewhere as well waits there."""
    shared = TokenBucket(5, 1, initial_tokens=0, clock=clock)

    def make():
        return BucketGroup.from_rate("10/second; 100/minute", clock=clock)

    limiters = KeyedRateLimiter(make)
    group = limiters["ada"].bucket
    assert group.allow(10)
    both = BucketGroup(group.buckets["10/second"], shared).reserve(2)
    assert both.delay == 2

    limiters.reset("ada")

    assert [bucket.available_tokens for bucket in group.buckets.values()] == [10, 100]
    assert (both.delay, shared.level.waiting) == (2, 1)
    clock.advance(2)
    assert (both.delay, shared.available_tokens) == (0, 0)


def test_reset_unknown_key_keeps_it_unknown(limiters):
    """A key that is not in use has a full bucket already."""
    limiters.reset("nobody")
    assert len(limiters) == 0
    with pytest.raises(TypeError, match="hashable"):
        limiters.reset([])


def test_reset_a_key_whose_limiter_is_about_to_be_dropped_keeps_it(limiters, clock):
    """A key that is held by its bucket alone is reset as any other."""
    bucket = limiters["ada"].bucket
    bucket.allow(10)
    for number in range(20):
        limiters[number]
    limiters.reset("ada")
    assert bucket.available_tokens == 10
