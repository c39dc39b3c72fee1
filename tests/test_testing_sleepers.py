"""Threads and tasks that sleep on a ManualClock wake when it has come to their instant."""

import asyncio
import sys
import threading
from threading import Event, Thread

import pytest

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.sleeping import ThreadSleeper, task_sleeper
from rate_limiter.testing import ManualClock

SECOND = 10**9


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def in_thread():
    """Start threads, and see them end when the test does."""
    threads = []

    def start(func, *args):
        thread = Thread(target=func, args=args, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def sleep_until(clock, due):
    """Sleep as whoever waits does: again, as long as the instant has not come."""
    sleeper = ThreadSleeper()
    while clock.now() < due:
        clock.sleep(sleeper, due)


async def sleep_until_async(clock, due):
    """Sleep in a task as `sleep_until` does in a thread."""
    sleeper = task_sleeper()
    while clock.now() < due:
        await clock.sleep_async(sleeper, due)


def test_sleep_until_past_returns_at_once(clock):
    """Who sleeps until an instant that has come does not sleep."""
    clock.advance(5)
    clock.sleep(ThreadSleeper(), 5 * SECOND)

    async def main():
        await clock.sleep_async(task_sleeper(), 3 * SECOND)

    asyncio.run(main())
    assert (clock.elapsed, clock.sleepers) == (5, 0)


def test_sleep_without_end_in_thread_returns_when_woken(clock, in_thread):
    """Who sleeps until no instant sleeps on while the clock moves, and ends when it is woken."""
    sleeper = ThreadSleeper()
    thread = in_thread(clock.sleep, sleeper, None)
    clock.wait_for_sleepers()
    clock.advance(10**9)
    assert clock.sleepers == 1
    sleeper.wake()
    thread.join()
    assert clock.sleepers == 0


def test_sleep_in_task_returns_when_woken_early(clock):
    """A task that is woken before its instant returns at once, and is no sleeper any more."""

    async def main():
        sleeper = task_sleeper()
        task = asyncio.create_task(clock.sleep_async(sleeper, SECOND))
        await asyncio.sleep(0)
        assert clock.sleepers == 1
        sleeper.wake()
        await task

    asyncio.run(main())
    assert (clock.elapsed, clock.sleepers) == (0, 0)


def test_sleep_in_threads_wakes_those_whose_time_has_come(clock, in_thread):
    """Threads sleep until the clock has come to their instant, and no longer."""
    sleepers = [in_thread(sleep_until, clock, due * SECOND) for due in (1, 2, 3)]
    clock.wait_for_sleepers(3)
    clock.advance(2)
    sleepers[0].join()
    sleepers[1].join()
    assert (clock.sleepers, sleepers[2].is_alive()) == (1, True)
    clock.advance(1)
    sleepers[2].join()
    assert clock.sleepers == 0


def test_sleep_in_tasks_wakes_those_whose_time_has_come(clock):
    """Tasks sleep until the clock has come to their instant, and no longer."""

    async def main():
        tasks = [asyncio.create_task(sleep_until_async(clock, due * SECOND)) for due in (1, 2, 3)]
        await asyncio.sleep(0)
        assert clock.sleepers == 3
        clock.advance(2)
        await asyncio.gather(*tasks[:2])
        assert (clock.sleepers, tasks[2].done()) == (1, False)
        clock.advance(1)
        await tasks[2]

    asyncio.run(main())
    assert clock.sleepers == 0


def test_sleep_through_step_back_wakes_when_its_time_comes(clock, in_thread):
    """P8, P17: A clock that stepped back before a sleeper ran keeps it until its instant."""
    thread = in_thread(sleep_until, clock, 3 * SECOND)
    clock.wait_for_sleepers()
    clock.advance(-5)
    clock.advance(7)
    assert clock.sleepers == 1

    async def main():
        task = asyncio.create_task(sleep_until_async(clock, 3 * SECOND))
        await asyncio.sleep(0)
        clock.advance(1)
        clock.advance(-1)  # back again before the task has run
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        clock.advance(1)
        await task

    asyncio.run(main())
    thread.join()
    assert clock.elapsed == 3


def test_sleep_in_several_loops_wakes_them_all(clock, in_thread):
    """P15: Tasks of several loops in several threads sleep on one clock, with a plain thread."""
    woken = []

    async def sleep():
        await sleep_until_async(clock, SECOND)
        woken.append(clock.elapsed)

    async def main():
        await asyncio.gather(*(sleep() for _ in range(10)))

    threads = [in_thread(asyncio.run, main()) for _ in range(3)]
    threads.append(in_thread(sleep_until, clock, SECOND))
    clock.wait_for_sleepers(31)
    clock.advance(1)
    for thread in threads:
        thread.join()
    assert (woken, clock.sleepers) == ([1] * 30, 0)


def test_cancel_sleepers_leaves_nothing(clock):
    """P14: Cancelled sleepers are gone, those about to be woken too; the others wake."""

    async def main():
        tasks = [asyncio.create_task(sleep_until_async(clock, SECOND)) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[:50]:
            task.cancel()
        await asyncio.wait(tasks[:50])
        assert clock.sleepers == 50
        clock.advance(1)
        tasks[50].cancel()
        await asyncio.wait(tasks)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(main()) == [True] * 51 + [False] * 49
    assert clock.sleepers == 0


def test_cancel_sleeper_before_its_wake_up_arrives_is_harmless(clock):
    """P11: A sleeper that is cancelled just before the clock wakes it is not woken any more."""
    problems = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: problems.append(context)
        )
        task = asyncio.create_task(sleep_until_async(clock, SECOND))
        await asyncio.sleep(0)
        task.cancel()
        clock.advance(1)
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    assert (problems, clock.sleepers) == ([], 0)


def test_cancel_sleepers_while_the_clock_moves_is_harmless(clock, in_thread, monkeypatch):
    """P18: Tasks may be cancelled in one thread while another thread moves the clock."""
    finished, failures = Event(), []
    interval = sys.getswitchinterval()
    monkeypatch.setattr(threading, "excepthook", lambda failure: failures.append(failure.exc_value))

    def move():
        while not finished.is_set():
            clock.advance(1e-9)

    async def main():
        for _ in range(15):
            tasks = [asyncio.create_task(sleep_until_async(clock, SECOND)) for _ in range(300)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    sys.setswitchinterval(1e-6)
    try:
        in_thread(move)
        asyncio.run(main())
    finally:
        sys.setswitchinterval(interval)
        finished.set()
    assert (failures, clock.sleepers) == ([], 0)


def test_wait_for_sleepers_that_do_not_come_times_out(clock, in_thread):
    """Waiting for sleepers ends with an error that counts them."""
    with pytest.raises(TimeoutError, match=r"0 of 1 sleepers came within 0\.01 s"):
        clock.wait_for_sleepers(timeout=0.01)
    in_thread(sleep_until, clock, SECOND)
    clock.wait_for_sleepers(1)
    with pytest.raises(TimeoutError, match="1 of 2 sleepers came within 0 s"):
        clock.wait_for_sleepers(2, timeout=0)
    clock.advance(1)


def test_wait_for_no_sleepers_returns_at_once(clock):
    """Who waits for nobody does not wait."""
    clock.wait_for_sleepers(0, timeout=0)
    assert clock.sleepers == 0


def test_repr_shows_time_and_sleepers(clock, in_thread):
    """The repr shows what a failing test wants to know."""
    clock.advance(2.5)
    in_thread(sleep_until, clock, 3 * SECOND)
    clock.wait_for_sleepers()
    assert repr(clock) == "ManualClock(elapsed=2.5, sleepers=1)"
    clock.advance(1)


def test_wait_on_bucket_in_thread_until_told(clock, in_thread):
    """A thread that waits on a bucket goes on when the clock is moved far enough."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock))
    entered = []

    def work():
        with limiter.acquire(2) as permit:
            entered.append(permit.waited)

    thread = in_thread(work)
    clock.wait_for_sleepers()
    clock.advance(1.5)
    assert (entered, clock.sleepers) == ([], 1)
    clock.advance(0.5)
    thread.join()
    assert entered == [2]
