"""Mistakes that type checkers find: each line with an ignore is an error to both of them.

An ignore that ignores nothing is an error as well, so that each mistake is known to be found.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from rate_limiter import RateLimiter, TokenBucket, rate_limited

bucket = TokenBucket(10, 5)
limiter = RateLimiter(bucket)


@rate_limited(10, 5)
def function(word: str) -> str:
    return word


@limiter
async def coroutine(word: str) -> str:
    return word


class Client:
    @limiter
    def method(self, word: str) -> str:
        return word


async def check_calls() -> None:
    function(1)  # type: ignore[arg-type]
    function()  # type: ignore[call-arg]
    Client().method(1)  # type: ignore[arg-type]
    coroutine("a")  # type: ignore[unused-coroutine]
    await coroutine(1)  # type: ignore[arg-type]


def check_decorators() -> None:
    rate_limited(function)  # type: ignore[arg-type]
    rate_limited("10", 5)  # type: ignore[arg-type]
    rate_limited(10, 5, "1")  # type: ignore[arg-type]
    rate_limited(10, 5, 1, "yes")  # type: ignore[arg-type]
    rate_limited(10, 5, key="id")  # type: ignore[arg-type]
    rate_limited(10, 5, clock=3)  # type: ignore[arg-type]
    rate_limited(10, 5, 1, True, 2)  # type: ignore[call-arg]
    limiter.cost("1")  # type: ignore[arg-type]


def check_limiter() -> None:
    RateLimiter(10)  # type: ignore[type-var]
    RateLimiter(limiter)  # type: ignore[type-var]
    RateLimiter(bucket, True)  # type: ignore[call-arg]
    RateLimiter(bucket, block=None)  # type: ignore[arg-type]
    limiter.block = False  # type: ignore[misc]
    with limiter.acquire("1"):  # type: ignore[arg-type]
        pass
    with limiter.acquire(1, False):  # type: ignore[call-arg]
        pass
    with limiter.acquire() as permit:
        permit.tokens = 2  # type: ignore[misc]


def check_bucket() -> None:
    TokenBucket(10)  # type: ignore[call-arg]
    TokenBucket("10", 5)  # type: ignore[arg-type]
    TokenBucket.from_rate(10)  # type: ignore[arg-type]
    bucket.allow(None)  # type: ignore[arg-type]
    bucket.capacity = 3  # type: ignore[misc]
