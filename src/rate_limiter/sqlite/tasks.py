"""The store for tasks: it answers at once where it can, and else in a thread (P16)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from ..exceptions import BackendError
from ..shared.store import Abandoned, Answer, Question
from ..sleeping import checkpoint, task_sleeper
from .patient import PatientStore

__all__ = ["SQLiteTasks"]

T = TypeVar("T")


class SQLiteTasks:
    """Keeps the buckets of a store for tasks, of asyncio and of trio."""

    __slots__ = ("_store",)

    def __init__(self, store: PatientStore) -> None:
        self._store = store

    async def ask(self, question: Question, abandoned: Abandoned) -> Answer:
        """Return the answer; see `AsyncStore.ask`."""
        await checkpoint()
        answered = self._store.shared.ask_at_once(question)
        if answered is not None:
            return answered
        asking = self._submit(question)
        try:
            await _done(asking)
        except BaseException:
            if not asking.cancel():
                asking.add_done_callback(partial(_hand_over, abandoned))
            raise
        return asking.result()

    async def give_back(self, question: Question) -> None:
        """Ask, whatever becomes of the task; see `AsyncStore.give_back`."""
        asking = self._ask_anyway(question)
        if asking is not None:
            await _done(asking)

    def abandon(self, question: Question) -> None:
        """Ask, and do not wait for the answer; see `AsyncStore.abandon`."""
        self._ask_anyway(question)

    async def aside(self, call: Callable[[], T]) -> T:
        """Return what a blocking call returns; see `ThreadedStore.aside`."""
        calling = self._store.worker().make(call)
        await _done(calling)
        return calling.result()

    def _ask_anyway(self, question: Question) -> Future[Answer] | None:
        """Ask; return what is to come, or None if it is done or has failed."""
        with suppress(BackendError):
            if self._store.shared.ask_at_once(question) is None:
                return self._submit(question)
        return None

    def _submit(self, question: Question) -> Future[Answer]:
        return self._store.worker().make(partial(self._store.ask_in_line, question))


async def _done(call: Future[Any]) -> None:
    """Wait until a call has ended."""
    sleeper = task_sleeper()
    call.add_done_callback(lambda _: sleeper.wake())
    while not call.done():
        await sleeper.sleep(None)


def _hand_over(abandoned: Abandoned, call: Future[Answer]) -> None:
    if call.exception() is None:
        abandoned(call.result())
