"""Crawl with aiohttp, each host at its own rate; a stub on loopback is every host.

Ten tasks follow the links that they find. The middleware holds each request until its host's limit
lets it through, so that a slow host holds up nobody else.
"""

import asyncio
import json
import re

import aiohttp
from stub_api import Answer, StubApi

from rate_limiter import KeyedRateLimiter, TokenBucket
from rate_limiter.http.aiohttp import rate_limit_middleware

limiters = KeyedRateLimiter(lambda: TokenBucket(capacity=5, tokens_per_second=30))


def answer(path: str, _: object) -> Answer:
    """Be page n, with links to pages 2n and 2n + 1 of the other host."""
    page = int(path.removeprefix("/"))
    links = [f"/{child}" for child in (2 * page, 2 * page + 1) if child < 32]  # noqa: PLR2004
    return 200, {"Content-Type": "text/html"}, json.dumps(links).encode()


async def crawl(port: int) -> dict[str, int]:
    """Return how many pages each host has served."""
    found: asyncio.Queue[str] = asyncio.Queue()
    pages = {"127.0.0.1": 0, "localhost": 0}
    other = dict(zip(pages, reversed(pages), strict=True))
    found.put_nowait(f"http://localhost:{port}/1")

    async def work(session: aiohttp.ClientSession) -> None:
        while True:
            url = await found.get()
            async with session.get(url) as response:
                host = response.url.host or ""
                for link in re.findall(r"/\d+", await response.text()):
                    found.put_nowait(f"http://{other[host]}:{port}{link}")
            pages[host] += response.ok
            found.task_done()

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)  # a total includes the wait
    middlewares = (rate_limit_middleware(limiters, retries=2),)
    async with aiohttp.ClientSession(middlewares=middlewares, timeout=timeout) as session:
        workers = [asyncio.create_task(work(session)) for _ in range(10)]
        await found.join()
        for worker in workers:
            worker.cancel()
    return pages


if __name__ == "__main__":
    with StubApi(answer, capacity=40, rate=60) as api:
        print(asyncio.run(crawl(api.port)), f"{api.refused} met a 429")
