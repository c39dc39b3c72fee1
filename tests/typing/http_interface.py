"""What type checkers say about HTTP clients, checked by mypy and pyright on every run."""

from __future__ import annotations

from typing import assert_type

import aiohttp
import httpx
import httpx2
import requests

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http import httpx as limited_httpx
from rate_limiter.http import httpx2 as limited_httpx2
from rate_limiter.http import retry_after, total_tokens
from rate_limiter.http.aiohttp import rate_limit_middleware
from rate_limiter.http.requests import RateLimitAdapter

limiter = RateLimiter(TokenBucket(10, 5))
limiters = KeyedRateLimiter(lambda: TokenBucket(10, 5))

transport = limited_httpx.RateLimitTransport(
    limiters,
    key=lambda request: assert_type(request, httpx.Request).headers["authorization"],
    cost=lambda request: {"requests": 1, "tokens": len(request.url.path)},
    settle=lambda response, tail: assert_type(response, httpx.Response).status_code + len(tail),
    max_pause=60,
    retries=2,
    transport=httpx.HTTPTransport(),
)
client = httpx.Client(transport=transport)
with limited_httpx.RateLimitTransport(limiter) as entered:
    assert_type(entered, limited_httpx.RateLimitTransport)
    assert_type(entered.handle_request(httpx.Request("GET", "http://host")), httpx.Response)

transport2 = limited_httpx2.AsyncRateLimitTransport(
    limiter,
    cost=2,
    settle=lambda response, tail: {"tokens": total_tokens(tail), "status": response.status_code},
    transport=httpx2.AsyncHTTPTransport(),
)
client2 = httpx2.AsyncClient(transport=transport2)

session = requests.Session()
session.mount(
    "https://",
    RateLimitAdapter(limiters, key=lambda request: assert_type(request.method, str | None)),
)


async def crawl() -> None:
    """Open a session of aiohttp."""
    middleware = rate_limit_middleware(limiters, key=lambda request: request.url.host)
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        response = await session.get("http://host")
        assert_type(retry_after(response.status, response.headers), float | None)


# What is refused
limited_httpx.RateLimitTransport(TokenBucket(10, 5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
limited_httpx.RateLimitTransport(limiter, transport=httpx2.HTTPTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
rate_limit_middleware(limiter, retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
