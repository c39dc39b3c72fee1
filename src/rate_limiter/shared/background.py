"""Work that goes on when the task that began it is cancelled, and when its loop is about to end.

A task that is cancelled gives back what it has taken. That is a call to a store, which takes a
moment, and neither a second cancellation nor the end of `asyncio.run` may cut it short: the tokens
of a whole crowd would be lost (P11, P40). `asyncio.run` first cancels every task that it knows of,
so this work is not among them; then it closes its asynchronous generators, of which one here waits
for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["PATIENCE", "in_background", "unfinished"]

_T = TypeVar("_T")

PATIENCE: Final = 10.0
"""The most seconds for which the end of a loop waits, if a store has no timeout of its own."""


class _House:
    """What a loop has to finish.

    Attributes:
        tasks: The work; a loop itself keeps only weak references.
        resting: Those of them that rest until the loop ends.
        end: What the end of the loop is held up by; None once that is over, for it keeps the loop
            alive.
    """

    __slots__ = ("end", "resting", "tasks")

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.resting: set[asyncio.Task[Any]] = set()
        self.end: AsyncGenerator[None] | None = self._hold_up()
        _begin(self.end)

    def finish(self, task: asyncio.Task[Any]) -> None:
        """Note that a task is done."""
        self.tasks.discard(task)
        self.resting.discard(task)
        # A task that waits for an error gets it; if none does, nobody is to hear of it.
        _ = task.cancelled() or task.exception()

    async def _hold_up(self) -> AsyncGenerator[None]:
        """Be closed only once the work is done, or has had its time."""
        try:
            yield
        finally:
            await asyncio.sleep(0)  # what has just begun is to come to its rest
            for task in self.resting:
                task.cancel()
            deadline = monotonic() + PATIENCE
            while self.tasks and (left := deadline - monotonic()) > 0:
                await asyncio.wait(self.tasks, timeout=left)
            for task in self.tasks:
                task.cancel()
            self.end = None


_houses: WeakKeyDictionary[asyncio.AbstractEventLoop, _House] = WeakKeyDictionary()


def in_background(work: Coroutine[Any, Any, _T], *, rests: bool = False) -> asyncio.Task[_T]:
    """Run something to its end, whatever is cancelled meanwhile; await it by `asyncio.shield`.

    Args:
        work: What to do.
        rests: Whether it sleeps until there is something to do. The end of a loop does not wait for
            that, but cancels it, and waits for what it does then.
    """
    loop = asyncio.get_running_loop()
    house = _houses.get(loop)
    if house is None:
        _forget_closed()
        house = _houses[loop] = _House()
    task = loop.create_task(work)
    asyncio._unregister_task(task)
    house.tasks.add(task)
    if rests:
        house.resting.add(task)
    task.add_done_callback(house.finish)
    return task


def unfinished() -> set[asyncio.Task[Any]]:
    """Return what the running loop has yet to finish."""
    house = _houses.get(asyncio.get_running_loop())
    return set() if house is None else set(house.tasks)


def _forget_closed() -> None:
    """Forget loops that were closed without an end: what would hold that up keeps them alive."""
    for reference in _houses.keyrefs():
        loop = reference()
        if loop is not None and loop.is_closed():
            _houses.pop(loop, None)


def _begin(end: AsyncGenerator[None]) -> None:
    """Make a loop aware of a generator, which it is when that first runs."""
    try:
        end.asend(None).send(None)
    except StopIteration:  # it has come to its `yield`
        return
