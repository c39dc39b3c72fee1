"""One way to ask a limited service, whichever interface it has."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from fastapi import Depends, FastAPI, Response

from rate_limiter.http import asgi, wsgi
from rate_limiter.http.fastapi import limit

DENIAL = {"websocket.http.response": {}}  # with which a server offers to answer websockets


@dataclass
class Reply:
    """What a client gets."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name):
        """Return the value of a field, lines joined; None if there is none."""
        values = [value for each, value in self.fields if each.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def problem(self):
        """The problem details."""
        assert self.field("content-type") == "application/problem+json"
        return json.loads(self.body)


class World:
    """A limited service whose application answers with the status that the path names.

    The path `/raise` has it raise, and `served` counts what it was asked.
    """

    def __init__(self):
        self.served = 0

    def status_of(self, path):
        """Count a request; return its status, or raise."""
        self.served += 1
        if path == "/raise":
            raise ZeroDivisionError
        return int(path[1:] or 200)

    def limit(self, limiters, *args, **options):
        """Limit the service; return it."""
        raise NotImplementedError

    def get(self, path="/200", client="10.0.0.1", method="GET", **fields):
        """Ask for a path from an address."""
        raise NotImplementedError


async def body_to_come():
    """Stand for a client that has sent its request and waits."""
    return {"type": "http.request", "body": b"", "more_body": False}


def http_scope(path="/200", client="10.0.0.1", method="GET", **fields):
    """Return the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()
        ],
        "client": (client, 50_000) if client else None,
        "server": ("testserver", 80),
        "state": {},
    }


def websocket_scope(extensions=None, **fields):
    """Return the scope of a websocket."""
    scope = http_scope(**fields) | {"type": "websocket", "scheme": "ws", "subprotocols": []}
    del scope["method"]
    return scope if extensions is None else scope | {"extensions": extensions}


def opened(limited, scope):
    """Open a websocket; return what was sent."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    asyncio.run(limited(scope, receive, send))
    return sent


async def ask(app, scope, receive=body_to_come):
    """Drive an ASGI application; return its reply."""
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return reply_of(sent)


def reply_of(sent):
    """Return the reply that messages are."""
    start, *bodies = sent
    assert start["type"].endswith("http.response.start")
    fields = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Reply(start["status"], fields, b"".join(part["body"] for part in bodies))


class AsgiWorld(World):
    """A bare ASGI application behind the middleware."""

    def limit(self, limiters, *args, **options):
        self.limited = asgi.RateLimitMiddleware(self.app, limiters, *args, **options)
        return self.limited

    async def app(self, scope, receive, send):
        status = self.status_of(scope["path"])
        own = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": status, "headers": own})
        await send({"type": "http.response.body", "body": b"served"})

    def get(self, path="/200", client="10.0.0.1", method="GET", **fields):
        return asyncio.run(ask(self.limited, http_scope(path, client, method, **fields)))


class WsgiWorld(World):
    """A bare WSGI application behind the middleware."""

    def limit(self, limiters, *args, **options):
        self.limited = wsgi.RateLimitMiddleware(self.app, limiters, *args, **options)
        return self.limited

    def app(self, environ, start_response):
        status = self.status_of(environ["PATH_INFO"])
        start_response(f"{status} Said", [("Content-Type", "text/plain")])
        return [b"served"]

    def get(self, path="/200", client="10.0.0.1", method="GET", **fields):
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "REMOTE_ADDR": client or ""}
        environ |= {f"HTTP_{name.upper()}": value for name, value in fields.items()}
        return run_wsgi(self.limited, environ)


class FastApiWorld(World):
    """A route of FastAPI that depends on the limit."""

    def limit(self, limiters, *args, **options):
        self.limited = FastAPI()
        dependency = limit(limiters, *args, **options)

        @self.limited.api_route(
            "/{path}", methods=["GET", "HEAD"], dependencies=[Depends(dependency)]
        )
        async def serve(path: str, response: Response) -> str:
            response.status_code = self.status_of(f"/{path}")
            return "served"

        return dependency

    def get(self, path="/200", client="10.0.0.1", method="GET", **fields):
        return asyncio.run(ask(self.limited, http_scope(path, client, method, **fields)))


def run_wsgi(app, environ):
    """Drive a WSGI application as a server does; return its reply."""
    started = []

    def start_response(status, fields, exc_info=None):
        started.append((int(status[:3]), fields))

    body = app(environ, start_response)
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return Reply(*started[-1], content)


WORLDS = {"asgi": AsgiWorld, "wsgi": WsgiWorld, "fastapi": FastApiWorld}
