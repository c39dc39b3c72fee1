"""Who stands in line: threads and tasks that sleep, and reservations."""

from __future__ import annotations

import asyncio
import time
from threading import Thread

from .clockwork import Clockwork

__all__ = ["ASLEEP", "SERVED", "LineOfReservations", "LineOfTasks", "LineOfThreads"]

ASLEEP = "asleep"
SERVED = "served"
PATIENCE = 2.0  # seconds in which a thread that has been woken comes to run


class LineOfThreads:
    """Threads that sleep in a bucket, each of which came after the one before it."""

    def __init__(self, clock: Clockwork) -> None:
        self._clock = clock
        self._threads: list[Thread] = []
        self.fates: list[str] = []

    def join(self, bucket, cost: float) -> None:
        place = len(self._threads)
        self.fates.append(ASLEEP)
        thread = Thread(target=self._wait, args=(place, bucket, cost), daemon=True)
        self._threads.append(thread)
        thread.start()
        self._clock.wait_for_sleepers(len(self._threads))

    def _wait(self, place: int, bucket, cost: float) -> None:
        try:
            bucket.wait(cost)
        except BaseException as error:  # noqa: BLE001 - it is what the judge wants to know
            self.fates[place] = type(error).__name__
        else:
            self.fates[place] = SERVED

    def let_run(self) -> None:
        """Wait until each thread has ended or is asleep, as far as anyone can tell."""
        end = time.monotonic() + PATIENCE
        while self._awake() and time.monotonic() < end:
            time.sleep(0.0001)

    def _awake(self) -> int:
        return sum(thread.is_alive() for thread in self._threads) - self._clock.sleepers

    def end(self) -> None:
        """Wait for those whose time has come."""
        end = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))


class LineOfTasks:
    """Tasks of a loop that runs only when it is told to, in the thread of the operation."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: list[asyncio.Task] = []

    def join(self, bucket, cost: float) -> None:
        self._tasks.append(self._loop.create_task(bucket.wait_async(cost)))
        self.let_run()

    def let_run(self) -> None:
        if not self._loop.is_running():
            self._loop.run_until_complete(_turns())

    def end(self) -> None:
        """Let them run until all could have gone, and give up those that have not."""
        for _ in self._tasks:
            self.let_run()
        self.fates = [_fate(task) for task in self._tasks]
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))


class LineOfReservations:
    """Tokens that are taken for later, with nobody asleep."""

    def __init__(self) -> None:
        self.reservations = []

    def join(self, bucket, cost: float) -> None:
        self.reservations.append(bucket.reserve(cost))

    def let_run(self) -> None:
        """Nobody has to do anything when time passes."""

    def end(self) -> None:
        self.fates = [ASLEEP if held.delay else SERVED for held in self.reservations]


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _fate(task: asyncio.Task) -> str:
    if not task.done():
        return ASLEEP
    if task.cancelled():
        return "CancelledError"
    error = task.exception()
    return SERVED if error is None else type(error).__name__
