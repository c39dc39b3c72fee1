"""A clock on which the operation under test never sleeps, while everybody else does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

from rate_limiter.testing import ManualClock

set_nomemory = None
remove_mem_hooks = int
if sys.version_info < (3, 12):  # a failed allocation ends later interpreters themselves
    with suppress(ImportError):  # an interpreter without its own test module
        from _testcapi import remove_mem_hooks, set_nomemory

__all__ = ["OPERATION", "Clockwork", "StuckError", "remove_mem_hooks", "set_nomemory"]

OPERATION = "operation"  # the name of the task of an operation that is awaited
STEP = 3  # seconds that pass whenever the operation sleeps
LONGEST = 120  # seconds within which everybody's time comes, many times over


class StuckError(Exception):
    """An operation went on sleeping when its time had come."""


class Clockwork(ManualClock):
    """Stand still, but for the thread that made it: where that sleeps, time passes.

    The sleep may be shorter than asked for. A bucket looks again then, and sleeps the rest (P17).
    """

    def __init__(self) -> None:
        super().__init__(start=9)
        self.sleeps = 0  # of the operation
        self.passing = False
        self.on_sleep: Callable[[int], object] = int
        self.let_others_run: Callable[[], object] = int
        self._operator = get_ident()

    def sleep(self, *args) -> None:
        if get_ident() != self._operator:
            super().sleep(*args)
            return
        self._pass_time()
        self.passing = True
        self.let_others_run()
        self.passing = False

    async def sleep_async(self, *args) -> None:
        task = asyncio.current_task()
        if task is None or task.get_name() != OPERATION:
            await super().sleep_async(*args)
            return
        self._pass_time()
        for _ in range(5):
            await asyncio.sleep(0)

    def _pass_time(self) -> None:
        if self.elapsed > LONGEST:
            raise StuckError
        remove_mem_hooks()
        self.passing = True  # what comes in between while this clock moves is not the subject
        self.sleeps += 1
        self.on_sleep(self.sleeps)
        self.advance(STEP)
        self.passing = False
