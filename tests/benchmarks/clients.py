"""Measure what a limit adds to a request, beside the same transport without one.

The transports within answer at once, from memory: nothing but the limit is in the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from statistics import median
from types import SimpleNamespace

import httpx
import httpx2
import requests
from canned import HEADERS, Canned
from measuring import Pair, awaiting, compare, statement
from table import Figure
from yarl import URL

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http import httpx as limited_httpx
from rate_limiter.http import httpx2 as limited_httpx2
from rate_limiter.http.aiohttp import rate_limit_middleware
from rate_limiter.http.requests import RateLimitAdapter

MOST = 15  # microseconds


class Over(Pair):
    """A pair whose figure is what the one takes beyond the other."""

    def figure(self) -> Figure:
        mine, reference = (median(seconds) * 1e6 for seconds in zip(*self.rounds, strict=True))
        over = median(one - another for one, another in self.rounds) * 1e6
        return Figure(self.label, over, self.target, f"{mine:.1f} / {reference:.1f} µs")


def limiter() -> RateLimiter:
    return RateLimiter(TokenBucket(10**9, 1))


def clients(rounds: int) -> Iterator[Figure]:
    """Measure every client."""
    loop = asyncio.new_event_loop()
    pairs = [
        *httpx_pairs(loop, httpx, limited_httpx),
        *httpx_pairs(loop, httpx2, limited_httpx2),
        requests_pair(),
        aiohttp_pair(loop),
    ]
    yield from compare(pairs, rounds)
    loop.close()


def httpx_pairs(loop: asyncio.AbstractEventLoop, library: object, limited: object) -> list[Pair]:
    answer = library.Response(200, headers=HEADERS)

    async def answering(request: object) -> object:
        return answer

    bare, name = library.MockTransport(lambda request: answer), library.__name__
    bare_async = library.MockTransport(answering)
    request = library.Request("GET", "https://example.org/")
    plain = statement("f(r)", f=bare.handle_request, r=request)
    mine = limited.RateLimitTransport(limiter(), transport=bare)
    keyed = limited.RateLimitTransport(
        KeyedRateLimiter(lambda: TokenBucket(10**9, 1)), transport=bare
    )
    mine_async = limited.AsyncRateLimitTransport(limiter(), transport=bare_async)
    awaited = [
        awaiting(partial(transport.handle_async_request, request), loop)
        for transport in (mine_async, bare_async)
    ]
    handle = {
        label: statement("f(r)", f=transport.handle_request, r=request)
        for label, transport in [("limited", mine), ("by host", keyed)]
    }
    return [
        *(
            Over(f"µs over {name}'s bare transport, {label}", m, plain, MOST)
            for label, m in handle.items()
        ),
        Over(f"µs over {name}'s bare transport, awaited", *awaited, MOST),
    ]


def requests_pair() -> Pair:
    bare = Canned()
    mine = RateLimitAdapter(limiter(), transport=bare)
    request = requests.Request("GET", "https://example.org/").prepare()
    measures = (statement("f(r)", f=adapter.send, r=request) for adapter in (mine, bare))
    return Over("µs over requests' bare adapter", *measures, MOST)


def aiohttp_pair(loop: asyncio.AbstractEventLoop) -> Pair:
    raw = tuple((name.encode(), value.encode()) for name, value in HEADERS.items())
    response = SimpleNamespace(status=200, raw_headers=raw)

    async def handler(request: object) -> object:
        return response

    request = SimpleNamespace(url=URL("https://example.org/"), body=b"")
    middleware = rate_limit_middleware(limiter())
    measures = (
        awaiting(lambda: middleware(request, handler), loop),
        awaiting(lambda: handler(request), loop),
    )
    return Over("µs over aiohttp's bare handler", *measures, MOST)
