"""Tasks of trio in the line."""

from __future__ import annotations

import asyncio
import threading

import trio
import trio.testing

from rate_limiter import TokenBucket, sleeping
from rate_limiter.clock import SYSTEM_CLOCK
from rate_limiter.sleeping import checkpoint, is_closed, task_sleeper
from rate_limiter.testing import ManualClock


def test_wait_async_in_trio_serves_in_order_when_due():
    """P10: Tasks of trio are served in the order in which they came, each when it is due."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    served = []

    async def wait(cost):
        await bucket.wait_async(cost)
        served.append((cost, clock.elapsed))

    async def main():
        async with trio.open_nursery() as nursery:
            for cost in (2, 7, 1):
                nursery.start_soon(wait, cost)
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(10):
                clock.advance(1)
                await trio.testing.wait_all_tasks_blocked(0.001)

    trio.run(main)
    assert served == [(2, 2), (7, 9), (1, 10)]


def test_cancel_scope_around_wait_moves_line_up():
    """P11: A trio task that is cancelled gives its tokens back, and the next moves up."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    scope = trio.CancelScope()

    async def give_up():
        with scope:
            await bucket.wait_async(4)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await trio.testing.wait_all_tasks_blocked()
            behind = bucket.reserve(2)
            assert behind.delay == 6
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert behind.delay == 2

    trio.run(main)
    assert scope.cancelled_caught
    assert clock.sleepers == 0


def test_move_on_after_deadline_in_trio_takes_nothing():
    """P11: A deadline of trio's own clock ends the wait and costs nothing."""
    bucket = TokenBucket(5, 1, initial_tokens=0, clock=ManualClock())

    async def main():
        with trio.move_on_after(3) as scope:
            await bucket.wait_async(4)
        return scope.cancelled_caught

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert bucket.retry_after() == 1


def test_wait_async_in_trio_on_system_clock_sleeps_no_less():
    """P17: On the machine's clock a trio task sleeps as long as it has to."""
    bucket = TokenBucket(1, 1000, initial_tokens=0)
    begin = SYSTEM_CLOCK.now()
    trio.run(bucket.wait_async, 2)
    assert SYSTEM_CLOCK.now() - begin >= 1_900_000


def test_wait_in_trio_asyncio_and_thread_share_one_line():
    """P15: A trio run, an asyncio loop and a plain thread are served in their order."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
    served = []

    def run(name):
        if name % 3 == 0:
            trio.run(bucket.wait_async)
        elif name % 3 == 1:
            asyncio.run(bucket.wait_async())
        else:
            bucket.wait()
        served.append(name)

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        clock.wait_for_sleepers(number + 1)
    for number, thread in enumerate(threads):
        clock.advance(1)
        thread.join(5)
        assert served == list(range(number + 1))


def test_wake_task_of_finished_trio_run_does_nothing():
    """A wake-up for a task whose run is over is no error."""
    sleepers = []

    async def main():
        sleepers.append(task_sleeper())

    trio.run(main)
    sleepers[0].wake()
    assert len(sleepers) == 1


def test_sleep_trio_task_woken_before_returns_at_once():
    """A trio task woken before it sleeps does not sleep, and sleeps the next time."""

    async def main():
        sleeper = task_sleeper()
        sleeper.wake()
        await trio.testing.wait_all_tasks_blocked()
        await sleeper.sleep(None)
        with trio.move_on_after(3) as scope:
            await sleeper.sleep(None)
        return scope.cancelled_caught

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_wake_trio_task_often_ends_one_sleep():
    """P13: However often a trio task is woken, by itself or by a thread, it sleeps again after."""

    async def main():
        sleeper = task_sleeper()
        for _ in range(3):
            sleeper.wake()
            await trio.to_thread.run_sync(sleeper.wake)
        await sleeper.sleep(None)
        with trio.move_on_after(3) as scope:
            await sleeper.sleep(None)
        return scope.cancelled_caught, sleeper.loop, is_closed(sleeper.loop)

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) == (True, None, False)


class Unreachable:
    """What stands for a run whose lock another thread of the parent held when it forked."""

    def run_sync_soon(self, *args, **kwargs):
        raise AssertionError("a child waits here for ever")


def test_wake_trio_task_in_forked_child_does_not_touch_the_run(monkeypatch):
    """P20: A child that wakes the sleepers it inherits waits for no lock of its parent's run."""

    async def main():
        return task_sleeper()

    sleeper = trio.run(main)
    sleeper._token = Unreachable()
    monkeypatch.setattr(sleeping, "getpid", lambda: -1)
    sleeper.wake()


def test_checkpoint_in_trio_gives_a_turn_and_takes_a_cancellation():
    """P11: A checkpoint lets other tasks of trio run, and ends a task that was cancelled."""
    turns = []

    async def other():
        turns.append("other")

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await checkpoint()
            await checkpoint()
            turns.append("main")
        with trio.CancelScope() as scope:
            scope.cancel()
            await checkpoint()
        return scope.cancelled_caught

    assert trio.run(main)
    assert turns == ["other", "main"]
