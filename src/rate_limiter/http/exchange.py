"""What happens to one request, written once for clients that block and for clients that await.

It is written as coroutines. For a client that awaits, they run as any. For one that blocks, each of
their steps blocks instead of suspending, so that `run` gets through them in one go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from ..admission import Tokens
from ..instrumentation import paused
from ..limiter import RateLimiter
from .pausing import paused_by, unused
from .plan import Plan
from .tail import Tail

__all__ = ["Awaiting", "Blocking", "Channel", "Settlement", "Waiting", "exchange", "run"]

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends.

    Raises:
        RuntimeError: It did.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking call has suspended")


class Waiting(ABC):
    """How a limiter is asked."""

    @abstractmethod
    async def enter(self, permit: Any) -> None:
        """Take the tokens of a permit, or wait for them, or raise."""

    @abstractmethod
    async def settle(self, permit: Any, used: Any) -> None:
        """Say what a permit has really cost."""

    @abstractmethod
    async def refund(self, permit: Any) -> None:
        """Give the tokens of a permit back."""

    @abstractmethod
    async def pause(self, bucket: Any, seconds: float) -> None:
        """Let nobody take tokens of a bucket for a while."""


class Blocking(Waiting):
    """The limiter blocks this thread."""

    async def enter(self, permit: Any) -> None:
        """Take the tokens."""
        permit.__enter__()

    async def settle(self, permit: Any, used: Any) -> None:
        """Settle."""
        permit.settle(used)

    async def refund(self, permit: Any) -> None:
        """Refund."""
        permit.refund()

    async def pause(self, bucket: Any, seconds: float) -> None:
        """Pause."""
        bucket.pause(seconds)


class Awaiting(Waiting):
    """The limiter suspends this task."""

    async def enter(self, permit: Any) -> None:
        """Take the tokens."""
        await permit

    async def settle(self, permit: Any, used: Any) -> None:
        """Settle."""
        await permit.settle_async(used)

    async def refund(self, permit: Any) -> None:
        """Refund."""
        await permit.refund_async()

    async def pause(self, bucket: Any, seconds: float) -> None:
        """Pause."""
        await bucket.pause_async(seconds)


class Settlement(Generic[Response]):
    """Settles a permit when the body of its response has passed.

    Args:
        plan: Who says what was used.
        waiting: How the limiter is asked.
        permit: What the request paid.
        response: The response.
        encoding: What its body will have to be decoded from; empty if nothing.
    """

    def __init__(
        self,
        plan: Plan[Any, Response],
        waiting: Waiting,
        permit: Any,
        response: Response,
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
                nothing stays charged.
        """
        if not self._open:
            return
        self._open = False
        try:
            used = self._plan.used(self._response, self._tail.bytes())
            await self._settle(used)
        except Exception:
            await self._waiting.refund(self._permit)
            raise

    async def cut(self) -> None:
        """Settle by what has passed, because the body was closed before its end, or just at it.

        A function that cannot make sense of half a body is no error.
        """
        if not self._open:
            return
        self._open = False
        try:
            used = self._plan.used(self._response, self._tail.bytes())
        except Exception:  # noqa: BLE001 - as said
            return
        await self._settle(used)

    async def _settle(self, used: Any) -> None:
        if used is not None:
            await self._waiting.settle(self._permit, used)


class Channel(ABC, Generic[Request, Response]):
    """What an exchange asks of an HTTP library."""

    waiting: Waiting

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Send a request, and return the response, its body still to come."""

    @abstractmethod
    def never_left(self, error: Exception) -> bool:
        """Tell whether an error means that the server has not seen the request."""

    @abstractmethod
    def can_replay(self, request: Request) -> bool:
        """Tell whether the body of a request can be sent again."""

    @abstractmethod
    def answer(self, response: Response) -> tuple[int, Any]:
        """Return the status and the headers of a response."""

    @abstractmethod
    async def close(self, response: Response) -> None:
        """Close a response that nobody will read."""

    @abstractmethod
    async def watch(
        self, response: Response, plan: Plan[Request, Response], permit: Any
    ) -> Response:
        """Return a response whose body settles the permit as it passes."""


async def exchange(
    plan: Plan[Request, Response], channel: Channel[Request, Response], request: Request
) -> Response:
    """Send a request when its limiter lets it, and do as the response says.

    Raises:
        Exception: What the functions of the plan, the limiter or the library raise.
    """
    limiter, tokens = plan.bill(request)
    left = plan.retries if plan.retries and channel.can_replay(request) else 0
    while True:
        permit = await _admitted(limiter, tokens, channel.waiting)
        response = await _sent(channel, request, permit)
        try:
            status, headers = channel.answer(response)
            pause = plan.pause_after(status, headers)
            if pause:
                await _pause(limiter, tokens, pause, channel.waiting)
            if not left or not plan.may_retry(status, headers, limiter):
                return await _watched(plan, channel, response, permit)
        except BaseException:
            await channel.close(response)
            raise
        left -= 1
        await channel.close(response)
        if rest := unused(limiter.bucket, tokens):
            await channel.waiting.settle(permit, rest)


async def _admitted(limiter: Any, tokens: Tokens | None, waiting: Waiting) -> Any:
    """Return a permit that has been entered; None for a free request."""
    if tokens is None:
        return None
    permit = limiter.acquire(tokens)
    await waiting.enter(permit)
    return permit


async def _pause(
    limiter: RateLimiter[Any], tokens: Tokens | None, seconds: float, waiting: Waiting
) -> None:
    """Pause everybody who shares the limit, and tell the hooks."""
    await waiting.pause(paused_by(limiter.bucket, tokens), seconds)
    paused(limiter.name, seconds)


async def _sent(channel: Channel[Request, Response], request: Request, permit: Any) -> Response:
    """Send a request; if it never left, give its tokens back."""
    try:
        return await channel.send(request)
    except Exception as error:
        if permit is not None and channel.never_left(error):
            await channel.waiting.refund(permit)
        raise


async def _watched(
    plan: Plan[Request, Response],
    channel: Channel[Request, Response],
    response: Response,
    permit: Any,
) -> Response:
    if plan.settle is None or permit is None:
        return response
    return await channel.watch(response, plan, permit)
