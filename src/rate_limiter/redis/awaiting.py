"""Buckets on a server for asyncio: one call, one round trip, one sleep."""

from __future__ import annotations

import math
from asyncio import shield
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from functools import partial
from typing import Any, NoReturn

from ..bucket import (
    REFUNDED,
    Admission,
    AsyncBucket,
    AsyncReservation,
    Paid,
    Receipt,
    Reservation,
    Tokens,
    copied,
)
from ..clock import seconds
from ..exceptions import BackendError
from ..rates import Number
from ..sleeping import task_sleeper
from .answer import answering
from .awaiting_wire import async_wire
from .background import in_background, one_at_a_time
from .base import Grant, Limits, RedisBucket, Reserved, fit
from .fallback import Understudy
from .payment import Payment
from .script import Charges, Request, request

__all__ = ["AwaitingRedisBucket"]


def _forget(_: Any) -> None:
    """Make nothing of a reply that comes too late."""


class AwaitingRedisBucket(RedisBucket, AsyncBucket):
    """A bucket on a server that is asked from asyncio tasks."""

    __slots__ = ("_wire",)

    def __init__(self, client: Any, limits: Limits, fallback: Understudy | None) -> None:
        self._wire = async_wire(client)
        super().__init__(client, limits, fallback)

    @answering
    async def allow(self, tokens: Tokens = 1) -> bool:
        charges = self._limits.charges(tokens)
        if not fit(charges):
            return False
        try:
            return bool(await self._take(charges, request(b"take", charges)) == 0)
        except BackendError as error:
            return self._instead(error).allow(tokens)

    @answering
    async def try_consume(self, tokens: Tokens = 1) -> bool:
        return await self.allow(tokens)

    async def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        await self._admit_async(tokens, block=True, timeout=timeout)

    async def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> AsyncReservation:
        tokens = copied(tokens)
        charges, asking = self._asking(tokens, block=True, timeout=timeout)
        try:
            reply = await self._take(charges, asking)
        except BackendError as error:
            return _LocalReservation(self._instead(error).reserve(tokens, timeout))
        grant = self._granted(charges, reply, tokens, block=True, timeout=timeout)
        return _RedisReservation(self, grant, tokens)

    async def refund(self, tokens: Tokens) -> None:
        asking = self._refunding(tokens)
        try:
            await self._ask(asking)
        except BackendError as error:
            self._instead(error).refund(tokens)

    async def pause(self, seconds: Number) -> None:
        asking = self._pausing(seconds)
        try:
            await self._ask(asking)
        except BackendError as error:
            self._instead(error).pause(seconds)

    async def retry_after(self, tokens: Tokens = 1) -> float:
        charges = self._limits.charges(tokens)
        if not fit(charges):
            return math.inf
        try:
            return seconds(await self._ask(request(b"take", charges, -1)) * 1_000)
        except BackendError as error:
            return self._instead(error).retry_after(tokens)

    @property
    def available_tokens(self) -> Awaitable[float]:
        """What could be taken right now, in tokens: `await bucket.available_tokens`."""
        return self._available()

    async def _available(self) -> float:
        try:
            return self._available_of(await self._ask(request(b"level", self._limits.everything())))
        except BackendError as error:
            return self._instead(error).available_tokens

    def _admit(self, tokens: Tokens, block: bool, timeout: Number | None) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} answers only in asyncio tasks: use 'async with', 'await' or "
            "a coroutine function, or RedisTokenBucket with a redis.Redis client"
        )

    async def _admit_async(self, tokens: Tokens, block: bool, timeout: Number | None) -> Admission:
        asked = self._now()
        charges, asking = self._asking(tokens, block, timeout)
        try:
            reply = await self._take(charges, asking)
        except BackendError as error:
            return await self._instead(error)._admit_async(tokens, block, timeout)
        grant = self._granted(charges, reply, tokens, block, timeout)
        if not grant.tickets:
            return 0.0, self, None
        await self._sleep(grant)
        return seconds(self._now() - asked), self, None

    def _settle(self, receipt: Receipt, actual: Tokens) -> NoReturn:
        self._admit(1, block=False, timeout=None)

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        used = self._uses(actual, receipt._tokens)
        payment = self._payment_of(receipt)
        if payment is None:
            return False
        return await shield(in_background(self._settle_in_turn(receipt, payment, used)))

    async def _settle_in_turn(self, receipt: Receipt, payment: Payment, used: Paid) -> bool:
        async with payment.task_turn():
            if receipt._paid is REFUNDED:
                return False
            await self._correct(payment, used)
            return True

    def _give_back(self, receipt: Receipt) -> NoReturn:
        self._admit(1, block=False, timeout=None)

    async def _give_back_async(self, receipt: Receipt) -> None:
        payment = self._payment_of(receipt)
        if payment is not None:
            await shield(in_background(self._give_back_in_turn(receipt, payment)))

    async def _give_back_in_turn(self, receipt: Receipt, payment: Payment) -> None:
        async with payment.task_turn():
            if receipt._paid is REFUNDED:
                return
            receipt._paid = REFUNDED
            try:
                await self._correct(payment, dict.fromkeys(payment, Fraction(0)))
            except BaseException:
                receipt._paid = payment  # it may be tried again
                raise

    async def _correct(self, payment: Payment, used: Paid) -> None:
        """Charge the difference, or give it back; whoever calls has the turn.

        It runs in the background, so that a cancelled caller leaves no doubt about what was paid.
        """
        correction = self._correcting(payment, used)
        if correction is not None:
            asking, moves = correction
            try:
                await self._ask(asking)
            except BaseException as error:  # noqa: BLE001 - raised again
                self._note_uncorrected(error, payment, used)
                return
            payment.note(moves)
        payment.update(used)

    async def _sleep(self, grant: Grant) -> None:
        """Sleep until the tokens are there; who is cancelled gives them back."""
        sleeper = task_sleeper()
        try:
            while self._now() < grant.due:
                await self._clock.sleep_async(sleeper, grant.due)
        except GeneratorExit:  # the loop is gone, and with it who could give them back
            raise
        except BaseException:
            await shield(in_background(self._undo(grant)))
            raise

    async def _take(self, charges: Charges, asking: Request) -> Any:
        """Ask to take tokens; who is cancelled meanwhile gives back what it gets."""
        return await self._ask(asking, partial(self._abandon, charges))

    def _abandon(self, charges: Charges, reply: Any) -> None:
        if reply == 0 or isinstance(reply, list):
            in_background(self._undo(Grant(charges, reply, self._now())))

    async def _undo(self, grant: Grant) -> None:
        async with one_at_a_time():  # for a crowd that leaves may outnumber the pool's connections
            with suppress(BackendError):  # whoever is leaving has another reason to
                await self._ask(grant.undoing())

    async def _ask(self, asking: Request, abandoned: Callable[[Any], None] = _forget) -> Any:
        """Return the script's reply; see `BlockingRedisBucket._ask`."""
        if not asking:
            return 0
        self._heed_outage()
        try:
            reply = await self._wire.ask(asking, abandoned)
        except BackendError as error:
            self._note_failure(error)
            raise
        self._note_answer()
        return reply


class _RedisReservation(Reserved, AsyncReservation):
    """Tokens on a server taken now for a use later."""

    __slots__ = ()

    async def cancel(self) -> None:
        await shield(in_background(self._cancel_in_turn()))

    async def _cancel_in_turn(self) -> None:
        async with self._grant.paid.task_turn():
            if self._cancel_once():
                try:
                    await self._bucket._ask(self._grant.undoing())
                except BackendError as error:
                    self._note_failed_cancel(error)
                    self._bucket._instead(error)

    async def settle(self, actual: Tokens) -> None:
        await shield(in_background(self._settle_in_turn(self._use(actual))))

    async def _settle_in_turn(self, used: Paid) -> None:
        async with self._grant.paid.task_turn():
            await self._bucket._correct(self._payment(), used)


class _LocalReservation(AsyncReservation):
    """A reservation of the fallback."""

    __slots__ = ("_local",)

    def __init__(self, local: Reservation) -> None:
        self._local = local

    @property
    def delay(self) -> float:
        return self._local.delay

    async def cancel(self) -> None:
        self._local.cancel()

    async def settle(self, actual: Tokens) -> None:
        self._local.settle(actual)

    def __repr__(self) -> str:
        return repr(self._local)
