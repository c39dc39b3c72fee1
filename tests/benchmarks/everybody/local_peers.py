"""Libraries that limit in one process only, each as its documentation says."""

from __future__ import annotations

from math import ceil
from typing import Any

from everybody.contender import Call, Contender, Limit
from everybody.ours import costing

MANY = 10**6  # requests a second


class AIOLimiter(Contender):
    name = module = "aiolimiter"
    how = "leaky bucket, tasks only"

    def awaited(self, limit):
        from aiolimiter import AsyncLimiter

        kept = AsyncLimiter(limit.capacity, limit.period)
        return Call("await f()\nanswer = True", {"f": kept.acquire})

    def making(self):
        from aiolimiter import AsyncLimiter

        return Call("answer = make(10, 2)", {"make": AsyncLimiter})


class Limiter(Contender):
    name = module = "limiter"
    how = "token bucket, always waits"

    def block(self, limit):
        return Call("with f: answer = True", {"f": self.decorator(limit)})

    waiting = block

    def awaited(self, limit):
        return Call("async with f: answer = True", {"f": self.decorator(limit)})

    def making(self):
        from limiter import Limiter

        return Call("answer = make(5, 10)", {"make": Limiter})

    def decorator(self, limit):
        from limiter import Limiter

        return Limiter(limit.rate, limit.capacity)


class TokenBucket(Contender):
    name = "token-bucket"
    module = "token_bucket"
    how = "token bucket, no lock"
    costs = (1, 2)

    def check(self, limit, cost=1):
        return self._consume(limit, f"'key'{costing(cost, ', ')}")

    def making(self):
        from token_bucket import Limiter, MemoryStorage

        return Call("answer = make(5, 10, storage())", {"make": Limiter, "storage": MemoryStorage})

    def for_key(self, limit):
        return self._consume(limit, "key")

    def _consume(self, limit: Limit, arguments: str) -> Call:
        from token_bucket import Limiter, MemoryStorage

        kept = Limiter(limit.rate, limit.capacity, MemoryStorage())
        return Call(f"answer = f({arguments})", {"f": kept.consume})


class RateLimit(Contender):
    name = module = "ratelimit"
    how = "fixed window, decorators only"

    def check(self, limit, cost=1):
        from ratelimit import RateLimitException

        limited = self.decorator(limit)(lambda: True)
        return Call("answer = f()", {"f": limited}, refusal=RateLimitException)

    def waiting(self, limit):
        from ratelimit import sleep_and_retry

        return Call("answer = f()", {"f": sleep_and_retry(self.decorator(limit)(lambda: True))})

    def making(self):
        from ratelimit import limits

        return Call("answer = make(10, 2)", {"make": limits})

    def decorator(self, limit):
        from ratelimit import limits

        return limits(limit.capacity, limit.period)


class RustPy(Contender):
    name = "rust-py-rate-limit"
    module = "rust_py_rate_limit"
    how = "fixed window, in Rust"

    def check(self, limit, cost=1):
        return Call("answer = f('key')", {"f": self._limiter(limit).allow})

    def making(self):
        from rust_py_rate_limit import RateLimiter

        return Call("answer = make(10, 2)", {"make": RateLimiter})

    def for_key(self, limit):
        return Call("answer = f(key)", {"f": self._limiter(limit).allow})

    def decorator(self, limit):
        return self._limiter(limit).limit("key")

    def decorator_by_key(self, limit):
        return self._limiter(limit).limit(str)

    def starlette(self, app):
        from rust_py_rate_limit.fastapi import RateLimitMiddleware

        app.add_middleware(RateLimitMiddleware, limit=MANY, window_seconds=1)
        return app

    def _limiter(self, limit: Limit) -> Any:
        from rust_py_rate_limit import RateLimiter

        return RateLimiter(limit.capacity, ceil(limit.period))
