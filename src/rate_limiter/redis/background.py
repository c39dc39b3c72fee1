"""Work that goes on when the task that began it is cancelled."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Lock, Task, ensure_future, get_running_loop
from collections.abc import Coroutine
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["in_background", "one_at_a_time", "unfinished"]

unfinished: set[Task[Any]] = set()  # an event loop keeps only weak references


_turns: WeakKeyDictionary[AbstractEventLoop, Lock] = WeakKeyDictionary()


def one_at_a_time() -> Lock:
    """Return the lock that gives the tasks of the running loop their turns."""
    return _turns.setdefault(get_running_loop(), Lock())


def in_background(work: Coroutine[Any, Any, Any]) -> Task[Any]:
    """Run something to its end, whoever is cancelled meanwhile."""
    task = ensure_future(work)
    unfinished.add(task)
    task.add_done_callback(_finish)
    return task


def _finish(task: Task[Any]) -> None:
    unfinished.discard(task)
    # Whoever waits for an error gets it; if nobody does, nobody is to hear of it.
    _ = task.cancelled() or task.exception()
