"""Measure what a limit adds to a request, over the bare application.

Applications are called as a server calls them, without one. All requests are those of one client,
which is well within its limit and is told so. A figure is the median over many short rounds, in
each of which the limited application and the bare one take turns; it is the processor's time, of
which what else the machine does takes little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from time import process_time
from timeit import Timer
from typing import Any

from fastapi import Depends, FastAPI
from flask import Flask
from measuring import Measure, Pair, compare
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from table import Figure

from rate_limiter import KeyedRateLimiter, TokenBucket
from rate_limiter.http import asgi, wsgi
from rate_limiter.http.fastapi import limit

MICRO = 1e6
MOST = 20.0  # microseconds over the bare application
OFTEN = 10**6  # tokens a second, so that the bucket is full again at the next request
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"a"), (b"x-forwarded-for", b"203.0.113.9")],
    "client": ("10.0.0.1", 50_000),
    "server": ("127.0.0.1", 80),
}
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "10.0.0.1",
    "wsgi.url_scheme": "http",
}


class Over(Pair):
    """An application that is limited, and the same without."""

    def figure(self) -> Figure:
        """Return the median of the differences in microseconds."""
        mine, bare = (median(seconds) * MICRO for seconds in zip(*self.rounds, strict=True))
        over = median(one - another for one, another in self.rounds) * MICRO
        return Figure(self.label, over, self.target, f"{mine:.1f} / {bare:.1f} us")


def services(rounds: int) -> Iterator[Figure]:
    """Measure everything."""
    loop = asyncio.new_event_loop()
    pairs = [*bare(loop), *starlette(loop), *flask(), *fastapi(loop)]
    yield from compare(pairs, rounds)
    loop.close()


def limiters() -> KeyedRateLimiter[Any]:
    return KeyedRateLimiter(lambda: TokenBucket(100, OFTEN), block=False)


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    pass


def asgi_calls(app: Any, loop: asyncio.AbstractEventLoop) -> Measure:
    """Time requests to an ASGI application; the first is checked."""
    sent: list[Any] = []

    async def note(message: Any) -> None:
        sent.append(message)

    def request(send: Any = send) -> Awaitable[object]:
        asking: Awaitable[object] = app(SCOPE.copy(), receive, send)
        return asking

    loop.run_until_complete(request(note))  # type: ignore[arg-type]
    assert sent[0]["status"] == 200

    async def repeat(number: int) -> float:
        began = process_time()
        for _ in range(number):
            await request()
        return process_time() - began

    return lambda number: loop.run_until_complete(repeat(number))


def wsgi_calls(app: Any) -> Measure:
    """Time requests to a WSGI application; the first is checked."""
    statuses: list[str] = []

    def note(status: str, headers: Any, exc_info: Any = None) -> None:
        statuses.append(status)

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        pass

    def request(start: Callable[..., None] = start_response) -> None:
        body = app(ENVIRON.copy(), start)
        b"".join(body)
        if hasattr(body, "close"):
            body.close()

    request(note)
    assert statuses[0].startswith("200")
    return Timer(request, timer=process_time).timeit


def bare(loop: asyncio.AbstractEventLoop) -> list[Pair]:
    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"served"})

    def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]

    return [
        Over(
            "us over a bare ASGI application",
            asgi_calls(asgi.RateLimitMiddleware(asgi_app, limiters()), loop),
            asgi_calls(asgi_app, loop),
            MOST,
        ),
        Over(
            "us over a bare WSGI application",
            wsgi_calls(wsgi.RateLimitMiddleware(wsgi_app, limiters())),
            wsgi_calls(wsgi_app),
            MOST,
        ),
    ]


def starlette(loop: asyncio.AbstractEventLoop) -> Iterator[Pair]:
    limited = starlette_app()
    limited.add_middleware(asgi.RateLimitMiddleware, limiters=limiters())
    yield Over("us over Starlette", asgi_calls(limited, loop), asgi_calls(starlette_app(), loop))


def starlette_app() -> Starlette:
    async def home(request: Any) -> PlainTextResponse:
        return PlainTextResponse("served")

    return Starlette(routes=[Route("/", home)])


def flask() -> Iterator[Pair]:
    limited = flask_app()
    limited.wsgi_app = wsgi.RateLimitMiddleware(limited.wsgi_app, limiters())  # type: ignore[method-assign]
    yield Over("us over Flask", wsgi_calls(limited), wsgi_calls(flask_app()))


def flask_app() -> Flask:
    made = Flask("served")
    made.get("/")(lambda: "served")
    return made


def fastapi(loop: asyncio.AbstractEventLoop) -> Iterator[Pair]:
    plain, limited = asgi_calls(fastapi_app(), loop), fastapi_app()
    limited.add_middleware(asgi.RateLimitMiddleware, limiters=limiters())
    yield Over("us over FastAPI", asgi_calls(limited, loop), plain)
    dependent = fastapi_app(limit(limiters()))
    yield Over("us over FastAPI, as a dependency", asgi_calls(dependent, loop), plain)


def fastapi_app(*dependencies: Any) -> FastAPI:
    made = FastAPI()

    @made.get("/", dependencies=list(map(Depends, dependencies)))
    async def home() -> str:
        return "served"

    return made
