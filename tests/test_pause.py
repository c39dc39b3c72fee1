"""Pausing a bucket, as a server asks for with Retry-After."""

from __future__ import annotations

import asyncio
import math

import pytest

from rate_limiter import BucketGroup, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    """A clock that moves when told."""
    return ManualClock()


@pytest.mark.parametrize(
    ("taken", "pause", "delay"),
    [(0, 3, 3), (4, 3, 3), (10, 3, 3), (10, 0.25, 0.5), (9, 0.25, 0.25), (10, 0.75, 0.75)],
)
def test_pause_admits_nobody_until_its_end(clock, taken, pause, delay):
    """P36: A token leaves at the end of a pause if there is one by then, and no burst follows."""
    bucket = TokenBucket(10, 2, clock=clock)
    if taken:
        bucket.allow(taken)
    bucket.pause(pause)
    assert bucket.available_tokens == 0
    assert bucket.retry_after() == delay
    clock.advance(delay - 1e-9)
    assert not bucket.allow(1e-9 if delay == pause else 1)
    clock.advance(1e-9)
    assert bucket.allow()
    assert bucket.retry_after() == 0.5


@pytest.mark.parametrize(
    ("debt", "pause", "delay"), [(20, 3, 10.5), (20, 12, 12), (2, 1, 1.5), (2, 2, 2)]
)
def test_pause_in_debt_keeps_the_later_end(clock, debt, pause, delay):
    """P9: A pause neither forgets debt nor adds to it."""
    bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
    reservation = bucket.reserve(debt / 2)
    clock.advance(debt / 4)
    reservation.settle(debt * 1.5)
    bucket.pause(pause)
    assert bucket.retry_after() == delay


@pytest.mark.parametrize(("first", "second", "delay"), [(5, 2, 5), (2, 5, 5), (3, 3, 3)])
def test_pause_twice_lasts_until_the_later_end(clock, first, second, delay):
    """A second pause does not shorten the first, nor do they add up."""
    bucket = TokenBucket(10, 2, clock=clock)
    bucket.pause(first)
    bucket.pause(second)
    assert bucket.retry_after() == delay


@pytest.mark.parametrize(("pause", "delays"), [(0.25, [1, 2]), (0, [1, 2]), (4, [4.5, 5.5])])
def test_pause_with_line_makes_it_wait_from_its_end(clock, pause, delays):
    """P9: Those who wait already are served in their order when the pause is over."""
    bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
    line = [bucket.reserve(2), bucket.reserve(2)]
    bucket.pause(pause)
    assert [reservation.delay for reservation in line] == delays


def test_pause_while_task_waits_serves_it_after_the_pause(clock):
    """P9: A sleeping task sleeps on when its old time comes, and is served at the new one."""

    async def main():
        bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
        task = asyncio.create_task(bucket.wait_async(2))
        await asyncio.sleep(0)
        bucket.pause(3)
        done = []
        for _ in range(4):
            clock.advance(1)
            for _ in range(10):
                await asyncio.sleep(0)
            done.append(task.done())
        return done

    assert asyncio.run(main()) == [False, False, False, True]


def test_pause_leaves_granted_reservation_alone(clock):
    """What has been granted before a pause stays granted."""
    bucket = TokenBucket(10, 2, clock=clock)
    reservation = bucket.reserve(4)
    bucket.pause(3)
    assert reservation.delay == 0


def test_pause_group_pauses_every_bucket(clock):
    """A pause of a group holds for each of its buckets."""
    buckets = [TokenBucket(10, 2, clock=clock) for _ in range(2)]
    BucketGroup(*buckets).pause(3)
    assert [bucket.retry_after() for bucket in buckets] == [3, 3]


def test_wait_in_pause_with_short_timeout_is_refused_at_once(clock):
    """P12: A wait that the pause makes too long is refused with the time it would take."""
    bucket = TokenBucket(10, 2, clock=clock)
    bucket.pause(3)
    with pytest.raises(RateLimitExceeded) as caught:
        bucket.wait(2, timeout=3.4)
    assert caught.value.retry_after == 3.5
    assert bucket.retry_after() == 3


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_pause_bad_duration_raises_and_changes_nothing(clock, value, error):
    """P22: What is no duration is refused, and nobody waits for it."""
    bucket = TokenBucket(10, 2, clock=clock)
    with pytest.raises(error, match="seconds"):
        bucket.pause(value)
    assert bucket.available_tokens == 10


@pytest.mark.parametrize("kind", [TokenBucket, BucketGroup])
def test_pause_from_a_task_pauses_as_from_a_thread(clock, kind):
    """P36: `pause_async` does as `pause`."""
    one = TokenBucket(2, 1, clock=clock)
    bucket = one if kind is TokenBucket else BucketGroup(one, TokenBucket(3, 1, clock=clock))
    asyncio.run(bucket.pause_async(60))
    assert bucket.level.paused_for == 60
    with pytest.raises(ValueError, match="seconds"):
        asyncio.run(bucket.pause_async(-1))
    assert bucket.level.paused_for == 60
