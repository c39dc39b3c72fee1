"""Leaving the line early."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from pathlib import Path

import pytest

import rate_limiter
from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

COSTS = (2, 3, 4)
MEMORY = str(Path(rate_limiter.__file__).parent / "memory")  # where the state changes


def level(bucket):
    """Return what is in the bucket; below zero is debt."""
    return bucket.capacity - bucket.retry_after(bucket.capacity) * bucket.tokens_per_second


class Steps:
    """Three tasks in line, on a loop that is turned by hand."""

    def __init__(self):
        self.clock = ManualClock()
        self.bucket = TokenBucket(10, 1, initial_tokens=0, clock=self.clock)
        self.loop = asyncio.new_event_loop()
        self.tasks = [self.loop.create_task(self.bucket.wait_async(cost)) for cost in COSTS]

    def turn(self, count=30):
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def cancel(self, victim):
        """Cancel a task and return whether it is gone, and not served."""
        self.tasks[victim].cancel()
        self.turn()
        return self.tasks[victim].cancelled()

    def check_rest(self, gone):
        """Have all that stay served when due, and nothing left over but what has accrued."""
        due = 0
        for number, cost in enumerate(COSTS):
            if number not in gone:
                due += cost
                self._check_due(self.tasks[number], due - self.clock.elapsed)
        assert level(self.bucket) == self.clock.elapsed - due
        assert self.bucket.level.waiting == 0
        assert self.clock.sleepers == 0

    def _check_due(self, task, rest):
        if rest > 0:
            self.clock.advance(rest - 1e-9)
            self.turn()
            assert not task.done()
            self.clock.advance(1e-9)
            self.turn()
        assert task.done()
        assert not task.cancelled()


@pytest.fixture
def steps():
    """A line whose loop is closed in the end."""
    line = Steps()
    yield line
    line.loop.close()


@pytest.mark.parametrize("turns", range(21))
@pytest.mark.parametrize("victim", range(3))
def test_cancel_task_after_any_turn_moves_line_up(steps, victim, turns):
    """P11: Whenever a task is cancelled, the rest are served as if it had never come."""
    steps.turn(turns)
    assert steps.cancel(victim)
    assert level(steps.bucket) == COSTS[victim] - sum(COSTS)
    steps.check_rest({victim})


@pytest.mark.parametrize("turns", range(21))
@pytest.mark.parametrize("victim", range(3))
def test_cancel_task_that_was_woken_moves_line_up(steps, victim, turns):
    """P11: A task cancelled after its wake-up has either been served or costs nothing."""
    steps.turn()
    steps.clock.advance(sum(COSTS[: victim + 1]))
    steps.turn(turns)
    gone = {victim} if steps.cancel(victim) else set()
    assert gone or turns
    steps.check_rest(gone)


@pytest.mark.parametrize("victim", range(3))
def test_cancel_task_in_turn_of_its_wake_up_gives_all_back(steps, victim):
    """P11: A task that was woken but has not run yet gives its tokens back."""
    steps.turn()
    steps.clock.advance(sum(COSTS[: victim + 1]))
    assert steps.cancel(victim)
    steps.check_rest({victim})


def test_cancel_all_tasks_leaves_line_empty(steps):
    """P11: When everybody leaves at once, nothing stays behind."""
    steps.turn()
    cancelled = [steps.cancel(number) for number in range(3)]
    assert cancelled == [True, True, True]
    steps.check_rest({0, 1, 2})


def test_timeout_around_wait_async_gives_tokens_back():
    """P11: An `asyncio.timeout` that ends a wait costs nothing."""
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=ManualClock())

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await bucket.wait_async(3)

    asyncio.run(main())
    assert level(bucket) == 0


class InterruptedClock(ManualClock):
    """Raises KeyboardInterrupt in whoever sleeps."""

    def sleep(self, sleeper, until):
        raise KeyboardInterrupt


def test_interrupt_in_sleep_gives_tokens_back():
    """P11: A KeyboardInterrupt in a sleep gives the tokens back, and the next moves up."""
    clock = InterruptedClock()
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=clock)
    ahead = bucket.reserve(2)
    with pytest.raises(KeyboardInterrupt):
        bucket.wait(3)
    assert (ahead.delay, bucket.reserve(1).delay) == (2, 3)


def test_interrupt_by_signal_gives_tokens_back():
    """P11: A real SIGINT ends a wait in the main thread, and costs nothing."""
    clock = ManualClock()
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=clock)
    main, interrupted = threading.get_ident(), threading.Event()

    def interrupt():
        # A signal that comes just before the thread falls asleep does not wake it, in any program.
        clock.wait_for_sleepers()
        while not interrupted.wait(0.05):
            signal.pthread_kill(main, signal.SIGINT)

    def interrupt_once(*_):
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    thread = threading.Thread(target=interrupt, daemon=True)
    previous = signal.signal(signal.SIGINT, interrupt_once)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            bucket.wait(3)
        thread.join(5)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert level(bucket) == 0
    assert clock.sleepers == 0


class Interrupt:
    """Raise KeyboardInterrupt at the n-th line that runs in the folder `memory`."""

    def __init__(self, at):
        self.left = at

    def _trace(self, frame, event, _arg):
        if not frame.f_code.co_filename.startswith(MEMORY):
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self._trace

    def strikes(self, call):
        """Make the call; return whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


CALLS = {
    "reserve": lambda bucket, _: bucket.reserve(3),
    "refuse": lambda bucket, _: bucket.allow(3),
    "cancel": lambda _, mine: mine.cancel(),
    "settle": lambda _, mine: mine.settle(0),
    "look": lambda bucket, _: bucket.available_tokens,
}


def check_free(bucket):
    """Let another thread go through a step, which takes the lock."""
    thread = threading.Thread(target=bucket.configure, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def _struck(call, at):
    """Interrupt a call at a line; return the level after it, or None if it ended before."""
    clock = ManualClock(start=100)
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=clock)
    ahead, mine, behind = (bucket.reserve(cost) for cost in (2, 3, 4))
    clock.advance(1)
    if not Interrupt(at).strikes(lambda: CALLS[call](bucket, mine)):
        return None
    check_free(bucket)
    found = level(bucket)
    assert ahead.delay == 1
    assert behind.delay in {5, 8}
    clock.advance(11)
    assert behind.delay == 0
    return found


@pytest.mark.parametrize("call", CALLS)
def test_interrupt_at_any_line_leaves_lock_free_and_level_right(call):
    """P19: Wherever an interrupt strikes, the level is right or lacks that call's tokens."""
    found = set()
    for at in range(10_000):
        struck = _struck(call, at)
        if struck is None:
            break
        found.add(struck)
    assert found
    assert found <= {-8, -8 - 3 if call == "reserve" else -8 + 3}


def test_interrupt_of_woken_task_at_any_line_leaves_rest_served():
    """P19: Wherever an interrupt strikes a task that wakes, the others are served in turn."""
    struck = 0
    for at in range(1000):
        line = Steps()
        line.turn()
        line.clock.advance(2)
        hit = Interrupt(at).strikes(line.turn)
        line.turn()
        assert (line.tasks[0].exception() is not None) == hit
        kept = line.clock.elapsed - level(line.bucket) == sum(COSTS)  # at most its own tokens
        line.check_rest(set() if kept else {0})
        line.loop.close()
        if not hit:
            break
        struck += 1
    assert struck > 5
