"""Each framework as a host, on a real server."""

from __future__ import annotations

from socket import create_connection

import http_sf
import pytest
from fastapi import Depends, FastAPI
from hosted import by_werkzeug, get
from loopback import HOST, by_uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rate_limiter import KeyedRateLimiter
from rate_limiter.http import asgi, wsgi
from rate_limiter.http.fastapi import limit


def starlette_app(limiters, **options):
    async def home(request):
        return PlainTextResponse("served")

    async def login(request):
        return JSONResponse({}, int(request.query_params["status"]))

    async def chat(socket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    routes = [Route("/", home), Route("/login", login), WebSocketRoute("/chat", chat)]
    middleware = [Middleware(asgi.RateLimitMiddleware, limiters=limiters, **options)]
    return Starlette(routes=routes, middleware=middleware)


def fastapi_app(limiters, **options):
    app = FastAPI()
    app.add_middleware(asgi.RateLimitMiddleware, limiters=limiters, **options)

    @app.get("/")
    async def home():
        return "served"

    @app.get("/login")
    def login(status: int):
        return JSONResponse({}, status)

    return app


def fastapi_routes(limiters, **options):
    app = FastAPI()

    @app.get("/", dependencies=[Depends(limit(limiters, **options))])
    def home():
        return "served"

    return app


def flask_app(limiters, **options):
    from flask import Flask, request

    app = Flask(__name__)
    app.wsgi_app = wsgi.RateLimitMiddleware(app.wsgi_app, limiters, **options)

    @app.get("/")
    def home():
        return "served"

    @app.get("/login")
    def login():
        return {}, int(request.args["status"])

    return app


def django_asgi(limiters, **options):
    from django_site import get_asgi_application

    return asgi.RateLimitMiddleware(get_asgi_application(), limiters, **options)


def django_wsgi(limiters, **options):
    from django_site import get_wsgi_application

    return wsgi.RateLimitMiddleware(get_wsgi_application(), limiters, **options)


MIDDLEWARE = {
    "Starlette": (by_uvicorn, starlette_app),
    "FastAPI": (by_uvicorn, fastapi_app),
    "Django, ASGI": (by_uvicorn, django_asgi),
    "Flask": (by_werkzeug, flask_app),
    "Django, WSGI": (by_werkzeug, django_wsgi),
}
HOSTS = MIDDLEWARE | {"FastAPI, dependency": (by_uvicorn, fastapi_routes)}


@pytest.mark.parametrize("host", HOSTS)
def test_serve_by_a_real_server_holds_the_limit(host, limiters, clock):
    """P44: Each framework answers three, then 429 with fields that parse, whatever is forged."""
    serve, make_app = HOSTS[host]
    with serve(make_app(limiters, legacy_headers=True)) as port:
        replies = [get(port, x_forwarded_for=f"203.0.113.{n}") for n in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert [reply.field("X-RateLimit-Remaining") for reply in replies] == ["2", "1", "0", "0"]
        for reply in replies:
            for name in ("RateLimit", "RateLimit-Policy"):
                ((policy, numbers),) = http_sf.parse(reply.field(name).encode(), tltype="list")
                assert policy == "default"
                assert all(isinstance(number, int) for number in numbers.values())
        assert b"served" in replies[2].body
        refused = replies[3]
        assert refused.problem["violated-policies"] == ["default"]
        assert get(port, method="HEAD").body == b""
        clock.advance(int(refused.field("Retry-After")))
        assert get(port).status == 200


@pytest.mark.parametrize("host", MIDDLEWARE)
def test_throttle_logins_by_a_real_server(host, limiters):
    """What does not count is refunded, also where the framework makes the answer in a thread."""
    serve, make_app = MIDDLEWARE[host]
    with serve(make_app(limiters, count=lambda status: status == 401)) as port:
        assert [get(port, "/login?status=200").status for _ in range(5)] == [200] * 5
        assert [get(port, "/login?status=401").status for _ in range(4)] == [401] * 3 + [429]


def test_open_websocket_by_a_real_server(limiters):
    """A websocket is opened with the fields on its handshake, and refused with a 429."""
    with by_uvicorn(starlette_app(limiters)) as port:
        for left in (2, 1, 0):
            with connect(f"ws://{HOST}:{port}/chat") as socket:
                assert socket.recv() == "hello"
                told = socket.response.headers["RateLimit"]
                assert told == f'"default";r={left};t={20 * (3 - left) if left else 20}'
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{HOST}:{port}/chat"):
            pass
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (429, "20")


def test_read_the_address_behind_a_trusted_proxy(limiters):
    """P44: Behind a proxy the server says who the client is, if it trusts the proxy."""
    app = starlette_app(limiters)
    with by_uvicorn(app, proxy_headers=True, forwarded_allow_ips=HOST) as port:
        told = [get(port, x_forwarded_for=f"203.0.113.{n}").status for n in range(4)]
    assert told == [200] * 4
    with by_uvicorn(app, proxy_headers=True, forwarded_allow_ips="10.9.9.9") as port:
        told = [get(port, x_forwarded_for=f"203.0.113.{n}").status for n in range(4)]
    assert told == [200, 200, 200, 429]


def test_read_the_address_that_proxyfix_found(clock):
    """P44: ProxyFix goes outside the limit, and takes as many addresses as there are proxies."""
    from werkzeug.middleware.proxy_fix import ProxyFix

    limiters = KeyedRateLimiter.from_rate("1/minute", block=False, clock=clock)
    app = flask_app(limiters)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)
    with by_werkzeug(app) as port:
        told = [get(port, x_forwarded_for=f"8.8.8.{n}, 203.0.113.1").status for n in range(2)]
        assert told == [200, 429]
        assert get(port, x_forwarded_for="203.0.113.2").status == 200


def test_disconnect_during_an_answer_leaves_the_service_well(limiters):
    """A client that goes away has used its request; the others are served."""
    with by_uvicorn(starlette_app(limiters)) as port:
        with create_connection((HOST, port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        replies = [get(port).status for _ in range(4)]
    assert replies in ([200, 200, 429, 429], [200, 200, 200, 429])
