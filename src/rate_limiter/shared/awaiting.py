"""Shared buckets for asyncio, whose answers are awaited."""

from __future__ import annotations

from asyncio import shield
from collections.abc import Awaitable
from typing import Any, NoReturn

from ..admission import Admission, Receipt, Tokens, copied
from ..bucket import AsyncBucket, AsyncReservation
from ..clock import Clock
from ..level import Level, scarcest
from ..rates import Number
from ..source import Source
from .awaited import answering
from .background import in_background
from .base import SharedBucket
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
from .payment import Payment
from .reservation import AwaitedReservation, LocalReservation
from .returning import return_by_task, return_now_async
from .running import Flow, run_async
from .store import AsyncStore
from .taken import Grant

__all__ = ["AwaitingBucket"]


class AwaitingBucket(SharedBucket, AsyncBucket):
    """A bucket in a store that is asked from asyncio tasks.

    Args:
        async_store: The store.
        source, limits, fallback, clock: See `SharedBucket`.
    """

    __slots__ = ("_async_store",)

    def __init__(
        self,
        async_store: AsyncStore,
        source: Any,
        limits: Limits,
        *,
        fallback: Understudy | None,
        clock: Clock | None,
    ) -> None:
        self._async_store = async_store
        super().__init__(source, limits, fallback=fallback, clock=clock)

    @answering
    async def allow(self, tokens: Tokens = 1) -> bool:
        if self._held is not None:
            decided = self._held.decide(tokens)
            if decided is not None:
                return decided is True
        return await run_async(allowing(self, tokens), self)

    def _return_later(self, until: int) -> None:
        return_by_task(self)

    def _return_now(self) -> None:
        return_now_async(self)

    @answering
    async def try_consume(self, tokens: Tokens = 1) -> bool:
        return await self.allow(tokens)

    async def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        await self._admit_async(tokens, block=True, timeout=timeout)

    async def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> AsyncReservation:
        tokens = copied(tokens)
        reserved = await run_async(reserving(self, tokens, timeout), self)
        if isinstance(reserved, Grant):
            return AwaitedReservation(self, reserved, tokens)
        return LocalReservation(reserved)

    async def refund(self, tokens: Tokens) -> None:
        charges = [(limit, -units) for limit, units in self._limits.charges(tokens)]
        await run_async(
            changing(self, "correct", charges, 0, lambda local: local.refund(tokens)), self
        )

    async def pause(self, seconds: Number) -> None:
        await run_async(self._pausing(seconds), self)

    async def resume(self) -> None:
        await run_async(self._resuming(), self)

    async def retry_after(self, tokens: Tokens = 1) -> float:
        return await run_async(telling_when(self, tokens), self)

    @property
    def available_tokens(self) -> Awaitable[float]:
        """What could be taken right now, in tokens: `await bucket.available_tokens`."""
        return self._available()

    async def _available(self) -> float:
        return (await self.level).available_tokens

    @property
    def level(self) -> Awaitable[Level]:
        """What the bucket is like right now: `await bucket.level`."""
        return self._level()

    async def _level(self) -> Level:
        levels = await run_async(looking(self, self._local_levels), self)
        return scarcest(list(levels.values()))

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} answers only in asyncio tasks: use 'async with', 'await' or "
            "a coroutine function, or RedisTokenBucket with a redis.Redis client"
        )

    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        return await run_async(admitting(self, tokens, block, timeout, source), self)

    def _settle(self, receipt: Receipt, actual: Tokens) -> NoReturn:
        self._admit(1, block=False, timeout=None)

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        used = self._uses(actual, receipt._tokens)
        payment = self._payment_of(receipt)
        if payment is None:
            return False
        settled: bool = await self._in_turn(payment, settling(self, receipt, payment, used))
        return settled

    def _give_back(self, receipt: Receipt) -> NoReturn:
        self._admit(1, block=False, timeout=None)

    async def _give_back_async(self, receipt: Receipt) -> None:
        payment = self._payment_of(receipt)
        if payment is not None:
            await self._in_turn(payment, giving_back(self, receipt, payment))

    async def _in_turn(self, payment: Payment, correction: Flow[Any]) -> Any:
        """Run a correction when it has its turn.

        It runs in the background, so that a cancelled caller leaves no doubt about what was paid.
        """
        return await shield(in_background(self._run_in_turn(payment, correction)))

    async def _run_in_turn(self, payment: Payment, correction: Flow[Any]) -> Any:
        async with payment.task_turn():
            return await run_async(correction, self)

    def _reset(self) -> Awaitable[None]:
        return run_async(self._resetting(), self)
