"""Reservations of shared buckets."""

from __future__ import annotations

from typing import Any, Protocol

from ..admission import Paid, Tokens
from ..bucket import AsyncReservation, Reservation
from .bucket_view import TaskView, ThreadView
from .corrections import cancelling, correcting
from .payment import Payment
from .running import Flow, run
from .taken import Reserved

__all__ = ["AwaitedReservation", "LocalReservation", "SharedReservation"]


class SharedReservation(Reserved[ThreadView], Reservation):
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


class _TurnView(TaskView, Protocol):
    """A bucket of tasks, whose corrections take turns."""

    async def _in_turn(self, payment: Payment, correction: Flow[Any]) -> Any: ...


class AwaitedReservation(Reserved[_TurnView], AsyncReservation):
    """A reservation whose calls are awaited."""

    __slots__ = ()

    async def cancel(self) -> None:
        await self._bucket._in_turn(self._grant.paid, cancelling(self._bucket, self))

    async def settle(self, actual: Tokens) -> None:
        used = self._use(actual)
        await self._bucket._in_turn(self._grant.paid, self._settling(used))

    def _settling(self, used: Paid) -> Flow[None]:
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
