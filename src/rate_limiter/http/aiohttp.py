"""A middleware that holds the requests of an aiohttp session to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import Any, cast

import aiohttp
from aiohttp.payload import BytesPayload

from ..rates import Number
from .exchange import Channel, exchange
from .plan import Cost, Key, Limiter, Plan, Settle, make_plan
from .settlement import Settlement
from .waiting import Awaiting

__all__ = ["rate_limit_middleware"]

_SWITCHING_PROTOCOLS = 101
_NEVER_LEFT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
)


def rate_limit_middleware(
    limiter: Limiter,
    *,
    key: Key[aiohttp.ClientRequest] | None = None,
    cost: Cost[aiohttp.ClientRequest] = 1,
    settle: Settle[aiohttp.ClientResponse] | None = None,
    max_pause: Number = 3600,
    retries: int = 0,
) -> aiohttp.ClientMiddlewareType:
    """Make a middleware that lets a request through when its limiter does.

        aiohttp.ClientSession(middlewares=(rate_limit_middleware(limiter),))

    The response is handed on as it is, a 429 included. After a 429, a 503 or GitHub's 403, nobody
    who shares the bucket is admitted for as long as the response says. A request that never left
    gets its tokens back, and so does a cancelled wait. The session's total timeout,
    5 minutes unless you say otherwise, includes the wait.

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

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiter does not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """
    plan: Plan[aiohttp.ClientRequest, aiohttp.ClientResponse] = make_plan(
        limiter,
        key=key,
        default_key=_host_of,
        cost=cost,
        settle=settle,
        max_pause=max_pause,
        retries=retries,
    )

    async def limited(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        return await exchange(plan, _Channel(request, handler), request)

    return limited


def _host_of(request: aiohttp.ClientRequest) -> str:
    return request.url.host or ""


class _Channel(Channel[aiohttp.ClientRequest, aiohttp.ClientResponse]):
    """Sends through the rest of the session's middlewares."""

    waiting = Awaiting()

    def __init__(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> None:
        self._request = request
        self._handler = handler

    async def send(self, request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        return await self._handler(request)

    def never_left(self, error: Exception) -> bool:
        return isinstance(error, _NEVER_LEFT)

    def can_replay(self, request: aiohttp.ClientRequest) -> bool:
        return isinstance(request.body, bytes | BytesPayload)

    def answer(self, response: aiohttp.ClientResponse) -> tuple[int, Any]:
        return response.status, response.raw_headers

    async def close(self, response: aiohttp.ClientResponse) -> None:
        response.close()

    async def watch(
        self,
        response: aiohttp.ClientResponse,
        plan: Plan[aiohttp.ClientRequest, aiohttp.ClientResponse],
        permit: Any,
    ) -> aiohttp.ClientResponse:
        if response.status == _SWITCHING_PROTOCOLS:
            return response
        decoded = self._request.session.auto_decompress
        encoding = "" if decoded else response.headers.get("content-encoding", "")
        settlement = Settlement(plan, self.waiting, permit, lambda: response, encoding)
        if response.content.at_eof():
            await settlement.end()
        else:
            response.content = cast(Any, _Watched(response.content, settlement))
        return response


class _Watched:
    """A reader in front of another that settles a permit as the body is read.

    Args:
        inner: The reader that gets the body.
        settlement: What is fed.
    """

    def __init__(self, inner: aiohttp.StreamReader, settlement: Settlement[Any]) -> None:
        self._inner = inner
        self._settlement = settlement
        self._cancelled = False  # whether the last read was

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    # These only call the methods below.
    __aiter__: Any = aiohttp.StreamReader.__aiter__
    iter_any: Any = aiohttp.StreamReader.iter_any
    iter_chunked: Any = aiohttp.StreamReader.iter_chunked
    iter_chunks: Any = aiohttp.StreamReader.iter_chunks

    async def read(self, n: int = -1) -> bytes:
        return await self._through(self._inner.read(n))

    async def readany(self) -> bytes:
        return await self._through(self._inner.readany())

    async def readline(self, **options: Any) -> bytes:
        return await self._through(self._inner.readline(**options))

    async def readuntil(self, *args: Any, **options: Any) -> bytes:
        return await self._through(self._inner.readuntil(*args, **options))

    async def readexactly(self, n: int) -> bytes:
        return await self._through(self._inner.readexactly(n))

    async def readchunk(self) -> tuple[bytes, bool]:
        last = False

        async def data() -> bytes:
            nonlocal last
            chunk, last = await self._inner.readchunk()
            return chunk

        return await self._through(data()), last

    def read_nowait(self, n: int = -1) -> bytes:
        data = self._inner.read_nowait(n)
        self._settlement.feed(data)
        if self._inner.at_eof():
            _begin(self._settlement.end())
        return data

    def set_exception(self, *args: Any) -> None:
        """Take the sign that the response has been closed.

        If a read was cancelled before, and no other came after it, the body has not arrived.
        """
        self._inner.set_exception(*args)
        if self._cancelled:
            self._settlement.give_up()
        _begin(self._settlement.cut())

    async def _through(self, reading: Awaitable[bytes]) -> bytes:
        try:
            data = await reading
        except asyncio.CancelledError:  # another may follow
            self._cancelled = True
            raise
        except Exception:
            self._settlement.give_up()
            raise
        self._cancelled = False
        self._settlement.feed(data)
        if self._inner.at_eof():
            await self._settlement.end()
        return data


def _begin(settling: Coroutine[Any, Any, None]) -> None:
    """Settle from a plain function: at once in memory; a task goes on with what has to wait."""
    try:
        waits_for = settling.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_go_on(settling, waits_for))
    _settling.add(task)
    task.add_done_callback(_settling.discard)


async def _go_on(settling: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _Begun(settling, waits_for)


class _Begun:
    """A coroutine that has begun, to be awaited."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        with suppress(StopIteration):
            while True:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(None)


_settling: set[asyncio.Task[None]] = set()  # nobody else holds them
