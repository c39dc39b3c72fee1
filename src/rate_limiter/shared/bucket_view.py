"""What the flows of a shared bucket, and what gives its leases back, use of that bucket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from ..admission import Paid, Payer, Tokens
from ..clock import Clock
from ..exceptions import BackendError
from ..level import Levels
from .fallback import Understudy
from .holding import Held
from .limits import Limits
from .store import Answer, AsyncStore, Charges, Question, Store

__all__ = ["BucketView", "TaskView", "ThreadView", "held_by"]


class BucketView(Payer, Protocol):
    """A bucket for threads or for tasks; `SharedBucket` says what its methods do."""

    _clock: Clock
    _fallback: Understudy | None
    _held: Held | None
    _now: Callable[[], int]
    _source: Any

    @property
    def _limits(self) -> Limits: ...
    @property
    def _not_yet(self) -> Callable[..., Exception]: ...
    def _charges(self, tokens: Tokens, block: bool) -> Charges: ...
    def _forget_refusal(self) -> None: ...
    def _given_now(self) -> int | None: ...
    def _heed_outage(self) -> None: ...
    def _instant(self, question: Question) -> int: ...
    def _instead(self, error: BackendError) -> Understudy: ...
    def _levels(self, after: Any) -> Levels: ...
    def _note_answer(self, question: Question, answer: Answer) -> None: ...
    def _note_failure(self, error: BaseException) -> None: ...
    def _over(self, *, early: bool = False) -> list[Question]: ...
    def _return_later(self, until: int) -> None: ...
    def _uses(self, actual: Tokens, taken: Tokens) -> Paid: ...


class ThreadView(BucketView, Protocol):
    """A bucket whose store is asked by blocking."""

    @property
    def _store(self) -> Store: ...


class TaskView(BucketView, Protocol):
    """A bucket whose store is asked from asyncio tasks."""

    @property
    def _async_store(self) -> AsyncStore: ...


def held_by(bucket: BucketView) -> Held:
    """Return what a process holds of a bucket that has a lease."""
    return cast(Held, bucket._held)
