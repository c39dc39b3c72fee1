"""The line: first come, first served."""

from __future__ import annotations

import asyncio
import math
import queue
import threading

import pytest

from rate_limiter import RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

COSTS = [
    [1, 1, 1, 1, 1],
    [5, 1, 1, 10, 1, 2, 7, 1],
    [0.5, 3, 0.25, 12, 0.25],
    [10, 1, 1, 1],
]


async def turns(count=30):
    """Let the other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


class Crowd:
    """Callers of one bucket: threads, and tasks of a loop in a thread of its own."""

    def __init__(self, bucket, clock):
        self.bucket, self.clock = bucket, clock
        self.served = queue.Queue()
        self.loop = asyncio.new_event_loop()
        self.threads = [threading.Thread(target=self.loop.run_forever, daemon=True)]
        self.threads[0].start()

    def add(self, name, cost, *, task):
        """Have one more come, and return when it stands in line."""
        expected = self.clock.sleepers + 1
        if task:
            asyncio.run_coroutine_threadsafe(self._task(name, cost), self.loop)
        else:
            self.threads.append(
                threading.Thread(target=self._thread, args=(name, cost), daemon=True)
            )
            self.threads[-1].start()
        self.clock.wait_for_sleepers(expected)

    def _thread(self, name, cost):
        self.bucket.wait(cost)
        self.served.put(name)

    async def _task(self, name, cost):
        await self.bucket.wait_async(cost)
        self.served.put(name)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self.threads:
            thread.join(5)
        self.loop.close()


@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("kinds", [(True, False), (False, True), (True,), (False,)])
def test_wait_in_threads_and_tasks_serves_in_order(kinds, costs):
    """P10: Threads and tasks are served in the order in which they came, whatever they cost."""
    clock = ManualClock()
    bucket = TokenBucket(5, 4, initial_tokens=0, clock=clock)
    crowd = Crowd(bucket, clock)
    try:
        for name, cost in enumerate(costs):
            crowd.add(name, cost, task=kinds[name % len(kinds)])
        for name, cost in enumerate(costs):
            clock.advance(cost / 4)
            assert crowd.served.get(timeout=5) == name
            assert crowd.served.empty()
            assert not bucket.allow(0.25)
    finally:
        crowd.close()


@pytest.mark.parametrize("costs", COSTS)
def test_wait_in_tasks_serves_each_exactly_when_due(costs):
    """P10: Each task is served when all that was asked before it and by it has accrued."""

    async def main():
        clock = ManualClock()
        bucket = TokenBucket(5, 4, initial_tokens=0, clock=clock)
        tasks = [asyncio.create_task(bucket.wait_async(cost)) for cost in costs]
        await turns()
        for number, cost in enumerate(costs):
            clock.advance(cost / 4 - 1e-9)
            await turns()
            assert sum(task.done() for task in tasks) == number
            clock.advance(1e-9)
            await turns()
            assert sum(task.done() for task in tasks) == number + 1

    asyncio.run(main())


@pytest.mark.parametrize(("head", "newcomer"), [(5, 1), (5, 0.001), (8, 3), (4.5, 4)])
def test_allow_behind_line_is_refused_though_tokens_are_there(head, newcomer):
    """P10: A newcomer takes nothing that somebody in the line waits for."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=4, clock=clock)
    reservation = bucket.reserve(head)
    assert not bucket.allow(newcomer)
    assert not bucket.try_consume(newcomer)
    with pytest.raises(RateLimitExceeded):
        bucket.wait(newcomer, timeout=0)
    with pytest.raises(RateLimitExceeded):
        asyncio.run(bucket.wait_async(newcomer, timeout=0))
    assert reservation.delay == head - 4


