"""Reservations of shared buckets."""

from __future__ import annotations

from typing import Any

from ..admission import Paid, Tokens
from ..bucket import AsyncReservation, Reservation
from ..clock import seconds
from ..exceptions import BackendError
from .corrections import cancelling, correcting
from .failures import ReplyLost
from .payment import Payment
from .running import run
from .taken import Grant

__all__ = ["AwaitedReservation", "LocalReservation", "Reserved", "SharedReservation"]


class Reserved:
    """Tokens that were reserved: what they are worth, and that they are given back once."""

    __slots__ = ("_bucket", "_grant", "_held", "_tokens")

    def __init__(self, bucket: Any, grant: Grant, tokens: Tokens) -> None:
        self._bucket = bucket
        self._grant = grant
        self._tokens = tokens
        self._held: set[None] = {None}  # empty once it is cancelled

    @property
    def delay(self) -> float:
        return seconds(max(self._grant.due - self._bucket._now(), 0))

    def _begin_cancel(self) -> bool:
        """Tell whether it is still to be given back; from now on it is not."""
        try:
            self._held.pop()  # one call, so that no handler gets a say in between
        except KeyError:
            return False
        return True

    def _note_failed_cancel(self, error: BackendError) -> None:
        """Have it given back another time, unless that may have happened, or will not matter."""
        if not isinstance(error, ReplyLost) and self._bucket._fallback is None:
            self._held.add(None)

    def _use(self, actual: Tokens) -> Paid:
        used: Paid = self._bucket._uses(actual, self._tokens)
        return used

    def _payment(self) -> Payment:
        """Return what is to be corrected; it is asked for in turn."""
        if not self._held:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        return self._grant.paid

    def __repr__(self) -> str:
        state = f"delay={self.delay:g}" if self._held else "cancelled"
        return f"Reservation({state})"


class SharedReservation(Reserved, Reservation):
    """A reservation that is given back and settled by blocking."""

    __slots__ = ()

    def cancel(self) -> None:
        # On one line, for an interrupt that comes on leaving a `with` block's line keeps the lock.
        with self._grant.paid.thread_turn(): run(cancelling(self._bucket, self), self._bucket)  # fmt: skip  # noqa: E501, E701

    def settle(self, actual: Tokens) -> None:
        used = self._use(actual)
        with self._grant.paid.thread_turn(): self._settle_in_turn(used)  # fmt: skip  # noqa: E701 - as above

    def _settle_in_turn(self, used: Paid) -> None:
        run(correcting(self._bucket, self._payment(), used), self._bucket)


class AwaitedReservation(Reserved, AsyncReservation):
    """A reservation whose calls are awaited."""

    __slots__ = ()

    async def cancel(self) -> None:
        await self._bucket._in_turn(self._grant.paid, cancelling(self._bucket, self))

    async def settle(self, actual: Tokens) -> None:
        used = self._use(actual)
        await self._bucket._in_turn(self._grant.paid, self._settling(used))

    def _settling(self, used: Paid) -> Any:
        yield from correcting(self._bucket, self._payment(), used)


class LocalReservation(AsyncReservation):
    """A reservation of what stands in for the store."""

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
