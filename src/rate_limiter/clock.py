"""Time: now in nanoseconds, and how to sleep.

Instants are integers on the clock's own scale; only differences between them mean anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from .rates import Number, exact, nearest, shown
from .sleeping import TaskSleeper, ThreadSleeper

__all__ = [
    "CENTURY",
    "NANO",
    "SYSTEM_CLOCK",
    "Clock",
    "SystemClock",
    "check_clock",
    "instant",
    "nanoseconds",
    "now_of",
    "seconds",
    "timeout_nanoseconds",
]

NANO = 10**9
CENTURY = 100 * 36_525 * 864 * NANO  # 100 years of 365.25 days
_LONGEST_SLEEP = 86_400 * NANO  # a platform's sleep refuses centuries; one wake-up a day is cheap


@runtime_checkable
class Clock(Protocol):
    """What a bucket asks of its clock."""

    def now(self) -> int:
        """Return the present instant in nanoseconds."""
        ...

    def sleep(self, sleeper: ThreadSleeper, until: int | None) -> None:
        """Block this thread until the instant `until`, or until the sleeper is woken."""
        ...

    async def sleep_async(self, sleeper: TaskSleeper, until: int | None) -> None:
        """Suspend this task until the instant `until`, or until the sleeper is woken."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    __slots__ = ()

    now = staticmethod(time.monotonic_ns)

    def sleep(self, sleeper: ThreadSleeper, until: int | None) -> None:
        """Block this thread until about `until`, or until the sleeper is woken."""
        sleeper.sleep(self._rest(until))

    async def sleep_async(self, sleeper: TaskSleeper, until: int | None) -> None:
        """Suspend this task until about `until`, or until the sleeper is woken."""
        await sleeper.sleep(self._rest(until))

    def _rest(self, until: int | None) -> float | None:
        if until is None:
            return None
        rest = until - self.now()  # who wakes a nanosecond early looks, and sleeps again
        return min(rest, _LONGEST_SLEEP) / NANO if rest > 0 else 0.0


SYSTEM_CLOCK = SystemClock()


def seconds(duration: int) -> float:
    """Convert nanoseconds to the nearest float of seconds that is not less (P6)."""
    try:
        value = duration / NANO
    except OverflowError:
        return math.inf
    numerator, denominator = value.as_integer_ratio()
    return value if numerator * NANO >= duration * denominator else math.nextafter(value, math.inf)


def instant(value: Number, name: str) -> int:
    """Convert an instant in seconds to the nearest nanosecond.

    Raises:
        TypeError: It is not a real number.
        ValueError: It is negative, NaN or infinite.
    """
    number = exact(value, name)  # the simplest fraction would lose nanoseconds
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, got {shown(value)}")
    return round(number * NANO)


def nanoseconds(duration: Number, name: str = "seconds") -> int:
    """Convert a duration in seconds to the nearest nanosecond.

    Raises:
        TypeError: It is not a real number.
        ValueError: It is negative, NaN, infinite, or longer than 100 years.
    """
    length = instant(duration, name)
    if length > CENTURY:
        raise ValueError(f"{name} must be at most 100 years, got {shown(duration)}")
    return length


def timeout_nanoseconds(timeout: Number | None) -> int | None:
    """Read a timeout in seconds; None, infinity and more than 100 years mean no limit, and so None.

    Below zero it counts as 0: the time left until a deadline that has passed is negative.

    Raises:
        TypeError: It is not a real number.
        ValueError: It is NaN, or larger than any float.
    """
    if timeout is None:
        return None
    near = nearest(timeout, "timeout")
    if near <= 0:
        return 0
    if near == math.inf == timeout:
        return None
    length = instant(timeout, "timeout")
    return None if length > CENTURY else length


_last: tuple[Any, Callable[[], int]] = (None, time.monotonic_ns)


def now_of(clock: Clock) -> Callable[[], int]:
    """Return a clock's `now`: the same object each time, as thousands of buckets may share it."""
    global _last  # noqa: PLW0603 - a clock and its `now` are set in one statement
    owner, now = _last
    if owner is not clock:
        now = clock.now
        _last = clock, now
    return now


def check_clock(clock: Clock) -> Clock:
    """Return the clock, if it is one.

    Raises:
        TypeError: It lacks a method of `Clock`, or is a class.
    """
    if not _makes_clocks(type(clock)) and (isinstance(clock, type) or not _has_methods(clock)):
        raise TypeError(
            f"clock must have now(), sleep() and sleep_async(), as "
            f"rate_limiter.testing.ManualClock has; got {shown(clock)}"
        )
    return clock


@lru_cache(maxsize=64)  # clocks are of few types, and there may be a bucket for every key
def _makes_clocks(kind: type[Any]) -> bool:
    """Tell whether the instances of a type are clocks, whatever they hold themselves."""
    return not issubclass(kind, type) and _has_methods(kind)


def _has_methods(clock: Any) -> bool:
    return all(callable(getattr(clock, name, None)) for name in ("now", "sleep", "sleep_async"))
