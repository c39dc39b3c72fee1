"""Do as a 429 says: its Retry-After pauses every thread and task that shares the limit.

The server is a function. Over a network it is the same, with the library's own transports within.
"""

import asyncio
import math
import time

import httpx

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.http.httpx import AsyncRateLimitTransport, RateLimitTransport

limiter = RateLimiter(TokenBucket(capacity=1, tokens_per_second=5))
arrivals: list[float] = []
pauses: list[tuple[float, int]] = []


def serve(request: httpx.Request) -> httpx.Response:
    """Answer 200, or 429 while the server is down."""
    arrivals.append(time.monotonic())
    at = f"{arrivals[-1] - arrivals[0]:.1f} s {request.url.path}"
    back_in = arrivals[1] + 0.8 - arrivals[-1] if arrivals[1:] else 0
    if back_in <= 0:
        print(f"{at}: 200")
        return httpx.Response(200)
    seconds = math.ceil(back_in)  # whole seconds, rounded up
    pauses.append((arrivals[-1], seconds))
    print(f"{at}: 429, all pause for {seconds} s")
    return httpx.Response(429, headers={"Retry-After": str(seconds)})


def run_thread() -> None:
    """Ask from a thread; a refused request is sent again when the pause is over."""
    transport = RateLimitTransport(limiter, retries=3, transport=httpx.MockTransport(serve))
    with httpx.Client(transport=transport) as client:
        client.get("http://server/thread").raise_for_status()


async def run_task() -> None:
    """Ask from a task."""
    transport = AsyncRateLimitTransport(limiter, retries=3, transport=httpx.MockTransport(serve))
    async with httpx.AsyncClient(transport=transport) as client:
        (await client.get("http://server/task")).raise_for_status()


async def main() -> None:
    """Let two threads and three tasks ask; when the pause ends they come one by one."""
    threads = [asyncio.to_thread(run_thread) for _ in range(2)]
    await asyncio.gather(*threads, *(run_task() for _ in range(3)))
    paused_at, seconds = pauses[-1]
    assert not any(paused_at < at < paused_at + seconds for at in arrivals)
    print(f"no request arrived in the {seconds} s of the pause")


if __name__ == "__main__":
    asyncio.run(main())
