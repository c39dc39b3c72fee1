"""Libraries that limit in one process and on a server, each as its documentation says.

Of several algorithms a library's token bucket is measured, or GCRA, which is one; where it has
neither, its cheapest. What is set beside the limit is set in the library's favour.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Any

from everybody.contender import Call, Contender, Limit, new_name
from everybody.ours import costing

SOON = 1e-3  # seconds: the longest wait that does not count as a refusal
LONG = 60.0  # seconds: the longest wait
MANY = 10**6  # keys


class Limits(Contender):
    name = module = "limits"
    how = "fixed window"
    costs = (1, 2)

    def check(self, limit, cost=1):
        from limits.storage import MemoryStorage

        return self._hit(MemoryStorage(), limit, f"'key'{costing(cost, ', cost=')}")

    def for_key(self, limit):
        from limits.storage import MemoryStorage

        return self._hit(MemoryStorage(), limit, "key")

    def redis(self, client, url, limit):
        from limits.storage import RedisStorage

        return self._hit(RedisStorage(url), limit, repr(new_name()))

    def _hit(self, storage: Any, limit: Limit, arguments: str) -> Call:
        from limits import RateLimitItemPerSecond
        from limits.strategies import FixedWindowRateLimiter

        item = RateLimitItemPerSecond(limit.capacity, ceil(limit.period))
        names = {"f": FixedWindowRateLimiter(storage).hit, "item": item}
        return Call(f"answer = f(item, {arguments})", names)


class PyrateLimiter(Contender):
    name = "pyrate-limiter"
    module = "pyrate_limiter"
    how = "GCRA"
    costs = (1, 2)

    def check(self, limit, cost=1):
        return self._asked(self._limiter(limit), costing(cost, ", weight="))

    def awaited(self, limit):
        return Call("answer = await f('key')", {"f": self._limiter(limit).try_acquire_async})

    def waiting(self, limit):
        return Call("answer = f('key')", {"f": self._limiter(limit).try_acquire})

    def making(self):
        return Call("answer = make(limit)", {"make": self._limiter, "limit": Limit(10, 5)})

    def decorator(self, limit):
        return self._limiter(limit).as_decorator(name="key")

    def redis(self, client, url, limit):
        from pyrate_limiter import RedisStateStore

        return self._asked(self._limiter(limit, RedisStateStore(client, new_name())))

    def sqlite(self, path, limit):
        from pyrate_limiter import Limiter, Rate, SQLiteBucket

        log = [Rate(10_000, 10)]  # has no GCRA in a file, and remembers each call
        bucket = SQLiteBucket.init_from_file(log, db_path=f"{path}.pyrate")
        return self._asked(Limiter(bucket))

    def _limiter(self, limit: Limit, store: Any = None) -> Any:
        from pyrate_limiter import GCRA, Limiter, Rate, SingleBucketFactory, StateBucket

        interval = max(1, round(limit.period * 1000))  # milliseconds, of which it knows whole ones
        rate = Rate(round(limit.rate * interval / 1000), interval, burst=limit.capacity)
        bucket = StateBucket([rate], GCRA(), store)
        # No thread that cleans up, for there is nothing to; no 50 ms on top of each wait.
        return Limiter(SingleBucketFactory(bucket, schedule_leak=False), buffer_ms=0)

    def _asked(self, limiter: Any, cost: str = "") -> Call:
        return Call(f"answer = f('key'{cost}, blocking=False)", {"f": limiter.try_acquire})


class Throttled(Contender):
    name = "throttled-py"
    module = "throttled"
    how = "GCRA"  # its token bucket gets its tokens once a second
    costs = (1, 2)

    def check(self, limit, cost=1):
        return self._asked(self._throttled(limit).limit, costing(cost, "cost="))

    def block(self, limit):
        return Call("with f: answer = True", {"f": self._throttled(limit)})

    def awaited(self, limit):
        import throttled.asyncio

        kept = throttled.asyncio.Throttled(**self._options(limit), timeout=LONG)
        return Call("answer = await f()", {"f": kept.limit}, lambda found: not found.limited)

    def waiting(self, limit):
        return self._asked(self._throttled(limit, timeout=LONG).limit)

    def making(self):
        from throttled import Throttled

        names = {"make": Throttled, "options": self._options(Limit(10, 5))}
        return Call("answer = make(**options)", names)

    def for_key(self, limit):
        from throttled.store import MemoryStore

        store = MemoryStore(options={"MAX_SIZE": MANY})
        return self._asked(self._throttled(limit, store=store).limit, "key")

    def decorator(self, limit):
        import throttled.asyncio

        def decorate(func):
            from inspect import iscoroutinefunction

            library = throttled.asyncio if iscoroutinefunction(func) else throttled
            return library.Throttled(**self._options(limit))(func)

        return decorate

    def redis(self, client, url, limit):
        from throttled.store import RedisStore

        return self._asked(self._throttled(limit, store=RedisStore(server=url)).limit)

    def _throttled(self, limit: Limit, **options: Any) -> Any:
        from throttled import Throttled

        return Throttled(**self._options(limit), **options)

    def _options(self, limit: Limit) -> dict[str, Any]:
        from throttled import per_duration, per_sec

        if limit.rate >= 1:
            quota = per_sec(int(limit.rate), burst=limit.capacity)
        else:
            quota = per_duration(timedelta(seconds=1 / limit.rate), 1, burst=limit.capacity)
        return {"key": new_name(), "using": "gcra", "quota": quota}

    def _asked(self, f: Any, arguments: str = "") -> Call:
        return Call(f"answer = f({arguments})", {"f": f}, lambda found: not found.limited)


class Steindamm(Contender):
    name = module = "steindamm"
    how = "token bucket"
    costs = (1, 2, 0.5)

    def check(self, limit, cost=1):
        from steindamm import MaxSleepExceededError

        names = {"f": self._bucket(limit, max_sleep=SOON)}
        paid = f"({cost})" if cost != 1 else ""
        return Call(f"with f{paid}: answer = True", names, refusal=MaxSleepExceededError)

    def block(self, limit):
        return Call("with f: answer = True", {"f": self._bucket(limit)})

    waiting = block

    def awaited(self, limit):
        from steindamm import AsyncTokenBucket

        bucket = AsyncTokenBucket.create(**self._options(limit))
        return Call("async with f: answer = True", {"f": bucket})

    def making(self):
        from steindamm import SyncLocalTokenBucket

        names = {"make": SyncLocalTokenBucket, "options": self._options(Limit(10, 5))}
        return Call("answer = make(**options)", names)

    def for_key(self, limit):
        from steindamm import SyncLocalTokenBucket

        SyncLocalTokenBucket._buckets.clear()  # keeps all names for ever
        SyncLocalTokenBucket._locks.clear()
        names = {"make": SyncLocalTokenBucket, "options": self._options(limit)}
        return Call("with make(**options | {'name': key}): answer = True", names)

    def redis(self, client, url, limit):
        return Call("with f: answer = True", {"f": self._bucket(limit, connection=client)})

    def _bucket(self, limit: Limit, **options: Any) -> Any:
        from steindamm import SyncTokenBucket

        return SyncTokenBucket.create(**self._options(limit) | options)

    def _options(self, limit: Limit) -> dict[str, Any]:
        return {
            "name": new_name(),
            "capacity": limit.capacity,
            "refill_frequency": 1 / limit.rate,
            "max_sleep": LONG,
        }
