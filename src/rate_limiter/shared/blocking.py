"""Shared buckets for threads; and for tasks as well, if their store serves both."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn, cast

from ..admission import Admission, Receipt, Tokens, copied
from ..bucket import Bucket, Reservation
from ..clock import Clock
from ..level import Level, scarcest
from ..rates import Number
from ..source import Source
from .base import SharedBucket
from .bucket_view import TaskView
from .corrections import giving_back, settling
from .fallback import Understudy
from .flows import (
    admitting,
    allowing,
    changing,
    looking,
    reserving,
    telling_when,
)
from .limits import Limits
from .reservation import SharedReservation
from .returning import return_by_thread, return_now
from .running import run, run_async
from .store import Store, ThreadedStore
from .taken import Grant

__all__ = ["BlockingBucket"]


class BlockingBucket(SharedBucket, Bucket):
    """A bucket in a store that is asked by blocking.

    Args:
        store: The store.
        async_store: The same store for tasks; None if it has no such side.
        source, limits, fallback, clock: See `SharedBucket`.
    """

    __slots__ = ("_async_store", "_store")

    def __init__(
        self,
        store: Store,
        async_store: ThreadedStore | None,
        source: Any,
        limits: Limits,
        *,
        fallback: Understudy | None,
        clock: Clock | None,
    ) -> None:
        self._store = store
        self._async_store = async_store
        super().__init__(source, limits, fallback=fallback, clock=clock)

    def allow(self, tokens: Tokens = 1) -> bool:
        if self._held is not None:
            decided = self._held.decide(tokens)
            if decided is not None:
                return decided is True
        return run(allowing(self, tokens), self)

    def _return_later(self, until: int) -> None:
        return_by_thread(self, until)

    def _return_now(self) -> None:
        return_now(self)

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        self._admit(tokens, block=True, timeout=timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        await self._admit_async(tokens, block=True, timeout=timeout)

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        tokens = copied(tokens)
        reserved = run(reserving(self, tokens, timeout), self)
        if isinstance(reserved, Grant):
            return SharedReservation(self, reserved, tokens)
        local: Reservation = reserved
        return local

    def refund(self, tokens: Tokens) -> None:
        charges = [(limit, -units) for limit, units in self._limits.charges(tokens)]
        run(changing(self, "correct", charges, 0, lambda local: local.refund(tokens)), self)

    def pause(self, seconds: Number) -> None:
        run(self._pausing(seconds), self)

    async def pause_async(self, seconds: Number) -> None:
        if self._async_store is None:
            self.pause(seconds)
        else:
            await run_async(self._pausing(seconds), self._for_tasks())

    def resume(self) -> None:
        run(self._resuming(), self)

    def retry_after(self, tokens: Tokens = 1) -> float:
        return run(telling_when(self, tokens), self)

    @property
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; asks the store."""
        return self.level.available_tokens

    @property
    def level(self) -> Level:
        """What the bucket is like right now; asks the store."""
        levels = run(looking(self, self._local_levels), self)
        return scarcest(list(levels.values()))

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        return run(admitting(self, tokens, block, timeout, source), self)

    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        return await run_async(admitting(self, tokens, block, timeout, source), self._for_tasks())

    def _for_tasks(self) -> TaskView:
        """Return itself, if its store serves tasks as well."""
        if self._async_store is None:
            self._refuse_tasks()
        return cast(TaskView, self)

    def _refuse_tasks(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} would block the event loop")

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        used = self._uses(actual, receipt._tokens)
        payment = self._payment_of(receipt)
        if payment is None:
            return False
        # On one line, for an interrupt that comes on leaving a `with` block's line keeps the lock.
        with payment.thread_turn(): return run(settling(self, receipt, payment, used), self)  # fmt: skip  # noqa: E501, E701

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        if self._async_store is None:
            return self._settle(receipt, actual)
        # In a thread, as a turn that a task kept while it is suspended would not keep out the
        # other calls of its own thread.
        return await self._async_store.aside(partial(self._settle, receipt, actual))

    def _give_back(self, receipt: Receipt) -> None:
        payment = self._payment_of(receipt)
        if payment is not None:
            with payment.thread_turn(): run(giving_back(self, receipt, payment), self)  # fmt: skip  # noqa: E701 - as above

    async def _give_back_async(self, receipt: Receipt) -> None:
        if self._async_store is None:
            self._give_back(receipt)
        else:
            await self._async_store.aside(partial(self._give_back, receipt))

    def _reset(self) -> None:
        run(self._resetting(), self)
