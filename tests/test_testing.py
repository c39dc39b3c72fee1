"""ManualClock: it stands still until it is told to move."""

import math
import sys
from threading import Barrier, Thread

import pytest

from rate_limiter import TokenBucket
from rate_limiter.clock import Clock
from rate_limiter.testing import ManualClock

SECOND = 10**9


@pytest.fixture
def clock():
    return ManualClock()


def test_make_clock_is_a_clock(clock):
    """A ManualClock is what buckets ask for, and stands still."""
    assert isinstance(clock, Clock)
    assert [clock.now(), clock.now(), clock.elapsed, clock.sleepers] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("start", "now"), [(0, 0), (1.5, 1_500_000_000), (2**53, 2**53 * SECOND), (1e-9, 1)]
)
def test_start_clock_anywhere(start, now):
    """P8: A clock may start anywhere; elapsed counts from there."""
    clock = ManualClock(start=start)
    assert (clock.now(), clock.elapsed) == (now, 0)
    clock.advance(2)
    assert (clock.now(), clock.elapsed) == (now + 2 * SECOND, 2)


@pytest.mark.parametrize(
    ("steps", "elapsed"),
    [
        ([1], 1),
        ([0], 0),
        ([0.1] * 10, 1),
        ([1e-9], 1e-9),
        ([4e-10], 0),
        ([5, -2], 3),
        ([-2], -2),
        ([1e6, 1e6], 2e6),
    ],
)
def test_advance_moves_now_and_elapsed(steps, elapsed, clock):
    """Each step moves the clock to the nanosecond, forwards or back."""
    for step in steps:
        clock.advance(step)
    assert clock.elapsed == elapsed
    assert clock.now() == round(elapsed * SECOND)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (math.nan, ValueError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (1j, TypeError),
    ],
)
def test_move_clock_by_what_is_no_duration_is_refused(seconds, error, clock):
    """P22: Bad durations are refused, and the clock has not moved."""
    with pytest.raises(error, match="seconds must be"):
        clock.advance(seconds)
    with pytest.raises(error, match="start must be"):
        ManualClock(start=seconds)
    assert clock.now() == 0


def test_start_clock_before_zero_is_refused():
    """A clock does not start below zero."""
    with pytest.raises(ValueError, match="start must be 0 or more, got -1"):
        ManualClock(start=-1)


def test_advance_refills_bucket(clock):
    """The example of the class: a bucket on the clock refills when it moves."""
    bucket = TokenBucket(1, 10, clock=clock)
    assert [bucket.allow(), bucket.allow()] == [True, False]
    clock.advance(0.1)
    assert bucket.allow()


@pytest.fixture
def restless():
    """Switch between threads as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_advance_from_several_threads_adds_up(clock):
    """P18: No step is lost when several threads move the clock."""
    start = Barrier(4)

    def move():
        start.wait()
        for _ in range(1000):
            clock.advance(1)

    threads = [Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.elapsed == 4000
