"""Time: now in nanoseconds, and how to sleep.

Instants are integers on the clock's own scale; only differences between them mean anything.
"""

from __future__ import annotations

import math
import time
from typing import Protocol, runtime_checkable

from .rates import Number, exact, is_infinite, non_negative
from .sleeping import TaskSleeper, ThreadSleeper

__all__ = [
    "NANO",
    "SYSTEM_CLOCK",
    "Clock",
    "SystemClock",
    "nanoseconds",
    "seconds",
    "timeout_nanoseconds",
]

NANO = 10**9
_LONGEST_SLEEP = (
    86_400 * NANO
)  # the platform's sleep refuses centuries; nobody minds waking once a day


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
        return None if until is None else seconds(min(max(until - self.now(), 0), _LONGEST_SLEEP))


SYSTEM_CLOCK = SystemClock()


def seconds(duration: int) -> float:
    """Convert nanoseconds to the nearest float of seconds that is not less (P6)."""
    try:
        value = duration / NANO
    except OverflowError:
        return math.inf
    numerator, denominator = value.as_integer_ratio()
    return value if numerator * NANO >= duration * denominator else math.nextafter(value, math.inf)


def nanoseconds(duration: Number, name: str = "seconds") -> int:
    """Convert seconds to the nearest nanosecond, refusing what is no duration.

    Raises:
        TypeError: It is not a real number.
        ValueError: It is negative, NaN or infinite.
    """
    non_negative(duration, name)
    return round(exact(duration, name) * NANO)  # the simplest fraction would lose nanoseconds


def timeout_nanoseconds(timeout: Number | None) -> int | None:
    """Read a timeout in seconds; None and infinity mean no limit, and so None.

    Raises:
        TypeError: It is not a real number.
        ValueError: It is negative or NaN.
    """
    if timeout is None or is_infinite(timeout):
        return None
    return nanoseconds(timeout, "timeout")
