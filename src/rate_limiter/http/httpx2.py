"""Transports that hold the requests of httpx2 clients to a limit."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx2

from .transports import AsyncStream, AsyncTransport, SyncStream, SyncTransport

__all__ = ["AsyncRateLimitTransport", "RateLimitTransport"]


class _SyncStream(SyncStream, httpx2.SyncByteStream):
    """A body that settles a permit as it passes, of the kind that a client expects."""


class _AsyncStream(AsyncStream, httpx2.AsyncByteStream):
    """As `_SyncStream`, awaited."""


class RateLimitTransport(
    SyncTransport[httpx2.Request, httpx2.Response, httpx2.BaseTransport], httpx2.BaseTransport
):
    """Let a request through when its limiter does, and pause everybody as the server says.

        limiters = KeyedRateLimiter.from_rate("10/second")  # a limit for each host
        client = httpx2.Client(transport=RateLimitTransport(limiters))

    The response is handed on as it is, a 429 included. After a 429, a 503 or GitHub's 403, nobody
    who shares the bucket is admitted for as long as the response says. A request that never left
    gets its tokens back. A client that is given a transport does not make its own, so
    options such as `verify`, `http2`, `limits` and `proxy` belong to the inner one, as in
    `transport=httpx2.HTTPTransport(http2=True)`.

    Args:
        limiter: A `RateLimiter` for all requests, or a `KeyedRateLimiter`.
        key: With a `KeyedRateLimiter`, gets the request and returns its key; the host if None.
        cost: Tokens, or a callable that gets the request and returns them; 0 makes it free.
        settle: Gets the response and the last 64 KiB of its decoded body, once that has been read;
            returns what the request really cost. None keeps what was charged; in a mapping it keeps
            what was charged to that bucket of a group.
        max_pause: The longest pause in seconds, whatever a server says.
        retries: How often to send a request again, through the limiter, after a 429, a 503 or a 403
            that reports a limit; if it does not say when, after 1 s, 2 s, 4 s and so on. Only
            requests whose body can be sent twice are sent again.
        transport: The transport that sends; `httpx2.HTTPTransport()` if None.

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiter does not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """

    _library: ClassVar[Any] = httpx2
    _stream: ClassVar[Any] = _SyncStream


class AsyncRateLimitTransport(
    AsyncTransport[httpx2.Request, httpx2.Response, httpx2.AsyncBaseTransport],
    httpx2.AsyncBaseTransport,
):
    """As `RateLimitTransport`, for an `httpx2.AsyncClient`, in asyncio and in trio.

        client = httpx2.AsyncClient(transport=AsyncRateLimitTransport(limiter))

    A cancelled wait costs nothing. The limiter may have any bucket, also one whose calls are
    awaited. `transport` is `httpx2.AsyncHTTPTransport()` if None.
    """

    _library: ClassVar[Any] = httpx2
    _stream: ClassVar[Any] = _AsyncStream
