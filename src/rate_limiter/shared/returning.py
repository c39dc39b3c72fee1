"""Gives back what is left of leases when their time is over, even if no call comes.

A thread for each client does it for buckets of threads, so that a server that hangs holds up its
own buckets alone, and a task for each bucket for those of tasks. They hold the bucket: whoever
drops it has no use for what it holds, but others have. What could not be given back runs out by
itself: it was charged, and comes back at the rate.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import os
from asyncio import CancelledError, get_running_loop, shield
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, TypeAlias

from ..sleeping import ThreadSleeper, running_loop, task_sleeper
from .background import in_background
from .bucket_view import TaskView, ThreadView, held_by
from .failures import NoAnswer

__all__ = [
    "give_back",
    "give_back_async",
    "return_by_task",
    "return_by_thread",
    "return_now",
    "return_now_async",
]

_PATIENCE = 2.0  # seconds that the end of a process waits for its leases
_Item: TypeAlias = tuple[int, int, ThreadView, bool]
"""When to look, what orders those of one instant, the bucket, and whether to look again later."""

_returners: dict[Any, _Returner] = {}


def return_by_thread(bucket: ThreadView, until: int) -> None:
    """Have a thread give back what is left of a bucket's lease at the nanosecond `until`.

    Leases follow each other quickly: one look at the first finds those that came after it.
    """
    held = held_by(bucket)
    if held.watched:
        return
    held.watched = True
    if not _look_later(bucket, until, follows=True):
        held.watched = False


def return_now(bucket: ThreadView) -> None:
    """Have a thread give back at once what is not to be spent any more."""
    _look_later(bucket, bucket._now(), follows=False)


def _look_later(bucket: ThreadView, when: int, *, follows: bool) -> bool:
    """Have a thread look at a bucket; return False if there can be none: what is held runs out."""
    key = os.getpid(), id(bucket._source), id(bucket._clock)
    while True:
        returner = _returners.get(key)
        if returner is None:
            made = _Returner(key, bucket)
            returner = _returners.setdefault(key, made)
            if returner is made:
                made.add(bucket, when, follows=follows)  # before it begins, or it would end at once
                return made.start()
        if returner.add(bucket, when, follows=follows):
            return True


class _Returner:
    """The thread that gives back the leases of one client, by one clock; it ends with the last."""

    def __init__(self, key: Any, bucket: ThreadView) -> None:
        self._key = key
        self._clock = bucket._clock
        self._source = bucket._source  # so that the key means no other one
        self._news: SimpleQueue[_Item | Event] = SimpleQueue()  # whose `put` any handler may call
        self._sleeper: ThreadSleeper | None = None
        self._order = itertools.count()

    def start(self) -> bool:
        """Begin, and tell whether there is a thread: not at the end of a process."""
        try:
            Thread(target=self._run, name="rate_limiter leases", daemon=True).start()
        except RuntimeError:
            self._leave()
            return False
        return True

    def add(self, bucket: ThreadView, when: int, *, follows: bool) -> bool:
        """Have it look at a bucket; return False if it may have ended meanwhile."""
        return self._tell((when, next(self._order), bucket, follows))

    def give_all_back(self) -> Event:
        """Have it give everything back now; return what is set when that is done."""
        done = Event()
        if not self._tell(done):
            done.set()
        return done

    def _tell(self, news: _Item | Event) -> bool:
        self._news.put(news)
        if self._sleeper is not None:
            self._sleeper.wake()
        return _returners.get(self._key) is self

    def _leave(self) -> None:
        """Let another one take its place; a caller of `_tell` sees that."""
        if _returners.get(self._key) is self:
            del _returners[self._key]

    def _run(self) -> None:
        leases: list[_Item] = []
        try:
            while True:
                self._serve(leases)
                self._leave()
                if self._news.empty():
                    return
        finally:
            self._leave()
            for _, _, bucket, _ in leases:  # a clock of the user's has failed
                held_by(bucket).watched = False

    def _serve(self, leases: list[_Item]) -> None:
        """Give leases back as their time comes, until there is none."""
        while True:
            self._sleeper = ThreadSleeper()
            self._collect(leases)
            if not leases:
                return
            if leases[0][0] > self._clock.now():
                self._clock.sleep(self._sleeper, leases[0][0])
            while leases and leases[0][0] <= self._clock.now():
                _look_at(heapq.heappop(leases))

    def _collect(self, leases: list[_Item]) -> None:
        """Take in what is new."""
        with suppress(Empty):
            while True:
                news = self._news.get_nowait()
                if isinstance(news, Event):
                    _give_each_back(leases)
                    news.set()
                else:
                    heapq.heappush(leases, news)


def _look_at(item: _Item) -> None:
    """Give back what is over of a bucket, and look again when the lease that follows is."""
    _, _, bucket, follows = item
    held = held_by(bucket)
    if follows:
        held.watched = False  # before the look, so that a lease that follows is not missed
    with suppress(Exception):  # whatever a client raises
        give_back(bucket, early=False)
    if follows and (until := held.holding.until) > bucket._now():
        return_by_thread(bucket, until)


def _give_each_back(leases: list[_Item]) -> None:
    for _, _, bucket, _ in leases:
        try:
            give_back(bucket, early=True)
        except NoAnswer:  # nor would the next one get any
            return
        except Exception:  # noqa: BLE001, S112 - whatever a client raises
            continue


def give_back(bucket: ThreadView, *, early: bool) -> None:
    """Give back what is over, or all that a bucket holds.

    Raises:
        BackendError: It failed.
    """
    for question in bucket._over(early=early):
        bucket._store.ask(question)


@atexit.register
def _give_all_back() -> None:
    """Give back what the process holds when it ends in the ordinary way."""
    own = [returner for key, returner in list(_returners.items()) if key[0] == os.getpid()]
    deadline = monotonic() + _PATIENCE
    for done in [returner.give_all_back() for returner in own]:
        done.wait(max(deadline - monotonic(), 0))


def return_by_task(bucket: TaskView) -> None:
    """Have a task give back what is left of leases when their time is over, or the loop ends."""
    loops, loop = held_by(bucket).loops, get_running_loop()
    if loop not in loops:
        loops.add(loop)
        in_background(_look_in_time(bucket, loop), rests=True)


async def _look_in_time(bucket: TaskView, loop: Any) -> None:
    held, sleeper, early = held_by(bucket), task_sleeper(), False
    try:
        while (until := held.holding.until) > bucket._now():
            await bucket._clock.sleep_async(sleeper, until)
    except CancelledError:  # by the end of the loop
        early = True
    finally:
        held.loops.discard(loop)
    await give_back_async(bucket, early=early)


async def give_back_async(bucket: TaskView, *, early: bool) -> None:
    """Do as `give_back` from a task; what fails runs out by itself."""
    for question in bucket._over(early=early):
        await shield(in_background(bucket._async_store.give_back(question)))


def return_now_async(bucket: TaskView) -> None:
    """Have a task give back at once what is not to be spent any more; else the next call does."""
    if running_loop():
        in_background(give_back_async(bucket, early=False))
