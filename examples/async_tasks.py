"""Let many tasks share one limit: each waits for its turn, and none holds up the loop."""

import asyncio
import time

from rate_limiter import RateLimiter, TokenBucket

# Nothing here belongs to an event loop: a module is the right place for a limiter.
limiter = RateLimiter(TokenBucket(capacity=3, tokens_per_second=10))
BEGAN = time.monotonic()


async def fetch(page: int, cost: int) -> None:
    """Fetch a page, once its tokens are there."""
    async with limiter.acquire(cost) as permit:
        at = time.monotonic() - BEGAN
        print(f"{at:.1f} s  page {page}, {cost} tokens, waited {permit.waited:.1f} s")


@limiter
async def ping() -> None:
    """Take one token of the same bucket per call."""
    print(f"{time.monotonic() - BEGAN:.1f} s  ping")


async def main() -> None:
    """Start everything at once; the tasks go first come, first served."""
    async with asyncio.TaskGroup() as tasks:
        for page, cost in enumerate([1, 2, 1, 4, 1, 1], start=1):
            tasks.create_task(fetch(page, cost))
        tasks.create_task(ping())

    # A task that is cancelled while it waits gives its tokens back.
    before = limiter.bucket.retry_after()
    try:
        async with asyncio.timeout(0.05):
            await limiter.acquire(20)
    except TimeoutError:
        print(f"gave up; the next token is there in {limiter.bucket.retry_after():.2f} s")
    print(f"before that it would have been {before:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
