"""Limit the requests and websockets of single routes of FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import HTTPException, Response
from fastapi.requests import HTTPConnection

from ..admission import Tokens
from .addresses import client_ip
from .asgi import encoded, send_answer
from .given import Limiters
from .problems import MakeBody
from .service import Answer, Service

__all__ = ["RateLimited", "client_ip", "limit"]

_HANDLERS = "starlette.exception_handlers"  # of this application, where Starlette looks them up


class RateLimited(HTTPException):
    """Raised for a request that `limit` turns away; it is answered with 429, or 503.

    An application may answer it in its own way, by an exception handler for this class.

    Attributes:
        headers: The fields that tell of the limit.
        answer: What is sent if there is no other handler.
    """

    def __init__(self, answer: Answer) -> None:
        told = {name: value for name, value in answer.fields if not name.startswith("Content-")}
        super().__init__(answer.status, headers=told)
        self.answer = answer


def limit(
    limiters: Limiters,
    key: Callable[[Any], Any] | None = client_ip,
    *,
    cost: Tokens | Callable[[Any], Any] = 1,
    name: str = "default",
    legacy_headers: bool = False,
    body: MakeBody | None = None,
    block: bool = False,
    dry_run: bool = False,
) -> Callable[[HTTPConnection, Response], Awaitable[None]]:
    """Make a dependency that refuses the requests of clients that send too many.

        searches = KeyedRateLimiter.from_rate("10/minute", block=False)

        @app.get("/search", dependencies=[Depends(limit(searches))])
        async def search(text: str): ...

    It does what `rate_limiter.http.asgi.RateLimitMiddleware` does, for the routes that depend on
    it. FastAPI does not show a dependency the answer. So there is no `count`, which the middleware
    has; and the header fields are missing where a route returns a `Response` of its own, or raises.

    Args:
        limiters: A limiter for each key, or a single one for all clients together.
        key: Gets the `Request` or `WebSocket`; returns the key of its client, or None for one that
            is exempt. It and `cost` may be coroutine functions. Instead of a function, None is the
            default.
        cost: Tokens for a request, or a function that gets it and returns them; 0 is free.
        name: What header fields call the limit, if it is a single one.
        legacy_headers: Whether to send `X-RateLimit-Limit`, `-Remaining` and `-Reset` as well.
        body: Gets a refused request, and the problem details as a dict; returns a content type and
            a body.
        block: Whether requests wait for tokens instead of getting a 429; then the limiters have to
            be made with `block=True` as well.
        dry_run: Whether to let every request through and only count, also where the limiters were
            made without `dry_run`.

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiters do not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: The limiters wait and `block` does not say so, or the other way round; or `name`
            is not printable ASCII, or `cost` not above 0.
    """
    service = Service(
        limiters,
        key=_peer if key is None or key is client_ip else key,
        awaits=True,
        cost=cost,
        name=name,
        legacy_headers=legacy_headers,
        body=body,
        block=block,
        dry_run=dry_run,
    )

    async def limited(connection: HTTPConnection, response: Response) -> None:
        decision = await service.decide_async(connection)
        if isinstance(decision, Answer):
            _make_answerable(connection)
            raise RateLimited(decision)
        if decision is not None:
            response.raw_headers += encoded(service.fields(decision))

    return limited


def _peer(connection: HTTPConnection) -> str:
    """Do as `client_ip`, in less time than it takes to ask the connection itself."""
    return client_ip(connection.scope)


def _make_answerable(connection: HTTPConnection) -> None:
    """Make the application answer as was decided, unless it has a handler of its own.

    The default one for an `HTTPException` would put our body into one of its own.
    """
    handlers, _ = connection.scope.get(_HANDLERS, ({}, {}))
    handlers.setdefault(RateLimited, _answer)


async def _answer(_: HTTPConnection, error: RateLimited) -> Any:
    """Return what sends the answer, as a response does."""
    return _Response(error.answer)


class _Response:
    """An answer, sent as a response of Starlette is."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        await send_answer(self._answer, scope, send)
