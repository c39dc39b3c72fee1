"""Ten thousand waiting tasks, and ten thousand that gave up."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # the numbers are the point here, and measuring triples the time
MANY = 10_000


class CountingClock(ManualClock):
    """Counts how often anybody goes to sleep."""

    def __init__(self):
        super().__init__()
        self.sleeps = 0

    async def sleep_async(self, sleeper, until):
        self.sleeps += 1
        await super().sleep_async(sleeper, until)


def test_wait_in_ten_thousand_tasks_sleeps_once_per_grant():
    """P13: Nobody polls, and no more tasks wake in a turn of the loop than are served."""

    async def main():
        clock = CountingClock()
        bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
        served = []

        async def wait(name):
            await bucket.wait_async()
            served.append(name)

        tasks = [asyncio.create_task(wait(name)) for name in range(MANY)]
        await asyncio.sleep(0)
        assert clock.sleeps == MANY
        counts = [0]
        for _ in range(MANY // 50):
            clock.advance(50)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            counts.append(len(served))
        await asyncio.gather(*tasks)
        return clock.sleeps, served, {later - earlier for earlier, later in pairwise(counts)}

    sleeps, served, steps = asyncio.run(main())
    assert sleeps <= MANY + 10
    assert served == list(range(MANY))
    assert steps == {50}


def test_wait_behind_thousand_cancellations_wakes_only_who_is_first():
    """P13: When many leave, those behind are not all woken to find that it is not their turn."""

    async def main():
        clock = CountingClock()
        bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
        tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(2000)]
        await asyncio.sleep(0)
        for task in tasks[:1000]:
            task.cancel()
        await asyncio.gather(*tasks[:1000], return_exceptions=True)
        for done in range(1000, 2000):
            clock.advance(1)
            for _ in range(4):
                await asyncio.sleep(0)
            assert tasks[done].done()
            assert not any(task.done() for task in tasks[done + 1 : done + 3])
        return clock.sleeps

    assert asyncio.run(main()) <= 2 * 2000 + 10


def test_cancel_ten_thousand_waits_leaves_nothing():
    """P14: The line is empty and the level right, whether they leave from its head or its end.

    `tests/stress/memory.py` cancels a hundred thousand.
    """
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=3, clock=clock)

    async def main():
        for order in [1, -1] * 5:
            tasks = [asyncio.create_task(bucket.wait_async(4)) for _ in range(1000)]
            await asyncio.sleep(0)
            assert bucket.retry_after(4) == 1 + 4 * 1000
            for task in tasks[::order]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert bucket.level.waiting == 0

    asyncio.run(main())
    assert clock.sleepers == 0
    assert bucket.available_tokens == 3
