"""The clock that the processes of a machine share: it runs on, whatever is done to wall time.

A monotonic clock begins anew when the machine starts, and a wall clock can be set. So the file
notes, once for each start of the machine, what the monotonic clock has to be added to; from then on
wall time is not asked any more, and setting it does nothing. At the next start, time goes on from
the wall clock, or from the last instant that the file has noted if that is later: a wall clock that
is wrong then fills the buckets (one capacity), or leaves out what came back while all was off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..shared.store import MICROSECOND

__all__ = ["boot_of", "clock_of_machine", "start_of", "uptime", "uptime_ns", "wall_time"]

_LATEST = 200 * 31_557_600 * 10**6  # the microsecond, in 2170, beyond which no clock is believed
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/time")  # a container may have a monotonic clock of its own


def wall_time() -> int:
    """Return the microseconds since 1970."""
    return time.time_ns() // MICROSECOND


def boot_of(boot: Path = _BOOT, namespace: Path = _NAMESPACE) -> str:
    """Return what tells this start of the machine from others; empty if the system has nothing.

    Then a machine that has started anew is known by a monotonic clock that has gone back.
    """
    try:
        started = boot.read_text(encoding="ascii").strip()
    except OSError:
        return ""
    try:
        return f"{started} {namespace.readlink()}"
    except OSError:  # a kernel without them
        return started


def clock_of_machine() -> Callable[[], int]:
    """Return the clock that has run since the machine started, in nanoseconds."""
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux has one that runs on while the machine sleeps
        return partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    return time.monotonic_ns


uptime_ns = clock_of_machine()


def uptime() -> int:
    """Return the microseconds since the machine has started."""
    return uptime_ns() // MICROSECOND


def start_of(wall: int, up: int, seen: int) -> int:
    """Return the microsecond at which the machine has started, as a file is to note it.

    Args:
        wall: What the wall clock shows.
        up: How long the machine has been running.
        seen: The last instant that the file has noted.
    """
    return max(wall if wall < _LATEST else 0, seen) - up
