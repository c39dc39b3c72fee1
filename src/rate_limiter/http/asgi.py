"""Limit the requests and websockets of an ASGI service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from ..admission import Tokens
from ..permit import AsyncPermit, Permit
from .addresses import client_ip
from .given import Limiters
from .problems import MakeBody
from .service import Answer, Fields, Service

__all__ = ["RateLimitMiddleware", "client_ip", "encoded", "send_answer"]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Encoded: TypeAlias = list[tuple[bytes, bytes]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LIMITED = ("http", "websocket")
_STATUS_OF = {"websocket.accept": 101, "websocket.close": 403}  # of the handshake's answer
_WITH_FIELDS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_STARTS = {*_WITH_FIELDS, *_STATUS_OF}  # the messages that an answer begins with
_DENIAL = "websocket.http.response"
_TRY_AGAIN_LATER = 1013  # with which a websocket is closed
_ERROR = 500


class RateLimitMiddleware:
    """Refuse the requests of clients that send too many, with 429 and a time to come back.

        app.add_middleware(
            RateLimitMiddleware,
            limiters=KeyedRateLimiter.from_rate("100/minute", block=False),
        )

    Each client has a limit of its own, by the address of its peer; behind a proxy, see
    `client_ip`. Every other answer says what is left. A websocket counts when it is
    opened. While the store of a bucket is away, its own fallback decides; without one requests get
    a 503.

    Args:
        app: The ASGI application.
        limiters: A limiter for each key, or a single one for all clients together.
        key: Gets the scope; returns the key of its client, or None for one that is exempt. It and
            `cost` may be coroutine functions. Instead of a function, None is the default.
        cost: Tokens for a request, or a function that gets the scope and returns them; 0 is free.
        count: Gets the status of an answer; returns whether the request counts. Each request pays
            first, and gets its tokens back if it does not count. None: all requests count.
        name: What header fields call the limit, if it is a single one.
        legacy_headers: Whether to send `X-RateLimit-Limit`, `-Remaining` and `-Reset` as well.
        body: Gets the scope of a refused request, and the problem details as a dict; returns a
            content type and a body.
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

    def __init__(
        self,
        app: App,
        limiters: Limiters,
        key: Callable[[Any], Any] | None = client_ip,
        *,
        cost: Tokens | Callable[[Any], Any] = 1,
        count: Callable[[int], bool] | None = None,
        name: str = "default",
        legacy_headers: bool = False,
        body: MakeBody | None = None,
        block: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._app = app
        self._service = Service(
            limiters,
            key=client_ip if key is None else key,
            awaits=True,
            cost=cost,
            count=count,
            name=name,
            legacy_headers=legacy_headers,
            body=body,
            block=block,
            dry_run=dry_run,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if scope["type"] not in _LIMITED:
            await self._app(scope, receive, send)
            return
        decision = await self._service.decide_async(scope)
        if isinstance(decision, Answer):
            await send_answer(decision, scope, send)
        elif decision is None:
            await self._app(scope, receive, send)
        elif self._service.counts_some:
            await _Counted(self._service, decision, send).run(self._app, scope, receive)
        else:
            fields = encoded(self._service.fields(decision))
            await self._app(scope, receive, partial(_send_with, send, fields))


def _send_with(send: Send, fields: Encoded, message: Message) -> Awaitable[None]:
    """Send a message, with header fields if it has any."""
    return send(_with(message, fields) if message["type"] in _WITH_FIELDS else message)


def _with(message: Message, fields: Encoded) -> Message:
    """Return a message with more fields; the application may send its own a second time."""
    return {**message, "headers": [*message.get("headers", ()), *fields]}


def encoded(fields: Fields) -> Encoded:
    """Return header fields as ASGI has them."""
    return [(_NAMES[name], value.encode("latin-1")) for name, value in fields]


class _Names(dict[str, bytes]):
    """The names of header fields in lower case and bytes, which are a few."""

    def __missing__(self, name: str) -> bytes:
        self[name] = found = name.lower().encode()
        return found


_NAMES = _Names()


class _Counted:
    """A request that counts if its answer's status says so."""

    def __init__(self, service: Service, permit: Permit | AsyncPermit, send: Send) -> None:
        self._service = service
        self._permit = permit
        self._send = send
        self._decided = False
        self._refunded = False

    async def run(self, app: App, scope: Scope, receive: Receive) -> None:
        """Serve it. If it ends without an answer, as when its client has gone, it counts."""
        try:
            await app(scope, receive, self._send_counted)
        except Exception:
            await self._decide(_ERROR)  # which the server makes of it
            raise

    async def _send_counted(self, message: Message) -> None:
        kind = message["type"]
        if kind in _STARTS and not self._decided:
            await self._decide(message.get("status", _STATUS_OF.get(kind)))
            if kind in _WITH_FIELDS:
                fields = self._service.fields(self._permit, refunded=self._refunded)
                message = _with(message, encoded(fields))
        await self._send(message)

    async def _decide(self, status: Any) -> None:
        """Give the tokens back unless the request counts; the first status decides."""
        if self._decided:
            return
        self._decided = True
        self._refunded = True  # also if it cannot be told
        try:
            self._refunded = not self._service.counts(status)
        finally:
            if self._refunded:
                await self._service.give_back_async(self._permit)


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Answer a request that is turned away, or a websocket that is not opened."""
    fields, body = encoded(answer.fields), answer.body
    prefix = "http.response"
    if scope["type"] == "websocket":
        prefix = _DENIAL
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
    if scope.get("method") == "HEAD":
        body = b""
    await send({"type": f"{prefix}.start", "status": answer.status, "headers": fields})
    await send({"type": f"{prefix}.body", "body": body})
