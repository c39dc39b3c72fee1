"""Buckets on a server for threads: one call, one round trip, one sleep."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction
from typing import Any, NoReturn

from ..bucket import REFUNDED, Admission, Bucket, Paid, Receipt, Reservation, Tokens, copied
from ..clock import seconds
from ..exceptions import BackendError
from ..rates import Number
from ..sleeping import ThreadSleeper
from .base import Grant, Limits, RedisBucket, Reserved, fit
from .blocking_wire import wire
from .fallback import Understudy
from .payment import Payment
from .script import Request, request

__all__ = ["BlockingRedisBucket"]


class BlockingRedisBucket(RedisBucket, Bucket):
    """A bucket on a server that is asked by blocking."""

    __slots__ = ("_wire",)

    def __init__(self, client: Any, limits: Limits, fallback: Understudy | None) -> None:
        self._wire = wire(client)
        super().__init__(client, limits, fallback)

    def allow(self, tokens: Tokens = 1) -> bool:
        charges = self._limits.charges(tokens)
        if not fit(charges):
            return False
        try:
            return bool(self._ask(request(b"take", charges)) == 0)
        except BackendError as error:
            return self._instead(error).allow(tokens)

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        self._admit(tokens, block=True, timeout=timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} would block the event loop; "
            "use AsyncRedisTokenBucket with a redis.asyncio client"
        )

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        tokens = copied(tokens)
        charges, asking = self._asking(tokens, block=True, timeout=timeout)
        try:
            reply = self._ask(asking)
        except BackendError as error:
            return self._instead(error).reserve(tokens, timeout)
        grant = self._granted(charges, reply, tokens, block=True, timeout=timeout)
        return _RedisReservation(self, grant, tokens)

    def refund(self, tokens: Tokens) -> None:
        asking = self._refunding(tokens)
        try:
            self._ask(asking)
        except BackendError as error:
            self._instead(error).refund(tokens)

    def pause(self, seconds: Number) -> None:
        asking = self._pausing(seconds)
        try:
            self._ask(asking)
        except BackendError as error:
            self._instead(error).pause(seconds)

    def retry_after(self, tokens: Tokens = 1) -> float:
        charges = self._limits.charges(tokens)
        if not fit(charges):
            return math.inf
        try:
            return seconds(self._ask(request(b"take", charges, -1)) * 1_000)
        except BackendError as error:
            return self._instead(error).retry_after(tokens)

    @property
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; asks the server."""
        try:
            return self._available_of(self._ask(request(b"level", self._limits.everything())))
        except BackendError as error:
            return self._instead(error).available_tokens

    def _admit(self, tokens: Tokens, block: bool, timeout: Number | None) -> Admission:
        asked = self._now()
        charges, asking = self._asking(tokens, block, timeout)
        try:
            reply = self._ask(asking)
        except BackendError as error:
            return self._instead(error)._admit(tokens, block, timeout)
        grant = self._granted(charges, reply, tokens, block, timeout)
        if not grant.tickets:
            return 0.0, self, None
        self._sleep(grant)
        return seconds(self._now() - asked), self, None

    async def _admit_async(self, tokens: Tokens, block: bool, timeout: Number | None) -> NoReturn:
        await self.wait_async(tokens, timeout)

    def _correct(self, payment: Payment, used: Paid) -> None:
        """Charge the difference, or give it back; whoever calls has the turn."""
        while (correction := self._correcting(payment, used)) is not None:
            asking, moves = correction
            try:
                self._ask(asking)
            except BaseException as error:  # noqa: BLE001 - raised again
                self._note_uncorrected(error, payment, used)
                return
            payment.note(moves)  # beside what a handler has corrected meanwhile
        payment.update(used)

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        used = self._uses(actual, receipt._tokens)
        payment = self._payment_of(receipt)
        if payment is None:
            return False
        # On one line, for an interrupt that comes on leaving a `with` block's line keeps the lock.
        with payment.thread_turn(): return self._settle_in_turn(receipt, payment, used)  # fmt: skip  # noqa: E701

    def _settle_in_turn(self, receipt: Receipt, payment: Payment, used: Paid) -> bool:
        if receipt._paid is REFUNDED:
            return False
        self._correct(payment, used)
        return True

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> NoReturn:
        await self.wait_async()

    def _give_back(self, receipt: Receipt) -> None:
        payment = self._payment_of(receipt)
        if payment is not None:
            with payment.thread_turn(): self._give_back_in_turn(receipt, payment)  # fmt: skip  # noqa: E701 - as above

    def _give_back_in_turn(self, receipt: Receipt, payment: Payment) -> None:
        if receipt._paid is REFUNDED:
            return
        receipt._paid = REFUNDED
        try:
            self._correct(payment, dict.fromkeys(payment, Fraction(0)))
        except BaseException:
            receipt._paid = payment  # it may be tried again
            raise

    async def _give_back_async(self, receipt: Receipt) -> NoReturn:
        await self.wait_async()

    def _sleep(self, grant: Grant) -> None:
        """Sleep until the tokens are there; who is interrupted gives them back."""
        sleeper = ThreadSleeper()
        try:
            while self._now() < grant.due:
                self._clock.sleep(sleeper, grant.due)
        except BaseException:
            with suppress(BackendError):
                self._ask(grant.undoing())
            raise

    def _ask(self, asking: Request) -> Any:
        """Return the script's reply; 0 without asking if nothing is asked of any bucket.

        Raises:
            BackendError: The server failed, or is left alone because it did a moment ago.
        """
        if not asking:
            return 0
        self._heed_outage()
        try:
            reply = self._wire.ask(asking)
        except BackendError as error:
            self._note_failure(error)
            raise
        self._note_answer()
        return reply


class _RedisReservation(Reserved, Reservation):
    """Tokens on a server taken now for a use later."""

    __slots__ = ()

    def cancel(self) -> None:
        with self._grant.paid.thread_turn(): self._cancel_in_turn()  # fmt: skip  # noqa: E701 - as above

    def _cancel_in_turn(self) -> None:
        if self._cancel_once():
            try:
                self._bucket._ask(self._grant.undoing())
            except BackendError as error:
                self._note_failed_cancel(error)
                self._bucket._instead(error)

    def settle(self, actual: Tokens) -> None:
        used = self._use(actual)
        with self._grant.paid.thread_turn(): self._settle_in_turn(used)  # fmt: skip  # noqa: E701 - as above

    def _settle_in_turn(self, used: Paid) -> None:
        self._bucket._correct(self._payment(), used)
