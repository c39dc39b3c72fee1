"""Fetch from a server that refuses too much, and never be refused.

A real HTTP server on this machine keeps its own count, by its own means, and answers 429 above its
limit. A client that just sends is refused. The same requests behind one limiter are not: through a
decorated function, in with-blocks, and from many asyncio tasks at once.
"""

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from rate_limiter import RateLimiter, TokenBucket

CAPACITY, RATE = 20, 24  # what the server advertises: tokens at once, tokens per second
COSTS = {"/item": 1, "/report": 4}  # and how many tokens each path costs
PATHS = ["/item", "/item", "/item", "/report"] * 2
TOO_MANY_REQUESTS = 429
BEGAN = time.monotonic()

# Requests travel for unequal times, so what leaves evenly arrives bunched. If those times differ by
# up to J seconds, what arrives within T seconds may have left within T + J: RATE * J tokens more
# than the bucket grants in T. Staying 15 tokens below the server's capacity allows for a J of
# 15 / 24 = 0.62 s, and costs nothing in the long run, because the rate is the server's own.
limiter = RateLimiter(TokenBucket(capacity=CAPACITY - 15, tokens_per_second=RATE))

opener = build_opener(ProxyHandler({}))  # to this machine, whatever proxy is set


def cost_of(url: str) -> int:
    """Return what the server charges for a URL, in tokens."""
    return COSTS[urlsplit(url).path]


def fetch_unlimited(url: str) -> int:
    """Fetch a URL at once; return the status."""
    try:
        with opener.open(url, timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            if error.code != TOO_MANY_REQUESTS:
                raise
            return error.code


@limiter.cost(cost_of)
def fetch_decorated(url: str) -> int:
    """Fetch a URL; the call waits until the tokens that the URL costs are there."""
    return fetch_unlimited(url)


def fetch_in_block(url: str) -> int:
    """Fetch a URL once its tokens are there."""
    with limiter.acquire(cost_of(url)):
        return fetch_unlimited(url)


async def fetch_async(url: str) -> int:
    """Fetch a URL once its tokens are there, while other tasks go on."""
    async with limiter.acquire(cost_of(url)):
        return await asyncio.to_thread(fetch_unlimited, url)


class ServerLimit:
    """Admit at most `capacity + rate * T` tokens in every window of T seconds.

    It keeps a log of what it admitted and checks every window that ends now: the rule itself, slow
    and simple, and nothing in common with how the client's bucket counts.
    """

    def __init__(
        self, capacity: float, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity, self.rate, self.clock = capacity, rate, clock
        self.admitted: list[tuple[float, float]] = []
        self.lock = threading.Lock()

    def admit(self, cost: float) -> float:
        """Admit a request and return 0.0, or return the seconds until it could be admitted."""
        with self.lock:
            now, total, excess = self.clock(), cost, cost - self.capacity
            for then, paid in reversed(self.admitted):
                total += paid
                excess = max(excess, total - self.capacity - self.rate * (now - then))
            if excess > 0:
                return excess / self.rate
            self.admitted.append((now, cost))
            return 0.0


class Server(ThreadingHTTPServer):
    """An HTTP server with a limit."""

    limit = ServerLimit(CAPACITY, RATE)
    request_queue_size = 128  # a connection that does not fit in is held up for a whole second


class Handler(BaseHTTPRequestHandler):
    """Answer 200, or 429 and when to come back."""

    def do_GET(self) -> None:
        """Answer one request."""
        delay = Server.limit.admit(COSTS[self.path])
        self.send_response(TOO_MANY_REQUESTS if delay else 200)
        if delay:
            self.send_header("Retry-After", str(math.ceil(delay)))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Leave the output to the timeline."""


class Timeline:
    """Count what one way of fetching meets, and print it twice a second and at the end."""

    def __init__(self, mode: str, total: int) -> None:
        self.mode, self.total = mode, total
        self.requests, self.refused, self.longest = 0, 0, 0.0
        self.shown_at = time.monotonic()

    def add(self, asked_at: float, status: int) -> None:
        """Count the answer to a request that was asked for at `asked_at`."""
        self.requests += 1
        self.refused += status == TOO_MANY_REQUESTS
        self.longest = max(self.longest, time.monotonic() - asked_at)
        if self.requests == self.total or time.monotonic() - self.shown_at > 1 / 2:
            self.show()

    def show(self) -> None:
        """Print a line."""
        self.shown_at = time.monotonic()
        at, longest = f"{self.shown_at - BEGAN:.1f} s", f"{self.longest:.2f} s"
        print(f"{at:>6}  {self.mode:<11}{self.requests:8}{longest:>14}{self.refused:6}", flush=True)


def run(mode: str, fetch: Callable[[str], int], urls: list[str]) -> Timeline:
    """Fetch one URL after the other."""
    timeline = Timeline(mode, len(urls))
    for url in urls:
        timeline.add(time.monotonic(), fetch(url))
    return timeline


async def run_tasks(urls: list[str]) -> Timeline:
    """Fetch all URLs at once, each in a task."""
    timeline = Timeline("tasks", len(urls))

    async def run_one(url: str) -> None:
        timeline.add(time.monotonic(), await fetch_async(url))

    async with asyncio.TaskGroup() as tasks:
        for url in urls:
            tasks.create_task(run_one(url))
    return timeline


def main() -> int:
    """Run the server and every client; return the exit code."""
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        urls = [f"http://127.0.0.1:{server.server_port}{path}" for path in PATHS]
        print("  time  mode       requests  longest call   429s")
        unlimited = run("unlimited", fetch_unlimited, urls * 6)
        time.sleep(CAPACITY / RATE)  # by then the server's count of it has run out
        modes = [
            run("decorated", fetch_decorated, urls),
            run("with-block", fetch_in_block, urls),
            asyncio.run(run_tasks(urls)),
        ]
        server.shutdown()
    sent, refused = sum(mode.requests for mode in modes), sum(mode.refused for mode in modes)
    print(f"unlimited: {unlimited.refused} of {unlimited.requests} requests met a 429")
    print(f"limited: {refused} of {sent} requests met a 429")
    return 0 if unlimited.refused and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
