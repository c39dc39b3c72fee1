"""What a flow asks for, and the two ways to give it: by blocking, and by awaiting.

A flow is a generator that yields what it needs, and is sent what came of it. So each is written
once, and serves threads and tasks alike.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from ..admission import Tokens
from ..clock import seconds
from ..exceptions import BackendError
from ..rates import Number
from ..sleeping import ThreadSleeper, running_loop, task_sleeper, warn_of_blocking
from ..source import Source
from .bucket_view import TaskView, ThreadView
from .fallback import Understudy
from .limits import restated
from .store import Answer, Question, undoing

__all__ = ["Admit", "Flow", "GiveBack", "Sleep", "run", "run_async"]

T = TypeVar("T")
Flow: TypeAlias = Generator[Any, Any, T]
"""Yields questions and what stands below, and returns what the call returns."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sleep until an instant of the bucket's clock, in nanoseconds."""

    until: int


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Ask a question whose answer nobody waits for; what fails runs out by itself."""

    question: Question


@dataclass(frozen=True, slots=True)
class Admit:
    """Leave the admission to what stands in for the store."""

    understudy: Understudy
    tokens: Tokens
    block: bool
    timeout: Number | None
    source: Source | None


def run(flow: Flow[T], bucket: ThreadView) -> T:
    """Return what a flow returns, and block this thread meanwhile."""
    try:
        need = next(flow)
        while True:
            try:
                given = bucket._store.ask(need) if type(need) is Question else _give(need, bucket)
            except BaseException as error:  # noqa: BLE001 - it is the flow's
                need = flow.throw(error)
            else:
                need = flow.send(given)
    except StopIteration as end:
        result: T = end.value
        return result


def _give(need: Any, bucket: ThreadView) -> Any:
    if isinstance(need, Sleep):
        _sleep(need, bucket)
        return None
    if isinstance(need, GiveBack):
        with suppress(BackendError):
            bucket._store.ask(need.question)
        return None
    return need.understudy._admit(need.tokens, need.block, need.timeout, need.source)


def _sleep(need: Sleep, bucket: ThreadView) -> None:
    if running_loop():
        warn_of_blocking(seconds(max(need.until - bucket._now(), 0)))
    sleeper = ThreadSleeper()
    while bucket._now() < need.until:
        bucket._clock.sleep(sleeper, need.until)


async def run_async(flow: Flow[T], bucket: TaskView) -> T:
    """Return what a flow returns, and suspend this task meanwhile."""
    try:
        need = next(flow)
        while True:
            try:
                if type(need) is Question:
                    abandoned = partial(_abandon, bucket, need)
                    given: Any = await bucket._async_store.ask(need, abandoned)
                else:
                    given = await _give_async(need, bucket)
            except GeneratorExit:  # the loop is gone, so nothing could answer
                flow.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the flow's
                need = flow.throw(error)
            else:
                need = flow.send(given)
    except StopIteration as end:
        result: T = end.value
        return result


async def _give_async(need: Any, bucket: TaskView) -> Any:
    if isinstance(need, Sleep):
        sleeper = task_sleeper()
        while bucket._now() < need.until:
            await bucket._clock.sleep_async(sleeper, need.until)
        return None
    if isinstance(need, GiveBack):
        await bucket._async_store.give_back(need.question)
        return None
    admit = need.understudy._admit_async
    return await admit(need.tokens, need.block, need.timeout, need.source)


def _abandon(bucket: TaskView, question: Question, answer: Answer) -> None:
    """Give back what a task got that was cancelled before it heard of it."""
    undo = undoing(question, answer)
    if undo is not None:
        undo = undo._replace(charges=restated(bucket._limits, undo.charges))
        bucket._async_store.abandon(undo)
