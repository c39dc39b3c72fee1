"""Clocks that tick coarsely, and sleeps that end early."""

import asyncio
import time
from fractions import Fraction

import pytest

from rate_limiter import RateLimiter, TokenBucket, sleeping
from rate_limiter.clock import SystemClock, seconds

pytestmark = pytest.mark.no_cover  # a clock that ticks this often is too slow when measured
SECOND = 10**9
TICK = 15_625_000  # nanoseconds; what some systems' clocks advance by


class SteppedClock(SystemClock):
    """The system's clock on a machine whose sleeps may be short and whose ticks may be coarse."""

    def __init__(self, *, tick=1, wakes=()):
        self.instant = 0
        self.slept = []
        self.tick = tick
        self.wakes = iter(wakes)

    def now(self):
        return self.instant // self.tick * self.tick

    def pass_time(self, duration):
        """Note what was asked for, and let as much of it pass as the next of `wakes` says."""
        self.slept.append(duration)
        self.instant += round(Fraction(duration) * SECOND * next(self.wakes, 1))


@pytest.fixture(params=["thread", "task"])
def wait_on(request, monkeypatch):
    """Give a function that waits for tokens on a stepped clock, in either world."""

    def wait_in_thread(clock, bucket, tokens):
        monkeypatch.setattr(sleeping.ThreadSleeper, "sleep", lambda _, rest: clock.pass_time(rest))
        bucket.wait(tokens)

    def wait_in_task(clock, bucket, tokens):
        async def sleep(_, rest):
            clock.pass_time(rest)

        monkeypatch.setattr(sleeping._AsyncioSleeper, "sleep", sleep)
        asyncio.run(bucket.wait_async(tokens))

    return wait_in_thread if request.param == "thread" else wait_in_task


def empty(clock):
    """Make an empty bucket that gets a token a second."""
    return TokenBucket(1, 1, initial_tokens=0, clock=clock)


class FineTime:
    """What the machine's time is, however coarsely its clock shows it."""

    def __init__(self, slept):
        self.now = 0
        self.slept = slept  # the part of a sleep that really passes

    def sleep(self, seconds):
        self.now += int(seconds * 1e9 * self.slept) + 1

    async def sleep_async(self, seconds):
        self.sleep(seconds)


class CoarseClock(SystemClock):
    """The machine's clock, which shows whole ticks of a time that is given."""

    def __init__(self, fine):
        self.fine = fine

    def now(self):
        return self.fine.now // TICK * TICK


@pytest.fixture(params=[0.3, 0.999999999, 1.0, 1.5])
def fine(request, monkeypatch):
    fine = FineTime(request.param)
    monkeypatch.setattr(sleeping.ThreadSleeper, "sleep", lambda _, rest: fine.sleep(rest))
    monkeypatch.setattr(sleeping._AsyncioSleeper, "sleep", lambda _, rest: fine.sleep_async(rest))
    return fine


def dues(rate, capacity, count):
    """Return the nanosecond from which each of so many tokens is there."""
    return [max(0, (number + 1 - capacity) * 10**9 // rate) for number in range(count)]


@pytest.mark.parametrize("rate", [3, 64, 1_000, 10**5])
def test_wait_on_a_coarse_clock_never_lets_through_early(rate, fine):
    """P17: Whatever part of a sleep passes and however the clock ticks, no token comes early."""
    bucket = TokenBucket(2, rate, clock=CoarseClock(fine))
    left = []

    for _ in range(20):
        bucket.wait()
        left.append(fine.now)

    assert all(at >= due for at, due in zip(left, dues(rate, 2, 20), strict=True))


@pytest.mark.parametrize("rate", [3, 64, 1_000, 10**5])
def test_wait_async_on_a_coarse_clock_never_lets_through_early(rate, fine):
    """P17: A task's early wake-up, like a thread's, makes it sleep the rest."""
    limiter = RateLimiter(TokenBucket(2, rate, clock=CoarseClock(fine)))

    async def main():
        left = []
        for _ in range(20):
            async with limiter:
                left.append(fine.now)
        return left

    left = asyncio.run(main())
    assert all(at >= due for at, due in zip(left, dues(rate, 2, 20), strict=True))


def test_wait_on_the_real_clock_made_coarse_takes_at_least_its_time():
    """P17: Real sleeps under a clock that shows 5 ms steps last as long as that clock says."""

    class Steps(SystemClock):
        def now(self):
            return time.monotonic_ns() // 5_000_000 * 5_000_000

    clock = Steps()
    bucket = TokenBucket(1, 200, clock=clock)
    began = clock.now()

    for _ in range(6):
        bucket.wait()

    assert clock.now() - began >= 25_000_000


def test_wait_when_woken_early_sleeps_the_rest(wait_on):
    """P17: A sleep that returns early, even at once, is followed by one for the rest."""
    clock = SteppedClock(wakes=[Fraction(1, 2), 0, Fraction(1, 2)])

    wait_on(clock, empty(clock), 1)

    assert clock.slept == [1.0, 0.5, 0.5, 0.25]
    assert clock.instant == SECOND


def test_wait_when_woken_on_time_sleeps_once(wait_on):
    """P13: One wait is one sleep."""
    clock = SteppedClock()

    wait_on(clock, empty(clock), Fraction(333_333_333, SECOND))

    assert clock.slept == [seconds(333_333_333)]


def test_wait_for_what_is_there_sleeps_not_at_all(wait_on):
    """P17: Nothing is slept for tokens that have accrued to the nanosecond."""
    clock = SteppedClock()
    bucket = empty(clock)
    clock.instant = SECOND

    wait_on(clock, bucket, 1)

    assert clock.slept == []


def test_wait_by_a_coarse_clock_is_never_short(wait_on):
    """P17: A clock of 64 ticks a second may say too little has passed, so more is slept."""
    clock = SteppedClock(tick=TICK)

    wait_on(clock, empty(clock), 0.01)

    assert clock.now() >= SECOND // 100
    assert clock.slept == [0.01, 0.01]


def test_wait_longer_than_a_platform_can_sleep_is_done_in_days(wait_on):
    """P12: Years of sleep, which the platform refuses in one piece, are slept by the day."""
    clock = SteppedClock()

    wait_on(clock, empty(clock), 2 * 86_400 + 1)

    assert clock.slept == [86_400.0, 86_400.0, 1.0]
