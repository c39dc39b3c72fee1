"""Turns at the connections of a client, for calls that find none free.

With more callers at once than connections, or than files, or than the server takes clients, a call
waits until one is given back: in the order of their coming, and within the client's own timeout, so
that a crowd neither opens nor breaks a limit (P39). The connections are the application's too, and
it says nothing when it gives one back: the first in line looks again every few milliseconds.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from threading import Lock, get_ident
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Shortage", "TaskTurns", "ThreadTurns", "task_turns", "thread_turns"]

_SOON = 0.002  # seconds until the first in line looks again, at first
_LATER = 0.05  # and at most
_LOOK = 0.25  # seconds until the others see whether those before them are still there
_GRACE = 1.0  # seconds after its deadline that a turn counts as left behind

_T = TypeVar("_T")


class Shortage(Exception):
    """There is no connection for one more call at the moment; the cause says of what kind."""


class _Turn:
    """The place of a thread that waits for a connection."""

    __slots__ = ("_pid", "deadline", "thread", "woken")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.thread = get_ident()
        self.woken = Lock()
        self.woken.acquire()
        self._pid = os.getpid()

    def counts(self) -> bool:
        """Tell whether its thread is there: not on the other side of a fork, nor interrupted."""
        return self._pid == os.getpid() and monotonic() < self.deadline + _GRACE


class ThreadTurns:
    """Turns of threads.

    It holds no lock: a signal handler may come between any two lines, and ask as well.
    """

    def __init__(self) -> None:
        # No deque: without a global lock, other threads may change it while it is copied.
        self._waiting: list[_Turn] = []

    def get(self, attempt: Callable[[], _T], patience: float, *, urgent: bool = False) -> _T:
        """Return what an attempt returns, trying again while there is a shortage.

        Args:
            attempt: Gets a connection.
            patience: For how many seconds to try.
            urgent: Whether to go before others, as a call that gives back does.

        Raises:
            Shortage: There was one all the time.
        """
        deadline, pause = monotonic() + patience, _SOON
        waited = urgent or any(turn.counts() for turn in self._waiting.copy())
        try:
            if waited and not urgent:
                self._wait(_Turn(deadline), first=False, pause=pause)
            while True:
                try:
                    return attempt()
                except Shortage:
                    if monotonic() >= deadline:
                        raise
                self._wait(_Turn(deadline), first=waited, pause=pause)
                waited, pause = True, min(2 * pause, _LATER)
        finally:
            self.wake()

    def wake(self) -> None:
        """Let the first in line look: a connection may have become free."""
        if self._waiting:
            for turn in self._waiting.copy():
                if turn.counts():
                    _set(turn)
                    return

    def _wait(self, turn: _Turn, first: bool, pause: float) -> None:
        """Wait until a turn may look for a connection."""
        try:
            if first:
                self._waiting.insert(0, turn)
            else:
                self._waiting.append(turn)
            left = turn.deadline - monotonic()
            while left > 0:
                leads = self._leads(turn)
                if turn.woken.acquire(timeout=min(left, pause if leads else _LOOK)) or leads:
                    return
                left = turn.deadline - monotonic()
        finally:
            self._waiting.remove(turn)

    def _leads(self, turn: _Turn) -> bool:
        """Tell whether nobody is ahead of a turn, but for what its signal handler interrupts."""
        waiting = self._waiting.copy()
        ahead = waiting[: waiting.index(turn)]
        return not any(other.counts() and other.thread != turn.thread for other in ahead)


def _set(turn: _Turn) -> None:
    try:
        turn.woken.release()
    except RuntimeError:  # it has been woken already
        return


class TaskTurns:
    """Turns of tasks; those of different loops look beside each other."""

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[Any, deque[asyncio.Future[None]]] = WeakKeyDictionary()
        self._waiting: set[asyncio.Future[None]] = set()  # of all loops: nearly always nobody

    async def get(
        self, attempt: Callable[[], Awaitable[_T]], patience: float, *, urgent: bool = False
    ) -> _T:
        """Return what an attempt returns; see `ThreadTurns.get`."""
        deadline, pause = monotonic() + patience, _SOON
        waited = urgent or bool(self._waiting and self._line())
        try:
            if waited and not urgent:
                await self._wait(deadline, first=False, pause=pause)
            while True:
                try:
                    return await attempt()
                except Shortage:
                    if monotonic() >= deadline:
                        raise
                await self._wait(deadline, first=waited, pause=pause)
                waited, pause = True, min(2 * pause, _LATER)
        finally:
            self.wake()

    def wake(self) -> None:
        """Let the first in the running loop's line look: a connection may have become free."""
        if not self._waiting:
            return
        waiting = self._line()
        if waiting and not waiting[0].done():
            waiting[0].set_result(None)

    def _line(self) -> deque[asyncio.Future[None]]:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines.setdefault(loop, deque())
        return line

    async def _wait(self, deadline: float, first: bool, pause: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._line()
        (waiting.appendleft if first else waiting.append)(turn)
        self._waiting.add(turn)
        try:
            left = deadline - monotonic()
            while left > 0 and not turn.done():
                leads = waiting[0] is turn
                await asyncio.wait([turn], timeout=min(left, pause if leads else _LOOK))
                if leads:
                    return
                left = deadline - monotonic()
        finally:
            waiting.remove(turn)
            self._waiting.discard(turn)


_threads: WeakKeyDictionary[Any, ThreadTurns] = WeakKeyDictionary()
_tasks: WeakKeyDictionary[Any, TaskTurns] = WeakKeyDictionary()


def thread_turns(source: Any) -> ThreadTurns:
    """Return the turns at the connections of a pool, or of a client of a cluster."""
    return _threads.setdefault(source, ThreadTurns())


def task_turns(source: Any) -> TaskTurns:
    """Return the turns of tasks; see `thread_turns`."""
    return _tasks.setdefault(source, TaskTurns())
