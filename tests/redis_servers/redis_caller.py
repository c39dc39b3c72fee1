"""A process that calls buckets, with clocks of its own, and is told what to do line by line.

    python redis_caller.py PORT OFFSET threads|tasks

The offset is how many seconds its clocks are fast. A line is a JSON list of what to do, the name,
the capacity and the rate of a bucket, and an argument; the answer is a line of JSON as well.
"""

# ruff: noqa: E402 - what takes hold of clocks is imported when they are fast

import json
import sys
import time


def put_clocks_forward(seconds):
    """Have all clocks of this process fast; it must be done before anything takes hold of them."""
    for name in ("time", "monotonic", "perf_counter"):
        true, true_ns = getattr(time, name), getattr(time, f"{name}_ns")
        setattr(time, name, lambda true=true: true() + seconds)
        setattr(time, f"{name}_ns", lambda true=true_ns: true() + int(seconds * 10**9))


if __name__ == "__main__":
    put_clocks_forward(float(sys.argv[2]))

import asyncio
from contextlib import suppress

import redis
import redis.asyncio

from rate_limiter import RateLimitExceeded
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket


class Caller:
    """A process of one thread."""

    def __init__(self, port):
        self._client = redis.Redis(port=port)

    def answer(self, order, name, capacity, rate, argument):
        """Do what an order says."""
        return getattr(self, order)(RedisTokenBucket(self._client, name, capacity, rate), argument)

    def allow(self, bucket, seconds):
        """Ask again and again for so many seconds; return how often it was admitted."""
        until, admitted = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            admitted += bucket.allow()
        return admitted

    def wait(self, bucket, seconds):
        """Wait again and again for so many seconds; return how often it was served."""
        until, admitted = time.monotonic() + seconds, 0
        with suppress(RateLimitExceeded):
            while (left := until - time.monotonic()) > 0:
                bucket.wait(timeout=left)
                admitted += 1
        return admitted

    def line_up(self, bucket, key):
        """Wait once; note on the server who left, and when."""
        bucket.wait()
        return self._client.rpush(key, sys.argv[2])


class AsyncCaller:
    """A process of one event loop with several tasks."""

    tasks = 10

    def __init__(self, port):
        self._client = redis.asyncio.Redis(port=port)

    async def answer(self, order, name, capacity, rate, argument):
        """Do what an order says."""
        bucket = AsyncRedisTokenBucket(self._client, name, capacity, rate)
        return await getattr(self, order)(bucket, argument)

    async def allow(self, bucket, seconds):
        """Have tasks ask again and again; return how often they were admitted."""
        return sum(await asyncio.gather(*(self._allow(bucket, seconds) for _ in range(self.tasks))))

    async def wait(self, bucket, seconds):
        """Have tasks wait again and again; return how often they were served."""
        return sum(await asyncio.gather(*(self._wait(bucket, seconds) for _ in range(self.tasks))))

    async def line_up(self, bucket, key):
        """Wait once; note on the server who left, and when."""
        await bucket.wait()
        return await self._client.rpush(key, sys.argv[2])

    async def _allow(self, bucket, seconds):
        until, admitted = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            admitted += await bucket.allow()
        return admitted

    async def _wait(self, bucket, seconds):
        until, admitted = time.monotonic() + seconds, 0
        with suppress(RateLimitExceeded):
            while (left := until - time.monotonic()) > 0:
                await bucket.wait(timeout=left)
                admitted += 1
        return admitted


def main():
    """Follow orders until there are none."""
    port, in_tasks = int(sys.argv[1]), sys.argv[3] == "tasks"
    with asyncio.Runner() as runner:
        caller = (AsyncCaller if in_tasks else Caller)(port)
        print(json.dumps("ready"), flush=True)  # noqa: T201 - a script's output
        for line in sys.stdin:
            answer = caller.answer(*json.loads(line))
            answer = runner.run(answer) if in_tasks else answer
            print(json.dumps(answer), flush=True)  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
