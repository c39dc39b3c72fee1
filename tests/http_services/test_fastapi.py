"""The dependency of FastAPI: routes that are limited, each on its own."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from service_worlds import DENIAL, ask, http_scope, opened, websocket_scope

from rate_limiter import KeyedRateLimiter
from rate_limiter.http.asgi import RateLimitMiddleware
from rate_limiter.http.fastapi import RateLimited, client_ip, limit


def empty():
    return []


def get(app, path="/", **fields):
    return asyncio.run(ask(app, http_scope(path, **fields)))


@pytest.fixture
def app():
    return FastAPI()


def test_limit_route_leaves_other_routes_alone(app, limiters):
    """A limit is for the routes that depend on it."""

    @app.get("/search", dependencies=[Depends(limit(limiters))])
    def search():
        return []

    @app.get("/")
    def home():
        return []

    assert [get(app, "/search").status for _ in range(4)] == [200, 200, 200, 429]
    reply = get(app)
    assert (reply.status, reply.field("RateLimit")) == (200, None)


def test_limit_router_is_shared_by_its_routes(app, limiters):
    """A limit of a router is one for all its routes."""
    router = APIRouter(dependencies=[Depends(limit(limiters))])

    @router.get("/a")
    @router.get("/b")
    async def serve():
        return []

    app.include_router(router)
    assert [get(app, path).status for path in ("/a", "/b", "/a", "/b")] == [200, 200, 200, 429]


def test_limit_application_counts_all(app, limiters):
    """A limit of the application is one for all its routes."""
    app = FastAPI(dependencies=[Depends(limit(limiters))])
    app.get("/a")(app.get("/b")(empty))
    assert [get(app, path).status for path in ("/a", "/b", "/a", "/b")] == [200, 200, 200, 429]


def test_limit_by_user_reads_the_request(app, limiters):
    """A key gets the request, as a route does."""

    def user_of(request):
        assert isinstance(request, Request)
        return request.headers.get("x-user")

    app.get("/", dependencies=[Depends(limit(limiters, key=user_of))])(empty)
    assert [get(app, x_user="ann").status for _ in range(4)] == [200, 200, 200, 429]
    assert get(app, x_user="ben").status == 200
    assert get(app).status == 200


def test_limit_after_another_dependency_sees_what_it_found(app, limiters):
    """A dependency before it may find out who asks, and leave it in the request's state."""

    async def current_user(request: Request):
        request.state.user = request.headers["x-user"]

    limited = limit(limiters, key=lambda request: request.state.user)
    app.get("/", dependencies=[Depends(current_user), Depends(limited)])(empty)
    assert [get(app, x_user="ann").status for _ in range(4)] == [200, 200, 200, 429]


def test_limit_by_several_dependencies_asks_each(app, limiters, clock):
    """Two limits of a route are two, and both tell what is left."""
    hourly = KeyedRateLimiter.from_rate("2/hour", block=False, clock=clock)
    both = [Depends(limit(limiters)), Depends(limit(hourly, name="hourly"))]
    app.get("/", dependencies=both)(empty)
    assert get(app).field("RateLimit") == '"default";r=2;t=20, "hourly";r=1;t=1800'
    get(app)
    assert get(app).problem["violated-policies"] == ["hourly"]


def test_limit_inside_the_middleware_asks_both(app, limiters, clock):
    """A limit of the service and one of a route go together; a refusal has the fields of both."""
    app.get("/", dependencies=[Depends(limit(limiters, name="route"))])(empty)
    everywhere = KeyedRateLimiter.from_rate("10/minute", block=False, clock=clock)
    app.add_middleware(RateLimitMiddleware, limiters=everywhere)
    for _ in range(3):
        get(app)
    reply = get(app)
    assert (reply.status, reply.problem["violated-policies"]) == (429, ["route"])
    assert reply.field("RateLimit") == '"route";r=0;t=20, "default";r=6;t=24'


def test_limit_a_mounted_application_answers_as_ever(app, limiters):
    """An application within another has handlers of its own, and answers all the same."""
    inner = FastAPI()
    inner.get("/", dependencies=[Depends(limit(limiters))])(empty)
    app.mount("/inner", inner)
    replies = [get(app, "/inner/") for _ in range(4)]
    assert replies[3].problem["violated-policies"] == ["default"]


def test_answer_refusals_by_a_handler_of_ones_own(app, limiters):
    """An application may answer `RateLimited` in its own way."""

    @app.exception_handler(RateLimited)
    def refuse(request, error):
        text = {"wait": error.headers["Retry-After"]}
        return JSONResponse(text, error.status_code, headers=error.headers)

    app.get("/", dependencies=[Depends(limit(limiters))])(empty)
    replies = [get(app) for _ in range(4)]
    assert (replies[3].status, replies[3].body) == (429, b'{"wait":"20"}')
    assert replies[3].field("Content-Length") == "13"
    assert replies[3].field("RateLimit") == '"default";r=0;t=20'


def test_answer_refusals_without_handlers_is_the_hosts_to_do(limiters):
    """Where Starlette has no handlers to look up, the refusal is its ordinary HTTP exception."""
    limited = limit(limiters, key=lambda _: "ann")
    request = Request({"type": "http", "headers": []})
    for _ in range(3):
        asyncio.run(limited(request, Response()))
    with pytest.raises(HTTPException) as caught:
        asyncio.run(limited(request, Response()))
    assert caught.value.status_code == 429
    assert caught.value.headers["Retry-After"] == "20"


def test_answer_an_error_of_the_route_is_the_applications(app, limiters):
    """What a route raises is answered as without a limit; its request counts."""

    @app.get("/", dependencies=[Depends(limit(limiters))])
    def serve():
        raise HTTPException(404)

    assert get(app).status == 404
    assert limiters["10.0.0.1"].bucket.available_tokens == 2


def test_limit_a_websocket_refuses_it_as_the_middleware_does(app, limiters):
    """A websocket's route is refused with a 429 where offered, else by a close before accept."""

    @app.websocket("/", dependencies=[Depends(limit(limiters))])
    async def chat(socket: WebSocket):
        await socket.accept()
        await socket.close()

    def kinds(extensions=None):
        return [message["type"] for message in opened(app, websocket_scope(extensions, path="/"))]

    for _ in range(3):
        assert kinds() == ["websocket.accept", "websocket.close"]
    assert kinds() == ["websocket.close"]
    assert kinds(DENIAL) == ["websocket.http.response.start", "websocket.http.response.body"]


def test_describe_route_shows_no_parameter_of_the_limit(app, limiters):
    """The limit adds nothing to the description of the interface."""
    app.get("/", dependencies=[Depends(limit(limiters))])(empty)
    assert "parameters" not in app.openapi()["paths"]["/"]["get"]
    assert client_ip({"client": ("10.0.0.1", 1)}) == "10.0.0.1"


def test_count_is_the_middlewares(limiters):
    """A dependency does not see the answer, so it has no `count` that could be wrong."""
    with pytest.raises(TypeError, match="count"):
        limit(limiters, count=lambda status: True)
