"""Time: conversions that never lose a nanosecond, and sleeps that are never short."""

import asyncio
import math
import time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from rate_limiter import TokenBucket
from rate_limiter.clock import (
    SYSTEM_CLOCK,
    Clock,
    SystemClock,
    nanoseconds,
    seconds,
    timeout_nanoseconds,
)
from rate_limiter.sleeping import ThreadSleeper, task_sleeper
from rate_limiter.testing import ManualClock

SECOND = 10**9
DAY = 86_400 * SECOND
DURATIONS = sorted(
    {2**power + step for power in range(64) for step in (-1, 0, 1)}
    | {10**power + step for power in range(19) for step in (-1, 0, 1)}
    | {333_333_333, 1_234_567_891, 8_589_934_591_999_999_046}
)


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
    ("duration", "expected"),
    [
        (0, 0.0),
        (1, 1e-9),
        (SECOND, 1.0),
        (1_500_000_000, 1.5),
        (2**53 + 1, math.nextafter(2**53 / SECOND, math.inf)),
        (10**400, math.inf),
    ],
)
def test_convert_nanoseconds_to_seconds_gives_a_float(duration, expected):
    """P6: Any duration becomes a float of seconds; one beyond all floats becomes infinity."""
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", DURATIONS)
def test_convert_nanoseconds_to_seconds_rounds_up_to_the_next_float(duration):
    """P6: The float is not less than the duration, and the float below it would be."""
    exact = Fraction(duration, SECOND)
    value = seconds(duration)

    assert Fraction(value) >= exact
    assert value == 0 or Fraction(math.nextafter(value, -math.inf)) < exact


@pytest.mark.parametrize("duration", DURATIONS)
def test_convert_seconds_back_to_nanoseconds_is_never_less(duration):
    """P6: There and back again keeps a duration as long as floats can, and never shortens it."""
    back = nanoseconds(seconds(duration))

    assert back >= duration
    assert back == duration or duration > 2**52
    assert back - duration < math.ulp(seconds(duration)) * SECOND + 1


def test_convert_growing_durations_keeps_their_order():
    """P6: A longer duration is never a smaller float."""
    assert all(seconds(short) <= seconds(long) for short, long in pairwise(DURATIONS))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (0.1, 100_000_000),
        (1, SECOND),
        (1e-9, 1),
        (0.4e-9, 0),
        (0.6e-9, 1),
        (Fraction(1, 3), 333_333_333),
        (Decimal("0.000000001"), 1),
        (10**300, 10**309),
    ],
)
def test_convert_seconds_of_any_kind_gives_the_nearest_nanosecond(value, expected):
    """P22: A duration may be any real number."""
    assert nanoseconds(value) == expected


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "pause must be 0 or more, got -1"),
        (math.nan, ValueError, "pause must be finite, got nan"),
        (math.inf, ValueError, "pause must be finite, got inf"),
        (True, TypeError, "pause must be a real number"),
        ("1", TypeError, "pause must be a real number"),
    ],
)
def test_convert_what_is_no_duration_names_it(value, error, message):
    """P22: What cannot be a duration is refused under the name it was given."""
    with pytest.raises(error, match=f"^{message}"):
        nanoseconds(value, "pause")


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        (None, None),
        (math.inf, None),
        (Decimal("Infinity"), None),
        (np.float32("inf"), None),
        (0, 0),
        (0.0, 0),
        (-0.0, 0),
        (1.5, 1_500_000_000),
        (np.float64(0.1), 100_000_000),
        (Fraction(1, 4), 250_000_000),
        (1e300, int(1e300) * SECOND),
        (10**300, 10**309),
    ],
    ids=lambda value: type(value).__name__,
)
def test_read_timeout_gives_nanoseconds_or_none(timeout, expected):
    """P12: A timeout is a number of seconds from 0 on; None and infinity set no limit."""
    assert timeout_nanoseconds(timeout) == expected


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (-1e-300, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("sNaN"), ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (1j, TypeError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_read_timeout_when_meaningless_raises(timeout, error):
    """P12: What is no length of time is an error that names the timeout."""
    with pytest.raises(error, match="timeout"):
        timeout_nanoseconds(timeout)


@pytest.mark.parametrize(
    ("until", "rest"),
    [
        (None, None),
        (-SECOND, 0.0),
        (6, 0.0),
        (7, 0.0),
        (8, 1e-9),
        (SECOND + 7, 1.0),
        (DAY + 6, seconds(DAY - 1)),
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


@pytest.mark.parametrize(
    ("value", "expected"),
    [(SYSTEM_CLOCK, True), (ManualClock(), True), (time, False), (time.monotonic, False)],
)
def test_tell_whether_something_is_a_clock(value, expected):
    """A clock is whatever has the three methods that a bucket calls."""
    assert isinstance(value, Clock) is expected
