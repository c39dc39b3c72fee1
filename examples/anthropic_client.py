"""Stream from the Anthropic SDK at a limit that is set too high, and lose nothing.

The API is a stub on loopback. When it says 429 with Retry-After, everybody who shares the limit
pauses, and the request is sent again in its turn. What a stream says of its tokens is settled as it
passes.
"""

import asyncio

import httpx2
from anthropic import AsyncAnthropic
from stub_api import StubApi
from stub_api.models import anthropic_answer

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import total_tokens
from rate_limiter.http.httpx2 import AsyncRateLimitTransport

tokens = TokenBucket.from_rate("90000/day")
limiter = RateLimiter(BucketGroup(requests=TokenBucket(20, 40), tokens=tokens))  # twice too much
transport = AsyncRateLimitTransport(
    limiter,
    cost={"requests": 1, "tokens": 1000},
    settle=lambda _, tail: {"tokens": total_tokens(tail)},
    retries=5,
)


async def ask(client: AsyncAnthropic, number: int) -> str:
    """Return the text of a streamed reply."""
    question = {"role": "user", "content": f"Is {number} a number?"}
    async with client.messages.stream(max_tokens=100, messages=[question], model="stub") as stream:
        return await stream.get_final_text()


async def main() -> None:
    """Ask 20 questions at once, of an API that allows 10 at once and 20 a second."""
    with StubApi(anthropic_answer, capacity=10, rate=20) as api:
        http_client = httpx2.AsyncClient(transport=transport)
        async with AsyncAnthropic(
            api_key="any", base_url=api.url, http_client=http_client, max_retries=0
        ) as client:
            replies = await asyncio.gather(*(ask(client, number) for number in range(20)))
    print(f"{replies.count('Yes.')} of 20 calls answered, {api.refused} met a 429 on the way")
    print(f"about {90_000 - tokens.available_tokens:.0f} model tokens used")


if __name__ == "__main__":
    asyncio.run(main())
