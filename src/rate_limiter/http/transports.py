"""Transports of httpx and of httpx2, written once: in what is used here the two are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

from ..rates import Number, shown
from .exchange import Channel, exchange, run
from .plan import Cost, Key, Limiter, Plan, Settle, make_plan
from .settlement import Settlement
from .waiting import Awaiting, Blocking, Waiting

__all__ = ["AsyncStream", "AsyncTransport", "SyncStream", "SyncTransport"]

Request = TypeVar("Request")
Response = TypeVar("Response")
Inner = TypeVar("Inner")
_SWITCHING_PROTOCOLS = 101


def _host_of(request: Any) -> str:
    """Return the host that a request goes to: the key unless another is given."""
    host: str = request.url.host
    return host


class SyncStream:
    """A body that settles a permit as it passes.

    Args:
        inner: The stream of the response.
        settlement: What is fed.
    """

    def __init__(self, inner: Any, settlement: Settlement[Any]) -> None:
        self._inner = inner
        self._settlement = settlement

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._inner:
                self._settlement.feed(chunk)
                yield chunk
        except GeneratorExit:
            raise  # left early: `close` comes next
        except BaseException:
            self._settlement.give_up()
            raise
        run(self._settlement.end())

    def close(self) -> None:
        """Close the stream of the response."""
        try:
            self._inner.close()
        finally:
            run(self._settlement.cut())


class AsyncStream:
    """As `SyncStream`, awaited."""

    def __init__(self, inner: Any, settlement: Settlement[Any]) -> None:
        self._inner = inner
        self._settlement = settlement

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                self._settlement.feed(chunk)
                yield chunk
        except GeneratorExit:
            raise  # left early: `aclose` comes next
        except BaseException:
            self._settlement.give_up()
            raise
        await self._settlement.end()

    async def aclose(self) -> None:
        """Close the stream of the response."""
        try:
            await self._inner.aclose()
        finally:
            await self._settlement.cut()


class _TransportChannel(Channel[Any, Any]):
    """What the two kinds of transports have in common.

    Args:
        library: `httpx` or `httpx2`.
        inner: The transport that sends.
        watched: The class of the streams that settle.
    """

    def __init__(self, library: Any, inner: Any, watched: Any) -> None:
        self.inner = inner
        self._replayable = library.ByteStream
        self._unread = library.ResponseNotRead
        self._watched = watched
        self._never_left = (
            library.ConnectError,
            library.ConnectTimeout,
            library.PoolTimeout,
            library.ProxyError,
            library.UnsupportedProtocol,
        )

    def never_left(self, error: Exception) -> bool:
        return isinstance(error, self._never_left)

    def can_replay(self, request: Any) -> bool:
        return isinstance(request.stream, self._replayable)

    def answer(self, response: Any) -> tuple[int, Any]:
        return response.status_code, response.headers.raw

    async def watch(self, response: Any, plan: Plan[Any, Any], permit: Any) -> Any:
        if response.status_code == _SWITCHING_PROTOCOLS:
            return response
        content = self._read(response)
        encoding = "" if content is not None else response.headers.get("content-encoding", "")
        settlement = Settlement(plan, self.waiting, permit, lambda: response, encoding)
        if content is None:
            response.stream = self._watched(response.stream, settlement)
        else:
            settlement.feed(content)
            await settlement.end()
        return response

    def _read(self, response: Any) -> bytes | None:
        """Return a body that is here already, as of a mock; None if it will be streamed."""
        try:
            content: bytes = response.content
        except self._unread:
            return None
        return content


class SyncChannel(_TransportChannel):
    """Sends through a transport that blocks."""

    waiting: Waiting = Blocking()

    async def send(self, request: Any) -> Any:
        return self.inner.handle_request(request)

    async def close(self, response: Any) -> None:
        response.close()


class AsyncChannel(_TransportChannel):
    """Sends through a transport that is awaited."""

    waiting: Waiting = Awaiting()

    async def send(self, request: Any) -> Any:
        return await self.inner.handle_async_request(request)

    async def close(self, response: Any) -> None:
        await response.aclose()


class _Transport(Generic[Request, Response, Inner]):
    """What transports of either kind have in common; `httpx.py` says what they are told."""

    _library: ClassVar[Any]
    _stream: ClassVar[Any]
    _channel_class: ClassVar[Any]
    _inner_name: ClassVar[str]
    _inner_method: ClassVar[str]

    def __init__(
        self,
        limiter: Limiter,
        *,
        key: Key[Request] | None = None,
        cost: Cost[Request] = 1,
        settle: Settle[Response] | None = None,
        max_pause: Number = 3600,
        retries: int = 0,
        transport: Inner | None = None,
    ) -> None:
        self._plan: Plan[Any, Any] = make_plan(
            limiter,
            key=key,
            default_key=_host_of,
            cost=cost,
            settle=settle,
            max_pause=max_pause,
            retries=retries,
        )
        library = self._library
        inner: Any = getattr(library, self._inner_name)() if transport is None else transport
        if isinstance(inner, type) or not callable(getattr(inner, self._inner_method, None)):
            raise TypeError(
                f"transport must be one with {self._inner_method}(), such as {self._inner_name}, "
                f"got {shown(inner)} ({type(inner).__name__})"
            )
        self._inner = inner
        self._channel = self._channel_class(library, self._inner, self._stream)


class SyncTransport(_Transport[Request, Response, Inner]):
    """A transport that blocks; see `httpx.RateLimitTransport`."""

    _channel_class = SyncChannel
    _inner_name, _inner_method = "HTTPTransport", "handle_request"

    if not TYPE_CHECKING:  # for a common mistake: say what to write instead

        def handle_async_request(self, *_: Any) -> NoReturn:
            """Say which transport is the right one."""
            library = self._library.__name__
            raise TypeError(
                f"a RateLimitTransport is for an {library}.Client; "
                f"an {library}.AsyncClient takes an AsyncRateLimitTransport"
            )

        __aenter__ = handle_async_request

    def handle_request(self, request: Request) -> Response:
        """Send a request when its limiter lets it."""
        response: Response = run(exchange(self._plan, self._channel, request))
        return response

    def close(self) -> None:
        """Close the transport within."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)


class AsyncTransport(_Transport[Request, Response, Inner]):
    """A transport that is awaited; see `httpx.RateLimitTransport`."""

    _channel_class = AsyncChannel
    _inner_name, _inner_method = "AsyncHTTPTransport", "handle_async_request"

    if not TYPE_CHECKING:  # likewise

        def handle_request(self, *_: Any) -> NoReturn:
            """Say which transport is the right one."""
            library = self._library.__name__
            raise TypeError(
                f"an AsyncRateLimitTransport is for an {library}.AsyncClient; "
                f"an {library}.Client takes a RateLimitTransport"
            )

        __enter__ = handle_request

    async def handle_async_request(self, request: Request) -> Response:
        """Send a request when its limiter lets it."""
        response: Response = await exchange(self._plan, self._channel, request)
        return response

    async def aclose(self) -> None:
        """Close the transport within."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)
