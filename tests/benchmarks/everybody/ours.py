"""This library, and what one writes by hand instead."""

from __future__ import annotations

import sqlite3
from time import sleep
from typing import Any

from by_hand import by_hand, by_hand_awaited, by_hand_for_keys
from reference import ReferenceBucket

from everybody.contender import PLENTY, Call, Contender, Limit, new_name
from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket, rate_limited

FULL_AT_ONCE = 10**6  # tokens a second, so that a request finds its bucket full


def costing(cost: float, before: str = "") -> str:
    """Return the argument that names the cost; none for the one that nobody names."""
    return "" if cost == 1 else f"{before}{cost}"


class This(Contender):
    name = "rate-limiter-toolkit"
    module = "rate_limiter"
    how = "token bucket"
    costs = (1, 2, 0.5)

    def check(self, limit, cost=1):
        return Call(f"answer = f({costing(cost)})", {"f": self._bucket(limit).allow})

    def block(self, limit):
        return Call("with limiter.acquire(1): answer = True", {"limiter": self.decorator(limit)})

    def awaited(self, limit):
        return Call("await f()\nanswer = True", {"f": self._bucket(limit).wait_async})

    def waiting(self, limit):
        return Call("f()\nanswer = True", {"f": self._bucket(limit).wait})

    def making(self):
        return Call("answer = make(10, 5)", {"make": TokenBucket})

    def for_key(self, limit):
        return Call("answer = f(key)", {"f": self.decorator_by_key(limit)(lambda key: True)})

    def decorator(self, limit):
        return RateLimiter(self._bucket(limit))

    def decorator_by_key(self, limit):
        return rate_limited(limit.capacity, limit.rate, key=str)

    def redis(self, client, url, limit):
        from rate_limiter.redis import RedisTokenBucket

        bucket = RedisTokenBucket(client, new_name(), limit.capacity, limit.rate)
        return Call("answer = f()", {"f": bucket.allow})

    def leased(self, client, limit):
        from rate_limiter.redis import RedisTokenBucket
        from rate_limiter.shared.lease import Lease

        lease = Lease(50, 1)
        bucket = RedisTokenBucket(client, new_name(), limit.capacity, limit.rate, lease=lease)
        return Call("answer = f()", {"f": bucket.allow})

    def sqlite(self, path, limit):
        from rate_limiter.sqlite import SQLiteTokenBucket

        bucket = SQLiteTokenBucket(path, new_name(), limit.capacity, limit.rate)
        return Call("answer = f()", {"f": bucket.allow})

    def starlette(self, app):
        from rate_limiter.http.asgi import RateLimitMiddleware

        app.add_middleware(RateLimitMiddleware, limiters=self._clients())
        return app

    def flask(self, app):
        from rate_limiter.http.wsgi import RateLimitMiddleware

        app.wsgi_app = RateLimitMiddleware(app.wsgi_app, self._clients())
        return app

    def fastapi(self):
        from rate_limiter.http.fastapi import limit

        return limit(self._clients())

    def requests(self, bare):
        from rate_limiter.http.requests import RateLimitAdapter

        return RateLimitAdapter(self.decorator(PLENTY), transport=bare())

    def _bucket(self, limit: Limit) -> TokenBucket:
        return TokenBucket(limit.capacity, limit.rate)

    def _clients(self) -> KeyedRateLimiter[Any]:
        return KeyedRateLimiter(lambda: TokenBucket(100, FULL_AT_ONCE), block=False)


class ByHand(Contender):
    name = "by hand"
    module = "reference"
    how = "25 lines and a lock; INCR; a transaction"
    costs = (1, 2, 0.5)

    def check(self, limit, cost=1):
        return Call(f"answer = f({costing(cost)})", {"f": self._bucket(limit).allow})

    def awaited(self, limit):
        return Call("answer = await f()", {"f": by_hand_awaited(self._bucket(limit))})

    def crowded(self, limit):
        return None  # it never waits

    def waiting(self, limit):
        names = {"f": self._bucket(limit).allow, "sleep": sleep, "pause": 1 / limit.rate}
        return Call("while not (answer := f()): sleep(pause)", names)

    def making(self):
        return Call("answer = make(10, 5)", {"make": ReferenceBucket})

    def for_key(self, limit):
        return Call("answer = f(key)", {"f": self.decorator_by_key(limit)(lambda key: True)})

    def decorator(self, limit):
        return by_hand(self._bucket(limit))

    def decorator_by_key(self, limit):
        return by_hand_for_keys(lambda: self._bucket(limit), str)

    def redis(self, client, url, limit):
        return Call(f"answer = f({new_name()!r})", {"f": client.incr})

    def sqlite(self, path, limit):
        from sqlite_bench import bare

        from rate_limiter.sqlite import SQLiteTokenBucket

        SQLiteTokenBucket(path, "bare", limit.capacity, limit.rate).allow(limit.capacity // 2)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        names = {"f": bare, "connection": connection}
        return Call("f(connection, 1)\nanswer = True", names)

    def _bucket(self, limit: Limit) -> ReferenceBucket:
        return ReferenceBucket(limit.capacity, limit.rate)
