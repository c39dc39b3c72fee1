"""Limit a service of FastAPI: every client, and every user at a route that costs more."""

import socket
from http.client import HTTPConnection
from threading import Thread

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request

from rate_limiter import KeyedRateLimiter
from rate_limiter.http.asgi import RateLimitMiddleware
from rate_limiter.http.fastapi import limit

USERS = {"key-of-ann": "Ann", "key-of-ben": "Ben"}  # a service of your own looks elsewhere

app = FastAPI()
clients = KeyedRateLimiter.from_rate("100/minute", block=False)
app.add_middleware(RateLimitMiddleware, limiters=clients, name="clients")
searches = KeyedRateLimiter.from_rate("2/minute; 50/day", block=False)
by_user = limit(searches, key=lambda request: request.state.user)


async def authenticate(request: Request) -> None:
    """Find out who asks, before the limit does: a header alone can be forged."""
    request.state.user = USERS.get(request.headers.get("x-api-key", ""))
    if request.state.user is None:
        raise HTTPException(401)


@app.get("/")
async def home() -> str:
    """Cost a client one request."""
    return "welcome"


@app.get("/search", dependencies=[Depends(authenticate), Depends(by_user)])
async def search(text: str) -> list[str]:
    """Cost a client one request, and its user one search."""
    return [f"{text} for sale"]


def ask(port: int, path: str, key: str) -> None:
    """Ask the service, and print its answer and what it tells of the limits."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", path, headers={"x-api-key": key})
    response = connection.getresponse()
    wait = response.headers["Retry-After"]
    told = ", ".join(response.headers.get_all("RateLimit", [])) + f"; wait {wait} s" * bool(wait)
    print(f"{USERS[key]} {path[:7]}: {response.status}, {told}")
    connection.close()


if __name__ == "__main__":
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listening = socket.create_server(("127.0.0.1", 0))
    Thread(target=server.run, args=([listening],)).start()
    ask(listening.getsockname()[1], "/", "key-of-ann")
    for key in ("key-of-ann", "key-of-ann", "key-of-ann", "key-of-ben"):
        ask(listening.getsockname()[1], "/search?text=shoes", key)
    server.should_exit = True
