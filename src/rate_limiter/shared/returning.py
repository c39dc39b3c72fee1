"""Gives back what is left of leases when their time is over, whoever calls meanwhile.

A thread for each clock does it for buckets of threads, and a task for each lease for those of
tasks. What could not be given back runs out by itself: it was charged, and comes back at the rate.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import os
from asyncio import shield
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from weakref import WeakSet, ref

from ..clock import Clock
from ..exceptions import BackendError
from ..sleeping import ThreadSleeper, task_sleeper
from .background import in_background

__all__ = ["give_back_now", "return_in_task", "return_in_thread"]

_leased: WeakSet[Any] = WeakSet()  # buckets of threads, for the end of the process
_returners: dict[Any, _Returner] = {}


def return_in_thread(bucket: Any, until: int) -> None:
    """Have what is left of a bucket's lease given back at the nanosecond `until`.

    Leases follow each other quickly: who looks at the first of them looks at the others then.
    """
    if bucket._held.watched:
        return
    bucket._held.watched = True
    _leased.add(bucket)
    key = os.getpid(), id(bucket._clock)
    returner = _returners.get(key)
    if returner is None:
        returner = _returners.setdefault(key, _Returner(bucket._clock))
    returner.add(bucket, until)


async def return_in_task(bucket: Any, until: int) -> None:
    """Give back what is left of a lease at the nanosecond `until`, or when the loop ends."""
    sleeper = task_sleeper()
    try:
        while bucket._now() < until:
            await bucket._clock.sleep_async(sleeper, until)
    finally:
        question = bucket._returning(until)
        if question is not None:
            # The end of the loop cancels this sleep; what it does then is not to be cut short.
            await shield(in_background(bucket._async_store.give_back(question)))


class _Returner:
    """The thread that gives back leases which go by one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._news: SimpleQueue[tuple[int, Any]] = SimpleQueue()  # whose `put` any handler may call
        self._sleeper: ThreadSleeper | None = None
        self._order = itertools.count()
        Thread(target=self._run, name="rate_limiter leases", daemon=True).start()

    def add(self, bucket: Any, until: int) -> None:
        """Have a bucket's lease given back at `until`."""
        self._news.put((until, ref(bucket)))
        if self._sleeper is not None:
            self._sleeper.wake()

    def _run(self) -> None:
        leases: list[tuple[int, int, Any]] = []
        while True:
            self._sleeper = ThreadSleeper()
            self._collect(leases, wait=not leases)
            if leases and leases[0][0] > self._clock.now():
                self._clock.sleep(self._sleeper, leases[0][0])
            while leases and leases[0][0] <= self._clock.now():
                until, _, bucket = heapq.heappop(leases)
                self._look_at(bucket(), until)

    def _look_at(self, bucket: Any, until: int) -> None:
        """Give back what is left of a lease that is over, or look again when its successor is."""
        if bucket is None:
            return
        held = bucket._held
        held.watched = False  # before the look, so that a lease that follows is not missed
        _give_back(bucket, until)
        if held.until > until:
            return_in_thread(bucket, held.until)

    def _collect(self, leases: list[tuple[int, int, Any]], wait: bool) -> None:
        """Take in what is new; wait for it if there is nothing else to do."""
        with suppress(Empty):
            while True:
                until, bucket = self._news.get(block=wait)
                heapq.heappush(leases, (until, next(self._order), bucket))
                wait = False


def give_back_now(bucket: Any) -> None:
    """Give back what is left of a bucket's lease."""
    _give_back(bucket, None)


def _give_back(bucket: Any, until: int | None) -> None:
    question = bucket._returning(until)
    if question is not None:
        with suppress(BackendError):
            bucket._store.ask(question)


@atexit.register
def _give_all_back() -> None:
    """Give back what the process holds when it ends in the ordinary way."""
    for bucket in list(_leased):
        _give_back(bucket, None)
