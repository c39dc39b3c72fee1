"""The machine's clock: sleeps that are never short, and that a wake-up ends."""

import asyncio
import time

import pytest

from rate_limiter import TokenBucket
from rate_limiter.clock import SYSTEM_CLOCK, SystemClock
from rate_limiter.sleeping import ThreadSleeper, task_sleeper

SECOND = 10**9
DAY = 86_400 * SECOND


class StoppedClock(SystemClock):
    """The system's clock at one instant."""

    def now(self):
        return 7


class Recorder:
    """A sleeper that notes how long it is told to sleep, and does not."""

    def __init__(self):
        self.rests = []

    def sleep(self, rest):
        self.rests.append(rest)

    def wake(self):
        """Be woken, although never asleep."""


class TaskRecorder(Recorder):
    """A recorder for a task."""

    async def sleep(self, rest):
        super().sleep(rest)


@pytest.fixture(params=["thread", "task"])
def rests_of(request):
    """Give a function that returns how long a clock has one sleep, in either world."""

    def in_thread(clock, until):
        sleeper = Recorder()
        clock.sleep(sleeper, until)
        return sleeper.rests

    def in_task(clock, until):
        sleeper = TaskRecorder()
        asyncio.run(clock.sleep_async(sleeper, until))
        return sleeper.rests

    return in_thread if request.param == "thread" else in_task


@pytest.mark.parametrize(
    ("until", "rest"),
    [
        (None, None),
        (-SECOND, 0.0),
        (6, 0.0),
        (7, 0.0),
        (8, 1e-9),
        (SECOND + 7, 1.0),
        (DAY + 6, (DAY - 1) / SECOND),
        (DAY + 7, 86_400.0),
        (DAY + 8, 86_400.0),
        (10**400, 86_400.0),
    ],
)
def test_sleep_on_the_system_clock_rests_a_day_at_most(rests_of, until, rest):
    """P12: One sleep lasts to its instant or for a day; without an instant, until it is woken."""
    assert rests_of(StoppedClock(), until) == [rest]


def test_sleep_on_the_real_clock_in_a_thread_ends_when_woken():
    """A wake-up ends a thread's sleep on the machine's clock, whether it has an end or not."""
    sleeper = ThreadSleeper()
    due = SYSTEM_CLOCK.now() + DAY

    for until in (due, None):
        sleeper.wake()
        SYSTEM_CLOCK.sleep(sleeper, until)

    assert SYSTEM_CLOCK.now() < due


def test_sleep_on_the_real_clock_in_a_task_ends_when_woken():
    """A wake-up ends a task's sleep on the machine's clock, whether it has an end or not."""
    due = SYSTEM_CLOCK.now() + DAY

    async def main():
        sleeper = task_sleeper()
        for until in (due, None):
            asyncio.get_running_loop().call_soon(sleeper.wake)
            await SYSTEM_CLOCK.sleep_async(sleeper, until)

    asyncio.run(main())

    assert SYSTEM_CLOCK.now() < due


def test_wait_on_the_real_clock_in_a_thread_is_not_short():
    """P17: A wait by the machine's own sleep ends when its tokens are there, or after it."""
    begin = time.monotonic_ns()
    bucket = TokenBucket(1, 500, initial_tokens=0)

    bucket.wait()

    assert time.monotonic_ns() - begin >= 2_000_000


def test_wait_on_the_real_clock_in_a_task_is_not_short():
    """P17: A wait by the event loop's own sleep ends when its tokens are there, or after it."""
    begin = time.monotonic_ns()
    bucket = TokenBucket(1, 500, initial_tokens=0)

    asyncio.run(bucket.wait_async())

    assert time.monotonic_ns() - begin >= 2_000_000
