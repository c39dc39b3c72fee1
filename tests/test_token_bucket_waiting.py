"""The token bucket in memory when its callers wait, in threads and in tasks together."""

import asyncio
import time
from threading import Thread

import pytest

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

PATIENCE = 10.0  # seconds for something that takes microseconds, unless it hangs


def test_wait_in_a_thread_returns_when_the_clock_has_come():
    """P16: Only the caller who waits is held up, and wakes when its tokens are there."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock, initial_tokens=0)
    caller = Thread(target=bucket.wait, daemon=True)
    caller.start()
    clock.wait_for_sleepers(1)

    assert (bucket.available_tokens, bucket.retry_after(), bucket.allow()) == (0, 2, False)
    clock.advance(1)
    caller.join(PATIENCE)
    assert not caller.is_alive()
    assert (bucket.available_tokens, bucket.retry_after()) == (0, 1)


def test_wait_in_threads_and_tasks_stands_in_one_queue():
    """P10: A thread, a task and a thread are served in the order in which they came."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock, initial_tokens=0)
    callers = []

    def wait_in_task():
        asyncio.run(bucket.wait_async())

    for position, wait in enumerate([bucket.wait, wait_in_task] * 2, 1):
        callers.append(Thread(target=wait, daemon=True))
        callers[-1].start()
        clock.wait_for_sleepers(position)
    for caller in callers:
        clock.advance(1)
        caller.join(PATIENCE)
        assert not caller.is_alive()
    assert clock.elapsed == 4


def test_wait_with_several_tasks_cancelled_serves_the_others():
    """P11: Tasks that leave give back what they took, and nobody else loses anything."""
    clock = ManualClock()
    bucket = TokenBucket(3, 1, clock=clock, initial_tokens=0)

    async def main():
        first, second, third = (asyncio.create_task(bucket.wait_async()) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        third.cancel()
        await asyncio.wait([second, third])
        clock.advance(1)
        await asyncio.wait_for(first, PATIENCE)
        return second.cancelled(), third.cancelled()

    assert asyncio.run(main()) == (True, True)
    assert (bucket.available_tokens, bucket.retry_after()) == (0, 1)


def test_wait_cancelled_after_its_tokens_accrued_elsewhere_stays_within_capacity():
    """P4: What a cancelled caller gives back late is no more than the bucket holds."""
    clock = ManualClock()
    bucket = TokenBucket(2, 1, clock=clock, initial_tokens=0)

    async def main():
        caller = asyncio.create_task(bucket.wait_async(2))
        await asyncio.sleep(0)
        clock.advance(100)
        caller.cancel()
        await asyncio.wait([caller])

    asyncio.run(main())

    assert bucket.available_tokens == 2


def test_wait_on_the_real_clock_takes_no_less_than_its_time():
    """P17: On the machine's own clock nobody is let through early."""
    before = time.monotonic_ns()
    bucket = TokenBucket(1, 500, initial_tokens=0)

    bucket.wait()
    asyncio.run(bucket.wait_async())

    assert time.monotonic_ns() - before >= 4_000_000


@pytest.mark.parametrize("level", [0, 2])
def test_use_bucket_under_another_clock_starts_full_and_restores_the_level(level):
    """A clock put under a bucket gives it a full start, and afterwards all is as before."""
    own = ManualClock()
    bucket = TokenBucket(5, 1, clock=own, initial_tokens=level)

    with ManualClock(start=99).under(bucket) as clock:
        assert [bucket.allow() for _ in range(6)] == [True] * 5 + [False]
        clock.advance(1)
        assert bucket.allow()

    assert bucket.available_tokens == level
    own.advance(1)
    assert bucket.available_tokens == level + 1