def test_reserve_large_cost_is_not_starved_by_small_ones():
    """P10: Thirty small costs that come later do not delay a large one."""
    clock = ManualClock()
    bucket = TokenBucket(5, 10, initial_tokens=0, clock=clock)
    large = bucket.reserve(5)
    small = [bucket.reserve() for _ in range(30)]
    for tenth in range(5):
        assert large.delay == pytest.approx(0.5 - tenth / 10)
        assert not bucket.allow()
        clock.advance(0.1)
    assert large.delay == 0
    delays = [reservation.delay for reservation in small]
    assert delays == pytest.approx([n / 10 for n in range(1, 31)])


@pytest.mark.parametrize("head", [5, 6, 12.5])
def test_allow_after_line_is_served_takes_what_accrued_since(head):
    """P10: Once the line is empty a newcomer gets what has come in since, and no more."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    bucket.reserve(head)
    clock.advance(head + 2)
    assert not bucket.allow(2.001)
    assert bucket.allow(2)


@pytest.mark.parametrize(
    ("timeout", "served"),
    [
        (None, True),
        (math.inf, True),
        (1e300, True),
        (3, True),
        (2.999999999, False),
        (1e-9, False),
        (0, False),
    ],
)
def test_wait_with_timeout_is_served_or_refused_at_once(timeout, served):
    """P12: A wait that does not fit its timeout is refused at once and takes nothing."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    if served:
        bucket.wait(3, timeout)
        assert clock.elapsed == 3
    else:
        with pytest.raises(RateLimitExceeded) as caught:
            bucket.wait(3, timeout)
        assert (caught.value.retry_after, caught.value.tokens) == (3, 3)
        assert clock.elapsed == 0
        assert bucket.retry_after(5) == 5


WAYS = {
    "wait": lambda bucket, timeout: bucket.wait(3, timeout),
    "wait_async": lambda bucket, timeout: asyncio.run(bucket.wait_async(3, timeout)),
    "reserve": lambda bucket, timeout: bucket.reserve(3, timeout),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", [0, 5])
def test_wait_with_impossible_timeout_raises_and_takes_nothing(level, way):
    """P12: A timeout that is no number is an error, also when the tokens are there."""
    bucket = TokenBucket(5, 1, initial_tokens=level, clock=ManualClock())
    with pytest.raises(ValueError, match="timeout"):
        WAYS[way](bucket, math.nan)
    assert bucket.available_tokens == level


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("timeout", [-1, -0.001, -(10**400), -math.inf])
def test_wait_past_its_deadline_tries_once(timeout, way):
    """P12: A timeout below zero is a deadline that has passed: it takes what is there."""
    bucket = TokenBucket(5, 1, clock=ManualClock())
    WAYS[way](bucket, timeout)
    with pytest.raises(RateLimitExceeded) as caught:
        WAYS[way](bucket, timeout)
    assert (caught.value.retry_after, bucket.available_tokens) == (1, 2)


class HastyClock(ManualClock):
    """Ends every sleep halfway."""

    def __init__(self):
        super().__init__()
        self.sleeps = 0

    def sleep(self, sleeper, until):
        self.sleeps += 1
        self.advance(max((until - self.now()) // 2, 1) / 10**9)

    async def sleep_async(self, sleeper, until):
        self.sleep(sleeper, until)


def test_wait_on_clock_that_wakes_early_sleeps_the_rest():
    """P17: A thread that wakes early is not let through early."""
    clock = HastyClock()
    TokenBucket(5, 1, initial_tokens=0, clock=clock).wait(2)
    assert clock.elapsed == 2
    assert clock.sleeps > 10


def test_wait_async_on_clock_that_wakes_early_sleeps_the_rest():
    """P17: A task that wakes early is not let through early."""
    clock = HastyClock()
    asyncio.run(TokenBucket(5, 1, initial_tokens=0, clock=clock).wait_async(2))
    assert clock.elapsed == 2
    assert clock.sleeps > 10


def test_wait_when_clock_steps_back_is_served_when_it_recovers():
    """P8: A step back of the clock lets nobody through early, and nobody wait twice."""
    clock = ManualClock(start=100)
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    reservation = bucket.reserve(2)
    clock.advance(-50)
    assert reservation.delay == 52
    clock.advance(52)
    assert reservation.delay == 0
