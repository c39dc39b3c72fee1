"""An adapter that holds the requests of a requests session to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from typing import Any, cast

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema, InvalidURL
from urllib3 import HTTPResponse
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util import parse_url

from ..rates import Number
from .bodies import BodyWatch
from .exchange import Channel, exchange, run
from .plan import Cost, Key, Limiter, Plan, Settle, make_plan
from .waiting import Blocking

__all__ = ["RateLimitAdapter"]

_NOT_SENT = (InvalidURL, InvalidSchema, InvalidProxyURL)
_NOT_CONNECTED = (ConnectTimeoutError, NewConnectionError)


class RateLimitAdapter(BaseAdapter):
    """Let a request through when its limiter does, and pause everybody as the server says.

        session = requests.Session()
        session.mount("https://", RateLimitAdapter(limiter))

    The response is handed on as it is, a 429 included. After a 429, a 503 or GitHub's 403, nobody
    who shares the bucket is admitted for as long as the response says. A request that never left
    gets its tokens back.

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
        transport: The adapter that sends; `HTTPAdapter()` if None. Its own retries pass no limiter,
            and with them a failure to connect stays charged: an attempt before may have left.

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiter does not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        key: Key[requests.PreparedRequest] | None = None,
        cost: Cost[requests.PreparedRequest] = 1,
        settle: Settle[requests.Response] | None = None,
        max_pause: Number = 3600,
        retries: int = 0,
        transport: BaseAdapter | None = None,
    ) -> None:
        super().__init__()
        self._plan = make_plan(
            limiter,
            key=key,
            default_key=_host_of,
            cost=cost,
            settle=settle,
            max_pause=max_pause,
            retries=retries,
        )
        self._inner: BaseAdapter = HTTPAdapter() if transport is None else transport

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request when its limiter lets it; the options are those of the adapter within."""
        channel = _Channel(self._inner, args, options)
        response: requests.Response = run(exchange(self._plan, channel, request))
        cast(Any, response).connection = self  # by which authentication sends a request again
        return response

    def close(self) -> None:
        """Close the adapter within."""
        self._inner.close()


def _host_of(request: requests.PreparedRequest) -> str:
    return parse_url(request.url or "").host or ""


class _Channel(Channel[requests.PreparedRequest, requests.Response]):
    """Sends through an adapter."""

    waiting = Blocking()

    def __init__(self, inner: BaseAdapter, args: Any, options: Any) -> None:
        self._inner = inner
        self._args = args
        self._options = options

    async def send(self, request: requests.PreparedRequest) -> requests.Response:
        return self._inner.send(request, *self._args, **self._options)

    def never_left(self, error: Exception) -> bool:
        if isinstance(error, _NOT_SENT):
            return True
        if getattr(getattr(self._inner, "max_retries", None), "total", 0):
            return False  # the last attempt never left; those before are not told
        return _failed_to_connect(getattr(_told(error), "reason", None))

    def can_replay(self, request: requests.PreparedRequest) -> bool:
        return request.body is None or isinstance(request.body, bytes | str)

    def answer(self, response: requests.Response) -> tuple[int, Any]:
        return response.status_code, list(_fields_of(response))

    async def close(self, response: requests.Response) -> None:
        response.close()

    async def watch(
        self,
        response: requests.Response,
        plan: Plan[requests.PreparedRequest, requests.Response],
        permit: Any,
    ) -> requests.Response:
        watch = BodyWatch(plan, permit, response)
        if isinstance(response.raw, HTTPResponse):
            watch.begin()
        else:  # a stand-in for a body, of a mock
            watch.take(response.content, decoded=True)
            watch.end()
        return response


def _fields_of(response: requests.Response) -> Iterator[tuple[str, str]]:
    """Yield the fields of a response, one by one where several have a name in common.

    requests joins those, and "5, 7" is no `Retry-After`; urllib3 has kept them apart.
    """
    fields_of: Any = getattr(getattr(response.raw, "headers", None), "getlist", None)
    for name, value in response.headers.lower_items():
        apart: list[str] = fields_of(name) if fields_of and ", " in str(value) else []
        if apart and ", ".join(apart) == value:
            yield from ((name, text) for text in apart)
        else:  # there is one, or somebody has changed it since
            yield name, value


def _failed_to_connect(error: Any) -> bool:
    """Tell whether an error of urllib3 came while it connected.

    An error of TLS or of a proxy has the same type then as when the connection breaks later, with
    the request sent. So where it was raised decides.
    """
    while isinstance(error, Exception):
        if isinstance(error, _NOT_CONNECTED) or _passes_connect(error):
            return True
        error = getattr(error, "original_error", None) or _told(error)
    return False


def _told(error: Exception) -> Any:
    """Return the error that another one was made from; None if there is none."""
    return error.args[0] if error.args else None


def _passes_connect(error: Exception) -> bool:
    return any(
        (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("urllib3.connection", "connect")
        for frame, _ in walk_tb(error.__traceback__)
    )
