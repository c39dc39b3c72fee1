"""How threads and tasks sleep, on any loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rate_limiter import TokenBucket
from rate_limiter.clock import SYSTEM_CLOCK
from rate_limiter.sleeping import ThreadSleeper, task_sleeper
from rate_limiter.testing import ManualClock


def in_thread(call):
    """Start a thread that does it."""
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_sleep_thread_woken_before_returns_at_once():
    """A wake-up that comes before the sleep is not lost, and two are no more than one."""
    sleeper = ThreadSleeper()
    sleeper.wake()
    sleeper.wake()
    sleeper.sleep(None)
    assert sleeper._gate.locked()


def test_sleep_task_woken_before_returns_at_once():
    """A task woken before it sleeps does not sleep, and sleeps the next time."""

    async def main():
        sleeper = task_sleeper()
        sleeper.wake()
        await sleeper.sleep(None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await sleeper.sleep(None)
        return True

    assert asyncio.run(main())


def test_sleep_task_woken_from_thread_returns():
    """A thread can wake a task of another thread's loop."""

    async def main():
        sleeper = task_sleeper()
        thread = in_thread(sleeper.wake)
        await sleeper.sleep(None)
        thread.join()
        return True

    assert asyncio.run(main())


def test_make_task_sleeper_outside_task_raises():
    """Without a running task there is nothing that could sleep."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        task_sleeper()


def test_sleep_with_duration_ends_by_itself():
    """On the machine's clock a thread and a task sleep as long as they have to, and no less."""
    bucket = TokenBucket(1, 1000, initial_tokens=0)
    begin = SYSTEM_CLOCK.now()
    bucket.wait()
    asyncio.run(bucket.wait_async())
    assert SYSTEM_CLOCK.now() - begin >= 1_900_000


def test_wait_async_in_two_runs_serves_both():
    """P15: A bucket made outside serves one `asyncio.run` after another."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)

    async def main():
        await asyncio.gather(*(bucket.wait_async() for _ in range(3)))

    asyncio.run(main())
    asyncio.run(main())
    assert clock.elapsed == 6


def test_wait_async_after_loop_died_with_waiters_serves_next_loop():
    """P15: Waiters of a loop that ended take no tokens from those of the next."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)

    async def give_up():
        task = asyncio.create_task(bucket.wait_async(4))
        await asyncio.sleep(0)
        assert bucket.retry_after() == 5
        assert not task.done()

    asyncio.run(give_up())
    assert bucket.retry_after() == 1
    clock.advance(1)
    asyncio.run(bucket.wait_async(timeout=0))
    assert bucket.available_tokens == 0


def test_wait_async_on_four_loops_and_threads_serves_everyone_in_order():
    """P15: Four threads with a loop each and two without share one line."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
    served = []

    async def task(name):
        await bucket.wait_async()
        served.append(name)

    def thread(name):
        bucket.wait()
        served.append(name)

    def start(name):
        if name % 3 == 2:
            return in_thread(lambda: thread(name))
        return in_thread(lambda: asyncio.run(task(name)))

    threads = []
    for name in range(6):
        threads.append(start(name))
        clock.wait_for_sleepers(name + 1)
    for name, one in enumerate(threads):
        clock.advance(1)
        one.join(5)
        assert served == list(range(name + 1))
    assert bucket.available_tokens == 0


def test_wait_async_leaves_loop_free():
    """P16: While a task waits for tokens the loop runs others."""

    async def main():
        bucket = TokenBucket(1, 1, initial_tokens=0, clock=ManualClock())
        waiting = asyncio.create_task(bucket.wait_async())
        beats = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            beats += 1
        assert not waiting.done()
        waiting.cancel()
        return beats

    assert asyncio.run(main()) == 1000


def test_wait_holds_up_neither_its_own_bucket_nor_another():
    """P16: While a thread sleeps in line, its bucket answers, and another one serves."""
    clock = ManualClock()
    bucket, other = (TokenBucket(2, 1, initial_tokens=0, clock=clock) for _ in range(2))
    thread = in_thread(lambda: bucket.wait(2))
    clock.wait_for_sleepers()
    assert bucket.retry_after() == 3
    clock.advance(1)
    assert other.allow()
    assert not bucket.allow()
    clock.advance(1)
    thread.join(5)
    assert not thread.is_alive()
