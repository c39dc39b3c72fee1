"""Hold the OpenAI SDK to two limits: requests, and the model tokens that only a reply tells.

The API is a stub on loopback that allows 10 requests at once and 20 a second. Without a limit most
of 30 calls at once fail; with one none does, and none is refused on the way.
"""

import asyncio

import httpx2
from openai import AsyncOpenAI
from stub_api import StubApi
from stub_api.models import openai_answer

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import total_tokens
from rate_limiter.http.httpx2 import AsyncRateLimitTransport

CALLS = 30
requests = TokenBucket(capacity=5, tokens_per_second=20)  # below the API's, as requests travel
tokens = TokenBucket.from_rate("90000/day")
limiter = RateLimiter(BucketGroup(requests=requests, tokens=tokens))


async def ask_all(title: str, transport: httpx2.AsyncBaseTransport) -> None:
    """Make calls at once, and print what became of them."""
    with StubApi(openai_answer, capacity=10, rate=20) as api:
        async with AsyncOpenAI(
            api_key="any",
            base_url=f"{api.url}/v1",
            http_client=httpx2.AsyncClient(transport=transport),
            max_retries=0,  # for this example: not to hide what is refused
        ) as client:
            calls = (
                client.chat.completions.create(
                    model="stub", messages=[{"role": "user", "content": f"question {number}"}]
                )
                for number in range(CALLS)
            )
            replies = await asyncio.gather(*calls, return_exceptions=True)
    failed = sum(isinstance(reply, Exception) for reply in replies)
    print(f"{title}: {failed} of {CALLS} calls failed, {api.refused} met a 429")


async def main() -> None:
    """Ask without a limit, and with one."""
    await ask_all("unlimited", httpx2.AsyncHTTPTransport())
    cost = {"requests": 1, "tokens": 1000}  # an estimate, until the reply says more
    settle = lambda _, tail: {"tokens": total_tokens(tail)}  # noqa: E731
    transport = AsyncRateLimitTransport(limiter, cost=cost, settle=settle, retries=2)
    await ask_all("limited", transport)
    print(f"about {90_000 - tokens.available_tokens:.0f} model tokens used")


if __name__ == "__main__":
    asyncio.run(main())
