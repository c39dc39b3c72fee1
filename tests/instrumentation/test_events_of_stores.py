"""What hooks are told of buckets that are kept in stores: in a file, and on a real server."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import uuid4

import pytest
import redis
import redis.asyncio
from servers import Server

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded
from rate_limiter.instrumentation import Event
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.sqlite import SQLiteTokenBucket

CLOSED = 1  # a port where nobody listens


class Blocking:
    """Buckets that are asked by blocking."""

    def __init__(self, make_bucket):
        self.make_bucket = make_bucket

    def run(self, work):
        """Do some work, which is given what makes buckets and what takes tokens."""
        return asyncio.run(work(self.make_bucket, self._take))

    @staticmethod
    async def _take(limiter, tokens=1):
        with limiter.acquire(tokens):
            pass


class Awaited:
    """Buckets that are asked in tasks; those of Redis want a client for each loop."""

    def __init__(self, make_bucket, client_of=None):
        self.make_bucket, self.client_of = make_bucket, client_of

    def run(self, work):
        async def main():
            if self.client_of is None:
                await work(self.make_bucket, self._take)
                return
            async with self.client_of() as client:
                await work(partial(self.make_bucket, client), self._take)

        asyncio.run(main())

    @staticmethod
    async def _take(limiter, tokens=1):
        await limiter.acquire(tokens)


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def in_file(kind, request):
    return kind(partial(SQLiteTokenBucket, request.getfixturevalue("tmp_path") / "limits.db"))


def blocking_redis(request):
    port = request.getfixturevalue("server").port
    return Blocking(partial(RedisTokenBucket, redis.Redis(port=port)))


def awaited_redis(request):
    port = request.getfixturevalue("server").port
    return Awaited(AsyncRedisTokenBucket, partial(redis.asyncio.Redis, port=port))


WORLDS = [
    pytest.param(partial(in_file, Blocking), id="file"),
    pytest.param(partial(in_file, Awaited), id="file, async"),
    pytest.param(blocking_redis, id="redis", marks=pytest.mark.server),
    pytest.param(awaited_redis, id="redis, async", marks=pytest.mark.server),
]


@pytest.fixture(params=WORLDS)
def world(request):
    """Each kind of bucket that is kept in a store."""
    return request.param(request)


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"secret-{uuid4().hex}"


@pytest.mark.filterwarnings("ignore:.*block:RuntimeWarning")  # the loop is only the test's own
def test_wait_in_a_store_tells_of_the_wait_and_its_end(world, heard, name):
    """P45: A wait for a shared bucket is told when it begins, without the name in the store."""

    async def work(make_bucket, take):
        limiter = RateLimiter(make_bucket(name, 2, 20), name="api")
        await take(limiter, 2)
        await take(limiter, 2)

    world.run(work)
    assert heard.kinds == ["admitted", "waiting", "admitted"]
    _, waiting, admitted = heard.events
    assert (waiting.limiter, waiting.tokens, waiting.refused_by) == ("api", 2, None)
    assert 0 < waiting.seconds <= 0.1
    assert admitted.seconds >= waiting.seconds
    assert "secret" not in repr(heard.events)


def test_refuse_in_a_store_tells_what_the_error_says(world, heard, name):
    """P45: A refusal of a shared bucket has the seconds and the label that its error has."""
    errors = []

    async def work(make_bucket, take):
        buckets = {
            "one": make_bucket(f"{name}1", 3, 0.01),
            "two": make_bucket(f"{name}2", 2, 0.001),
        }
        limiter = RateLimiter(BucketGroup(**buckets), block=False, name="api")
        await take(limiter, 2)
        with pytest.raises(RateLimitExceeded) as caught:
            await take(limiter, 2)
        errors.append(caught.value)

    world.run(work)
    (error,) = errors
    assert error.refused_by == "two"
    assert heard.events[1:] == [Event("refused", "api", 2, error.retry_after, "two")]


def test_dry_run_in_a_store_tells_what_would_have_been(world, heard, name):
    """P45: A dry run over a shared bucket tells of the refusal that it spared the caller."""

    async def work(make_bucket, take):
        limiter = RateLimiter(make_bucket(name, 2, 0.001), block=False, dry_run=True, name="api")
        await take(limiter, 2)
        await take(limiter, 2)

    world.run(work)
    assert heard.kinds == ["admitted", "would_refuse"]


def away_file(kind, path):
    return kind(partial(SQLiteTokenBucket, path / "nowhere" / "limits.db"))


def away_redis(_):
    return Blocking(partial(RedisTokenBucket, redis.Redis(port=CLOSED)))


def away_awaited_redis(_):
    return Awaited(AsyncRedisTokenBucket, partial(redis.asyncio.Redis, port=CLOSED))


@pytest.mark.parametrize(
    "make_world",
    [
        pytest.param(partial(away_file, Blocking), id="file"),
        pytest.param(partial(away_file, Awaited), id="file, async"),
        pytest.param(away_redis, id="redis"),
        pytest.param(away_awaited_redis, id="redis, async"),
    ],
)
def test_lose_the_store_tells_of_one_outage(make_world, heard, tmp_path):
    """P39, P45: An outage is told once, whatever the number of buckets and calls that meet it."""

    async def work(make_bucket, take):
        for name in ("secret-one", "secret-two"):
            limiter = RateLimiter(make_bucket(name, 2, 1, fallback="allow"), name="api")
            await take(limiter)
            await take(limiter)

    make_world(tmp_path).run(work)
    outages = [event for event in heard.events if event.kind == "outage"]
    assert outages == [Event("outage", None, seconds=outages[0].seconds)]
    assert outages[0].seconds > 0
    assert heard.kinds.count("admitted") == 4
    assert "secret" not in repr(heard.events)
