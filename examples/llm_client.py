"""Keep to requests per minute and model tokens per minute, when only the reply tells the tokens.

A stub of a language model on this machine enforces both limits, with a count of its own. The client
guesses what a call will use, and settles when the reply reports it: more than guessed, or less.
"""

import asyncio
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from rate_limiter import BucketGroup, RateLimiter, TokenBucket

# Real limits are some fifty times lower; with these, a minute's work takes seconds.
REQUESTS_PER_MINUTE, REQUESTS_AT_ONCE = 1_800, 15
TOKENS_PER_MINUTE, TOKENS_AT_ONCE = 150_000, 2_600

EXPECTED = 60  # tokens that a call uses, as far as the client can guess
ACTUAL = {"classify": 20, "story": 190}  # and in truth, which only the server knows
PROMPTS = ["classify"] * 24 + ["story"] * 30

# At most so many calls are on their way at a time. What left before a window may arrive within it,
# and what an estimate lacks is charged only with the reply: the client leaves room for all of them,
# twice in tokens. Then no delay on the way, however long, leads to a refusal.
WORKERS = 4
MOST_TOKENS = 200  # per call, as max_tokens makes sure

limiter = RateLimiter(
    BucketGroup(
        requests=TokenBucket(REQUESTS_AT_ONCE - WORKERS, REQUESTS_PER_MINUTE / 60),
        tokens=TokenBucket(TOKENS_AT_ONCE - 2 * WORKERS * MOST_TOKENS, TOKENS_PER_MINUTE / 60),
    )
)
opener = build_opener(ProxyHandler({}))  # to this machine, whatever proxy is set


class Model(ThreadingHTTPServer):
    """A server that keeps a log, and checks both limits in every window that ends now."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.log: list[tuple[float, int]] = []
        self.lock = threading.Lock()

    def admit(self, tokens: int) -> bool:
        """Admit a call and log it, or refuse it."""
        with self.lock:
            now, requests, total = time.monotonic(), 1, tokens
            for then, used in reversed(self.log):
                minutes, requests, total = (now - then) / 60, requests + 1, total + used
                if requests > REQUESTS_AT_ONCE + REQUESTS_PER_MINUTE * minutes:
                    return False
                if total > TOKENS_AT_ONCE + TOKENS_PER_MINUTE * minutes:
                    return False
            self.log.append((now, tokens))
            return True


class Handler(BaseHTTPRequestHandler):
    """Answer with the usage, or with 429."""

    server: Model

    def do_GET(self) -> None:
        """Answer a prompt."""
        tokens = ACTUAL[self.path.lstrip("/")]
        self.send_response_only(200 if self.server.admit(tokens) else 429)
        self.end_headers()
        self.wfile.write(json.dumps({"usage": {"total_tokens": tokens}}).encode())


def call(url: str) -> int:
    """Send a prompt; return the tokens used, which are none if it was refused."""
    try:
        with opener.open(url, timeout=20) as reply:
            return int(json.load(reply)["usage"]["total_tokens"])
    except HTTPError as error:
        error.close()
        if error.code != 429:  # noqa: PLR2004 - too many requests
            raise
        return 0


async def ask(url: str) -> int:
    """Call when both limits allow what is expected; settle for what was used."""
    async with limiter.acquire({"requests": 1, "tokens": EXPECTED}) as permit:
        used = await asyncio.to_thread(call, url)
        permit.settle({"tokens": used})
    return used


async def run(*, limited: bool) -> int:
    """Send every prompt to a new server; return how many met a 429."""
    began, usages, prompts = time.monotonic(), list[int](), iter(PROMPTS)

    async def work(url: str) -> None:
        for prompt in prompts:
            asked = ask(url + prompt) if limited else asyncio.to_thread(call, url + prompt)
            usages.append(await asked)
            if len(usages) % 9 == 0:
                at, refused = time.monotonic() - began, usages.count(0)
                print(f"{at:4.1f} s {len(usages):4} calls {sum(usages):6} tokens {refused:4} 429s")

    with Model() as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(work(f"http://127.0.0.1:{server.server_port}/"))
        server.shutdown()
    mode = "limited" if limited else "unlimited"
    print(f"{mode}: {usages.count(0)} of {len(usages)} calls met a 429")
    return usages.count(0)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(run(limited=False)) and not asyncio.run(run(limited=True)) else 1)
