"""How a thread or a task sleeps, and how anyone wakes it.

A sleeper belongs to the thread or task that made it, which alone may call `sleep`. `wake` may be
called from anywhere, any number of times: from other threads, signal handlers, finalizers and
forked children. A wake-up that comes before the sleep makes it short.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from os import getpid, path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = [
    "Sleeper",
    "TaskSleeper",
    "ThreadSleeper",
    "checkpoint",
    "in_trio_task",
    "is_closed",
    "running_loop",
    "task_sleeper",
    "warn_of_blocking",
]


class Sleeper(Protocol):
    """What can be woken."""

    @property
    def loop(self) -> AbstractEventLoop | None:
        """The event loop of asyncio that it sleeps in; None for threads and for trio."""

    def wake(self) -> None:
        """End the current sleep, or the next one."""


class TaskSleeper(Sleeper, Protocol):
    """A task that can sleep."""

    async def sleep(self, seconds: float | None) -> None:
        """Suspend the task for this many seconds, or until woken."""


class ThreadSleeper:
    """A thread that sleeps at a gate."""

    __slots__ = ("_gate",)

    loop = None

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()

    def sleep(self, seconds: float | None) -> None:
        """Block the thread for this many seconds, or until woken."""
        self._gate.acquire(True, -1 if seconds is None else seconds)

    def wake(self) -> None:
        """End the current sleep, or the next one."""
        with suppress(RuntimeError):  # it is open already
            self._gate.release()


class _AsyncioSleeper:
    """An asyncio task that sleeps on a future."""

    __slots__ = ("_future", "_heard", "_woken", "loop")

    def __init__(self) -> None:
        from asyncio import get_running_loop

        self.loop: AbstractEventLoop = get_running_loop()
        self._future: Future[None] | None = None
        self._heard: Future[None] | None = None  # the sleep that has been ended, or soon will be
        self._woken = False

    async def sleep(self, seconds: float | None) -> None:
        self._future = future = self.loop.create_future()
        timer = None if seconds is None else self.loop.call_later(seconds, _end, future)
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
        future = self._future
        if future is None or future is self._heard:
            return
        if _in_task_of(self.loop):
            _end_here(future)
        else:
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                self.loop.call_soon_threadsafe(_end, future)
        self._heard = future  # only now: a handler that interrupts this must wake it again


def _end(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _end_here(future: Future[None]) -> None:
    from asyncio import InvalidStateError

    with suppress(InvalidStateError):  # a signal handler ended it within `_end`
        _end(future)


def _in_task_of(loop: AbstractEventLoop) -> bool:
    """Tell whether a task of this loop is running here, so that its futures may be set at once.

    The loop's thread alone is not enough: a signal handler may run in it while the loop waits for
    events, and a future set then would be seen only when the next event comes.
    """
    return _loop_here() is loop and sys.modules["asyncio"].current_task(loop) is not None


def _loop_here() -> AbstractEventLoop | None:
    """Return the loop of asyncio that runs in this thread, if any, and import nothing for it.

    A finalizer that wakes a task may run when nothing can be imported any more.
    """
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running is None else running()


class _TrioSleeper:
    """A trio task that sleeps on an event."""

    __slots__ = ("_event", "_process", "_token")

    loop = None

    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()
        self._process = getpid()

    async def sleep(self, seconds: float | None) -> None:
        import trio

        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._event.wait()
        self._event = trio.Event()

    def wake(self) -> None:
        if getpid() != self._process:  # the run stayed in the parent, where its lock may be held
            return
        with suppress(RuntimeError):  # trio's RunFinishedError: the run is over, and so is the task
            self._token.run_sync_soon(self._end, idempotent=True)

    def _end(self) -> None:
        self._event.set()


def task_sleeper() -> TaskSleeper:
    """Return a sleeper for the running task, of trio or of asyncio.

    Raises:
        RuntimeError: No task is running.
    """
    return _TrioSleeper() if in_trio_task() else _AsyncioSleeper()


def is_closed(loop: AbstractEventLoop | None) -> bool:
    """Tell whether a sleeper's loop has been closed, so that its task will never run again."""
    return loop is not None and loop.is_closed()


async def checkpoint() -> None:
    """Let a cancellation arrive in trio, as every await does there; in asyncio do nothing.

    It comes before any tokens are taken, so that a cancelled task has taken none.
    """
    if in_trio_task():
        import trio

        await trio.lowlevel.checkpoint()


def in_trio_task() -> bool:
    """Tell whether the running task is one of trio's.

    A trio run may be the guest of an asyncio loop, whose tasks then run in the same thread; and
    within a task of trio, trio-asyncio runs tasks of asyncio, which only sniffio can tell.
    """
    trio = sys.modules.get("trio")
    return trio is not None and _runs_task(trio) and _sniffed() != "asyncio"


def running_loop() -> bool:
    """Tell whether a loop of asyncio or a task of trio is running in this thread.

    Blocking the thread blocks everything else that the loop runs.
    """
    trio = sys.modules.get("trio")
    return _loop_here() is not None or (trio is not None and _runs_task(trio))


def _runs_task(trio: Any) -> bool:
    try:
        return bool(trio.lowlevel.in_trio_task())
    except AttributeError:  # another thread is importing it at this moment, so nothing runs in it
        return False


def _sniffed() -> str | None:
    """Return the name of the running library as sniffio knows it, if it is imported at all."""
    try:
        return str(sys.modules["sniffio"].current_async_library())
    except (KeyError, AttributeError, RuntimeError):  # not imported, half imported, or no answer
        return None


_PACKAGE = path.dirname(__file__)  # noqa: PTH120 - pathlib would be an eighth of the whole import
_warned: set[tuple[str, int]] = set()  # places in code, each warned of once


def warn_of_blocking(seconds: float) -> None:
    """Warn, once for each place in the caller's code, that a wait will block an event loop.

    Args:
        seconds: How long the wait is.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    place = frame.f_code.co_filename, frame.f_lineno
    if place in _warned:
        return
    warnings.warn(
        f"waiting {seconds:.3g} s for tokens blocks the event loop that runs in this thread, and "
        "all its tasks; use 'await bucket.wait_async()', 'async with limiter.acquire()', or limit "
        "a coroutine function",
        RuntimeWarning,
        stacklevel=level,
    )
    _warned.add(place)  # only now, for the warning may be an error
