"""How a limiter is asked: by a thread that blocks, or by a task that awaits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ..clock import NANO, Clock
from ..sleeping import ThreadSleeper, task_sleeper

__all__ = ["Awaiting", "Blocking", "Waiting"]


class Waiting(ABC):
    """How a limiter is asked."""

    @abstractmethod
    async def enter(self, permit: Any) -> None:
        """Take the tokens of a permit, or wait for them, or raise."""

    @abstractmethod
    async def settle(self, permit: Any, used: Any) -> None:
        """Say what a permit has really cost."""

    @abstractmethod
    async def refund(self, permit: Any) -> None:
        """Give the tokens of a permit back."""

    @abstractmethod
    async def pause(self, bucket: Any, seconds: float) -> None:
        """Let nobody take tokens of a bucket for a while."""

    @abstractmethod
    async def rest(self, clock: Clock, seconds: float) -> None:
        """Sleep, whatever the buckets do meanwhile."""


class Blocking(Waiting):
    """The limiter blocks this thread."""

    async def enter(self, permit: Any) -> None:
        """Take the tokens."""
        permit.__enter__()

    async def settle(self, permit: Any, used: Any) -> None:
        """Settle."""
        permit.settle(used)

    async def refund(self, permit: Any) -> None:
        """Refund."""
        permit.refund()

    async def pause(self, bucket: Any, seconds: float) -> None:
        """Pause."""
        bucket.pause(seconds)

    async def rest(self, clock: Clock, seconds: float) -> None:
        """Block this thread."""
        sleeper, until = ThreadSleeper(), _instant_in(seconds, clock)
        while clock.now() < until:
            clock.sleep(sleeper, until)


class Awaiting(Waiting):
    """The limiter suspends this task."""

    async def enter(self, permit: Any) -> None:
        """Take the tokens."""
        await permit

    async def settle(self, permit: Any, used: Any) -> None:
        """Settle."""
        await permit.settle_async(used)

    async def refund(self, permit: Any) -> None:
        """Refund."""
        await permit.refund_async()

    async def pause(self, bucket: Any, seconds: float) -> None:
        """Pause."""
        await bucket.pause_async(seconds)

    async def rest(self, clock: Clock, seconds: float) -> None:
        """Suspend this task."""
        sleeper, until = task_sleeper(), _instant_in(seconds, clock)
        while clock.now() < until:
            await clock.sleep_async(sleeper, until)


def _instant_in(seconds: float, clock: Clock) -> int:
    return clock.now() + round(seconds * NANO)
