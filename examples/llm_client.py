"""Keep to requests and model tokens per minute, when only the reply says how many tokens it took.

The model is a stub that counts for itself. To be quick, a minute lasts a second here.
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
WORKERS = 4  # calls that are on their way at the same time
EXPECTED, MOST = 60, 200  # model tokens of a call: a guess, and what max_tokens makes sure of
USED = {"/classify": 20, "/story": 190}  # in truth, which only the model knows

# The model counts whole minutes, so the rates are strict: no minute has more than the count. What
# left before a minute may arrive within it, and what a guess lacks is charged only with the reply.
# So there is room for every call on its way, and twice for its tokens.
requests = TokenBucket.from_rate(f"{REQUESTS - WORKERS}/second", strict=True)
tokens = TokenBucket.from_rate(f"{TOKENS - 2 * WORKERS * MOST}/second", strict=True)


def model() -> httpx.MockTransport:
    """Make a model, which answers with the tokens that it has used, or with a 429."""
    log: list[tuple[float, int]] = []

    async def complete(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311 - the time on the way
        now, used = time.monotonic(), USED[request.url.path]
        minute = [tokens for then, tokens in log if then > now - 1]
        if len(minute) + 1 > REQUESTS or sum(minute) + used > TOKENS:
            return httpx.Response(429)
        log.append((now, used))
        return httpx.Response(200, json={"usage": {"total_tokens": used}})

    return httpx.MockTransport(complete)


async def calls(transport: httpx.AsyncBaseTransport) -> int:
    """Send every prompt; return how many calls met a 429."""
    prompts = iter(["/classify"] * 24 + ["/story"] * 30)
    async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:

        async def work() -> int:
            return sum([(await client.post(each)).status_code == 429 for each in prompts])  # noqa: PLR2004

        return sum(await asyncio.gather(*(work() for _ in range(WORKERS))))


if __name__ == "__main__":
    limited = AsyncRateLimitTransport(
        RateLimiter(BucketGroup(requests=requests, tokens=tokens)),
        cost={"requests": 1, "tokens": EXPECTED},  # what is expected, and in the end
        settle=lambda _, tail: {"tokens": total_tokens(tail)},  # what the reply says
        transport=model(),
    )
    alone, kept = asyncio.run(calls(model())), asyncio.run(calls(limited))
    print(f"calls that met a 429: {alone} without limits, {kept} with them")
    sys.exit(0 if alone and not kept else 1)
