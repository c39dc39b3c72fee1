"""ManualClock(auto_advance=True): whoever sleeps moves the clock."""

import asyncio
from threading import Barrier, Thread

import pytest

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.sleeping import ThreadSleeper, task_sleeper
from rate_limiter.testing import ManualClock

SECOND = 10**9


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


async def sleep_in_task(clock, until):
    """Sleep once, as a new sleeper."""
    await clock.sleep_async(task_sleeper(), until)


def test_sleep_moves_the_clock(clock):
    """A sleep takes no time but what it adds to `elapsed`."""
    clock.sleep(ThreadSleeper(), 3 * SECOND)
    assert clock.elapsed == 3
    asyncio.run(sleep_in_task(clock, 5 * SECOND))
    assert (clock.elapsed, clock.sleepers) == (5, 0)


def test_sleep_until_past_does_not_move_the_clock_back(clock):
    """Sleeping until an instant that has come moves nothing."""
    clock.advance(5)
    clock.sleep(ThreadSleeper(), 3 * SECOND)
    asyncio.run(sleep_in_task(clock, 3 * SECOND))
    assert clock.elapsed == 5


def test_wait_for_tokens_tells_how_long_it_would_have_taken(clock):
    """Code with waits in it runs in no time, and `elapsed` is the time it was to take."""
    limiter = RateLimiter(TokenBucket(10, 5, clock=clock))
    for _ in range(30):
        with limiter:
            pass
    assert clock.elapsed == 4


def test_overlap_waits_of_tasks_takes_the_longest(clock):
    """Tasks that wait at the same time are through when the last of them is."""
    bucket = TokenBucket(2, 1, clock=clock)
    order = []

    async def work(name):
        await bucket.wait_async()
        order.append(name)

    async def main():
        await asyncio.gather(*(work(name) for name in range(10)))

    asyncio.run(main())
    assert order == list(range(10))
    assert clock.elapsed == 8


def test_sleep_in_task_gives_others_a_turn(clock):
    """A task that sleeps lets the others run, as any sleep does."""
    turns = []

    async def work(name):
        for turn in range(3):
            await sleep_in_task(clock, clock.now() + SECOND)
            turns.append((turn, name))

    async def main():
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(main())
    assert turns == [(turn, name) for turn in range(3) for name in "ab"]


def test_cancel_sleep_in_its_turn_leaves_nothing(clock):
    """P11: A task that is cancelled in the turn it gives away has not moved the clock."""

    async def main():
        task = asyncio.create_task(sleep_in_task(clock, SECOND))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    assert (clock.elapsed, clock.sleepers) == (0, 0)


def test_wait_in_threads_at_once_takes_the_sum_of_their_tokens(clock):
    """P1: Threads that wait at the same time still get no more than the rate."""
    bucket, start = TokenBucket(4, 2, clock=clock), Barrier(4)

    def work():
        start.wait()
        for _ in range(25):
            bucket.wait()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (clock.elapsed, clock.sleepers) == (48, 0)
