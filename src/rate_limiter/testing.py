"""Test limited code without waiting: a clock that moves when told."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition
from typing import Any, Self
from weakref import WeakSet

from .clock import NANO, instant
from .rates import Number, exact, shown
from .sleeping import Sleeper, TaskSleeper, ThreadSleeper

__all__ = ["ManualClock"]

_clocks: WeakSet[ManualClock] = WeakSet()


class ManualClock:
    """A clock that stands still until it is told to move, like a stopped watch set by hand.

        clock = ManualClock()
        bucket = TokenBucket(capacity=1, tokens_per_second=10, clock=clock)
        assert bucket.allow() and not bucket.allow()
        clock.advance(0.1)
        assert bucket.allow()

    Threads and tasks that wait on it sleep until somebody advances it far enough. With
    `auto_advance` a sleep moves the clock to its own end instead and returns at once, so that code
    with waits in it runs in no time, and `elapsed` tells how long it would have taken. To put the
    clock under something that already has another one, see `under`.

    Args:
        auto_advance: Whether sleeping moves the clock.
        start: Where the clock starts, in seconds.

    Raises:
        TypeError: `start` is not a real number.
        ValueError: `start` is negative, NaN or infinite.
    """

    def __init__(self, *, auto_advance: bool = False, start: Number = 0) -> None:
        self._auto_advance = auto_advance
        self._start = self._now = instant(start, "start")
        self._begin_anew()
        _clocks.add(self)
        self._alarms: dict[Sleeper, int | None] = {}

    def _begin_anew(self) -> None:
        """Take a lock that nobody holds; in a forked child those who held it are gone (P20)."""
        self._moved = Condition()

    @property
    def elapsed(self) -> float:
        """How far the clock has moved since it was made, in seconds."""
        return (self._now - self._start) / NANO

    @property
    def sleepers(self) -> int:
        """How many threads and tasks are asleep on it."""
        return len(self._alarms)

    def now(self) -> int:
        """Return the present instant in nanoseconds."""
        return self._now

    def advance(self, seconds: Number) -> None:
        """Move the clock, and wake the sleepers whose time has come.

        Args:
            seconds: How far, to the nearest nanosecond; negative steps back, as a bad clock does.

        Raises:
            TypeError: `seconds` is not a real number.
            ValueError: `seconds` is NaN or infinite.
        """
        step = round(exact(seconds, "seconds") * NANO)
        with self._moved:
            self._set_to(self._now + step)

    def sleep(self, sleeper: ThreadSleeper, until: int | None) -> None:
        """Block this thread until the clock has come to `until`, or until the sleeper is woken."""
        with self._asleep(sleeper, until) as asleep:
            if asleep:
                sleeper.sleep(None)

    async def sleep_async(self, sleeper: TaskSleeper, until: int | None) -> None:
        """Suspend this task until the clock has come to `until`, or until the sleeper is woken."""
        if self._auto_advance:
            await sleeper.sleep(0)  # a turn for the others, as any sleep gives
        with self._asleep(sleeper, until) as asleep:
            if asleep:
                await sleeper.sleep(None)

    def wait_for_sleepers(self, count: int = 1, timeout: float = 5.0) -> None:
        """Block this thread, in real time, until this many threads and tasks sleep on the clock.

        A test calls it between starting a thread that will wait and advancing the clock.

        Args:
            count: How many.
            timeout: The most seconds to wait for them.

        Raises:
            TimeoutError: Fewer came in time.
        """
        with self._moved:
            if not self._moved.wait_for(lambda: self.sleepers >= count, timeout):
                raise TimeoutError(f"{self.sleepers} of {count} sleepers came within {timeout} s")

    @contextmanager
    def under(self, target: Any) -> Generator[Self]:
        """Put this clock under something that has another one, for the length of a with-block.

            with ManualClock().under(fetch) as clock:
                fetch()
                clock.advance(1)

        Within the block the buckets of the target start full; after it, they have their own clock
        and their tokens back. Nobody may be waiting when the block begins or ends.

        Args:
            target: A decorated callable, a limiter, or a bucket.

        Raises:
            TypeError: It is none of these.
        """
        limiter = getattr(target, "limiter", target)
        if isinstance(limiter, type) or not hasattr(limiter, "_move_to"):
            raise TypeError(
                f"a clock goes under a decorated callable, a limiter or a bucket, "
                f"got {shown(target)} ({type(target).__name__})"
            )
        state = limiter._move_to(self)
        try:
            yield self
        finally:
            limiter._move_back(state)

    @contextmanager
    def _asleep(self, sleeper: Sleeper, until: int | None) -> Generator[bool]:
        """List a sleeper while it sleeps; yield whether it has to, for its time may have come."""
        with self._moved:
            if until is not None and self._auto_advance and self._now < until:
                self._set_to(until)
            asleep = until is None or self._now < until
            if asleep:
                self._alarms[sleeper] = until
                self._moved.notify_all()
        try:
            yield asleep
        finally:
            with self._moved:
                self._alarms.pop(sleeper, None)

    def _set_to(self, instant: int) -> None:
        self._now = instant
        for sleeper, until in list(self._alarms.items()):
            if until is not None and until <= instant:
                del self._alarms[sleeper]
                sleeper.wake()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(elapsed={self.elapsed:g}, sleepers={self.sleepers})"


def _begin_anew() -> None:  # pragma: no cover - in a child
    for clock in _clocks:
        clock._begin_anew()


if hasattr(os, "register_at_fork"):  # pragma: no branch - a system without it has no forks
    os.register_at_fork(after_in_child=_begin_anew)
