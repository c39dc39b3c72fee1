"""Say what a request really cost, once the body of its response has passed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .plan import Plan
from .tail import Tail
from .waiting import Waiting

__all__ = ["Settlement"]

Response = TypeVar("Response")


class Settlement(Generic[Response]):
    """Settles a permit when the body of its response has passed.

    Args:
        plan: Says what was used.
        waiting: How the limiter is asked.
        permit: What the request paid.
        response: Returns the response.
        encoding: What its body will have to be decoded from; empty if nothing.
    """

    def __init__(
        self,
        plan: Plan[Any, Response],
        waiting: Waiting,
        permit: Any,
        response: Callable[[], Response],
        encoding: str,
    ) -> None:
        self._plan = plan
        self._waiting = waiting
        self._permit = permit
        self._response = response
        self._tail = Tail(encoding)
        self._open = True

    def feed(self, data: bytes) -> None:
        """Take a piece of the body that passes; what cannot be decoded ends the settlement."""
        if self._open:
            try:
                self._tail.feed(data)
            except Exception:  # noqa: BLE001 - each decoder has its own; the client will raise its own
                self._open = False

    def give_up(self) -> None:
        """Leave the estimate as it is, because the body did not arrive."""
        self._open = False

    async def end(self) -> None:
        """Settle, now that the body has passed.

        Raises:
            Exception: What the settle function raises, or what the permit says to its result. Then
                nothing stays charged. A store that is away raises nothing.
        """
        if not self._open:
            return
        self._open = False
        try:
            used = self._plan.used(self._response(), self._tail.bytes())
            await self._settle(used)
        except Exception:
            await self._plan.away.carried_out(self._waiting.refund(self._permit))
            raise

    async def cut(self) -> None:
        """Settle by what has passed, because the body was closed before its end, or just at it.

        A function that cannot make sense of half a body is no error, and what makes no sense to the
        permit leaves the estimate: the caller may be raising an error of its own.
        """
        if not self._open:
            return
        self._open = False
        with suppress(Exception):
            await self._settle(self._plan.used(self._response(), self._tail.bytes()))

    async def _settle(self, used: Any) -> None:
        if used is not None:
            await self._plan.away.carried_out(self._waiting.settle(self._permit, used))
