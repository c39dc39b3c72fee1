"""How a thread or a task sleeps, and how anyone wakes it.

A sleeper belongs to the thread or task that made it, which alone may call `sleep`. `wake` may be
called from anywhere, any number of times; a wake-up that comes before the sleep makes it short.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["Sleeper", "TaskSleeper", "ThreadSleeper", "task_sleeper"]


class Sleeper(Protocol):
    """What can be woken."""

    def wake(self) -> None:
        """End the present sleep, or the next one."""


class TaskSleeper(Sleeper, Protocol):
    """A task that can sleep."""

    async def sleep(self, seconds: float | None) -> None:
        """Suspend the task for so many seconds, or until woken."""


class ThreadSleeper:
    """A thread that sleeps at a gate."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()

    def sleep(self, seconds: float | None) -> None:
        """Block the thread for so many seconds, or until woken."""
        self._gate.acquire(timeout=-1 if seconds is None else seconds)

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        with suppress(RuntimeError):  # it is open already
            self._gate.release()


class _AsyncioSleeper:
    """An asyncio task that sleeps on a future."""

    __slots__ = ("_future", "_loop", "_thread", "_woken")

    def __init__(self) -> None:
        from asyncio import get_running_loop

        self._loop = get_running_loop()
        self._thread = get_ident()
        self._future: Future[None] | None = None
        self._woken = False

    async def sleep(self, seconds: float | None) -> None:
        self._future = future = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, self._end)
        try:
            if not self._woken:
                await future
        finally:
            self._future = None
            self._woken = False
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        self._woken = True
        if get_ident() == self._thread:
            self._end()
            return
        with suppress(RuntimeError):  # the loop is closed, and the task with it
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class _TrioSleeper:
    """A trio task that sleeps on an event."""

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    async def sleep(self, seconds: float | None) -> None:
        import trio

        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._event.wait()
        self._event = trio.Event()

    def wake(self) -> None:
        import trio

        with suppress(trio.RunFinishedError):  # and so is the task
            self._token.run_sync_soon(self._end)

    def _end(self) -> None:
        self._event.set()


def task_sleeper() -> TaskSleeper:
    """Return a sleeper for the running task, of trio or of asyncio.

    Raises:
        RuntimeError: No task is running.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return _TrioSleeper()
    return _AsyncioSleeper()
