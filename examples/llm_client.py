"""Keep to requests and model tokens per minute, when only the reply says how many tokens it took.

The model is a stub that counts for itself, in every minute that ends now, and refuses above its
limits. To be quick, a minute lasts a second here.
"""

import asyncio
import random
import sys
import time

import httpx

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import total_tokens
from rate_limiter.http.httpx import AsyncRateLimitTransport

REQUESTS, TOKENS = 40, 6_000  # what the model allows in any minute
EXPECTED = 60  # model tokens of a call, as far as the client can guess
MOST = 200  # and at most, as max_tokens makes sure
WORKERS = 4  # calls that are on their way at the same time
USED = {"classify": 20, "story": 190}  # in truth, which only the model knows
PROMPTS = ["classify"] * 24 + ["story"] * 30

# The model counts whole minutes, so the rates are strict: a part is there at once, the rest is
# spread, and no minute has more than the count. What left before a minute may arrive within it, and
# what a guess lacks is charged only with the reply. So there is room for every call on its way, and
# twice for its tokens.
limiter = RateLimiter(
    BucketGroup(
        requests=TokenBucket.from_rate(f"{REQUESTS - WORKERS}/second", strict=True),
        tokens=TokenBucket.from_rate(f"{TOKENS - 2 * WORKERS * MOST}/second", strict=True),
    )
)


class Model:
    """A model that keeps a log of the calls it has served."""

    def __init__(self) -> None:
        self.log: list[tuple[float, int]] = []

    async def complete(self, request: httpx.Request) -> httpx.Response:
        """Answer with the tokens used, or with a 429."""
        await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311 - the time on the way
        now, used = time.monotonic(), USED[request.url.path.removeprefix("/")]
        minute = [tokens for then, tokens in self.log if then > now - 1]
        if len(minute) + 1 > REQUESTS or sum(minute) + used > TOKENS:
            return httpx.Response(429, json={"error": {"message": "slow down"}})
        self.log.append((now, used))
        return httpx.Response(200, json={"usage": {"total_tokens": used}})


async def run(*, limited: bool) -> int:
    """Send every prompt to a new model; return how many calls met a 429."""
    began, prompts, usages = time.monotonic(), iter(PROMPTS), list[int]()
    transport: httpx.AsyncBaseTransport = httpx.MockTransport(Model().complete)
    if limited:  # by what is expected, and in the end by what the reply says
        transport = AsyncRateLimitTransport(
            limiter,
            cost={"requests": 1, "tokens": EXPECTED},
            settle=lambda _, tail: {"tokens": total_tokens(tail)},
            transport=transport,
        )

    async def work(client: httpx.AsyncClient) -> None:
        for prompt in prompts:
            reply = await client.post(f"http://model/{prompt}")
            usages.append(reply.json()["usage"]["total_tokens"] if reply.is_success else 0)
            if len(usages) % 9 == 0:
                at, refused = time.monotonic() - began, usages.count(0)
                print(f"{at:4.1f} s {len(usages):4} calls {sum(usages):6} tokens {refused:4} 429s")

    async with httpx.AsyncClient(transport=transport) as client:
        await asyncio.gather(*(work(client) for _ in range(WORKERS)))
    mode = "limited" if limited else "unlimited"
    print(f"{mode}: {usages.count(0)} of {len(usages)} calls met a 429")
    return usages.count(0)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(run(limited=False)) and not asyncio.run(run(limited=True)) else 1)
