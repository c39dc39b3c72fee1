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
from .plan import Plan, read_verdict
from .waiting import Waiting

__all__ = ["Channel", "exchange", "run"]

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")
_FIRST_WAIT = 1.0  # seconds before another attempt if the response asks for no time; then doubled


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
    unless_told = _FIRST_WAIT
    while True:
        permit = await _admitted(plan, limiter, tokens, channel.waiting)
        response = await _sent(plan, channel, request, permit)
        try:
            verdict = read_verdict(*channel.answer(response))
            pause = plan.pause_after(verdict)
            if pause and not await _paused(plan, limiter, tokens, pause, channel.waiting):
                left = 0  # its store is away, so nobody could let it through
            wait = plan.retry_in(verdict, limiter, unless_told) if left else None
            if verdict.refused:  # unless `settle` will say what it has used all the same
                await _give_back_unused(plan, limiter, tokens, permit, channel.waiting)
            if wait is None:
                return await _watched(plan, channel, response, permit)
        except BaseException:
            await channel.close(response)
            raise
        left -= 1
        await channel.close(response)
        if not pause:  # which would hold the next attempt up
            await channel.waiting.rest(limiter.bucket.clock, wait)
            unless_told *= 2


async def _admitted(
    plan: Plan[Any, Any], limiter: Any, tokens: Tokens | None, waiting: Waiting
) -> Any:
    """Return a permit that has been entered; None for a free request."""
    if tokens is None:
        return None
    permit = limiter.acquire(tokens)
    await waiting.enter(permit)
    plan.away.admitted(permit)
    return permit


async def _paused(
    plan: Plan[Any, Any],
    limiter: RateLimiter[Any],
    tokens: Tokens | None,
    seconds: float,
    waiting: Waiting,
) -> bool:
    """Pause everybody who shares the limit, and tell the hooks; return whether that was done."""
    bucket = paused_by(limiter.bucket, tokens)
    done = await plan.away.carried_out(waiting.pause(bucket, seconds))
    if done:
        paused(limiter.name, seconds)
    return done


async def _give_back_unused(
    plan: Plan[Any, Any], limiter: Any, tokens: Tokens | None, permit: Any, waiting: Waiting
) -> None:
    """Give back what a refused call has not used, such as model tokens; as a call it counts."""
    if rest := unused(limiter.bucket, tokens):
        await plan.away.carried_out(waiting.settle(permit, rest))


async def _sent(
    plan: Plan[Any, Any], channel: Channel[Request, Response], request: Request, permit: Any
) -> Response:
    """Send a request; if it never left, give its tokens back."""
    try:
        return await channel.send(request)
    except Exception as error:
        if permit is not None and channel.never_left(error):
            await plan.away.carried_out(channel.waiting.refund(permit))
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
