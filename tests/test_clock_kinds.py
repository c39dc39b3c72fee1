"""What counts as a clock, and how quickly that is told."""

import time
from types import SimpleNamespace

import pytest

from rate_limiter import clock as module
from rate_limiter.clock import SYSTEM_CLOCK, Clock, SystemClock, check_clock
from rate_limiter.testing import ManualClock


@pytest.mark.parametrize(
    ("value", "expected"),
    [(SYSTEM_CLOCK, True), (ManualClock(), True), (time, False), (time.monotonic, False)],
)
def test_tell_whether_something_is_a_clock(value, expected):
    """A clock is whatever has the three methods that a bucket calls."""
    assert isinstance(value, Clock) is expected


class Ready:
    """A clock of the user's."""

    def now(self):
        return 0

    def sleep(self, sleeper, until):
        """Never."""

    async def sleep_async(self, sleeper, until):
        """Never."""


class Slotted:
    """A clock whose methods are attributes, if it has them."""

    __slots__ = ("now", "sleep", "sleep_async")


class Factory(type):
    """A type whose classes have the methods of a clock, but are none."""

    now, sleep, sleep_async = Ready.now, Ready.sleep, Ready.sleep_async


class Made(metaclass=Factory):
    """A class of that type."""


def assembled():
    """Return a clock whose methods are its own, not those of its type."""
    ready = Ready()
    return SimpleNamespace(now=ready.now, sleep=ready.sleep, sleep_async=ready.sleep_async)


@pytest.mark.parametrize("make", [SystemClock, ManualClock, Ready, assembled, lambda: SYSTEM_CLOCK])
def test_check_clock_returns_a_clock(make):
    """Whatever has the three methods is a clock, the first time and afterwards."""
    for clock in (make(), make()):
        assert check_clock(clock) is clock


@pytest.mark.parametrize(
    "value",
    [time, time.monotonic, 1, None, SystemClock, ManualClock, Ready, SimpleNamespace(), Made],
)
def test_check_clock_refuses_what_is_none(value):
    """A class, even of a type seen before, and what lacks a method get a TypeError that says so."""
    check_clock(Ready())
    check_clock(assembled())
    with pytest.raises(
        TypeError, match=r"^clock must have now\(\), sleep\(\) and sleep_async\(\), as "
    ):
        check_clock(value)


def test_check_clock_whose_methods_are_missing_slots_refuses_it():
    """What a type only has room for, its instances may lack."""
    with pytest.raises(TypeError, match=r"^clock must have now"):
        check_clock(Slotted())


def test_check_clock_of_a_known_type_does_not_look_at_it_again(monkeypatch):
    """A bucket is made in a microsecond or two, and looking for the methods takes as long."""
    clock = Ready()
    check_clock(clock)
    monkeypatch.setattr(module, "_has_methods", None)
    assert check_clock(clock) is clock
    assert check_clock(SYSTEM_CLOCK) is SYSTEM_CLOCK
