"""The two worlds that buckets on a server are used in, and scenarios that are the same in both.

A scenario is written once, as if everything blocked: `run(bucket.allow())` is the answer of a
bucket for threads, which has it already, and of one for asyncio, whose answers are awaited.
"""

import asyncio
import re
import time
from contextlib import ExitStack
from statistics import mode

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from servers import TIMEOUTS

from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket

SLOW = 0.001  # tokens a second: what a test takes meanwhile is there in a thousand seconds
ABOUT = {"abs": 0.05}  # what comes back meanwhile, if the machine sleeps for 50 s
NUMBER = rb"([\de.+-]*)"
VALUE = re.compile(  # when full, the limit, until when closed, and the line
    rb"(\d{16})[^:]*:%b:%b:%b(?:!(\d+))?((?:;[\d:]+)*)" % (NUMBER, NUMBER, NUMBER)
)
EXPIRY = """
local now = redis.call('TIME')
return {redis.call('PTTL', KEYS[1]), now[1] * 1000 + math.floor(now[2] / 1000)}
"""


def full_at(value):
    """Return the microsecond at which a stored bucket is full, and nobody waits.

    Args:
        value: What is under its key.
    """
    full, scale, unit, capacity, closed, line = VALUE.fullmatch(value).groups()
    places = [place.split(b":") for place in line.split(b";")[1:]]
    last = [max(int(floor), int(due), int(deadline)) for *_, floor, _, due, deadline in places]
    if closed:  # at the end of a pause there is one token
        last.append(int(closed) + max(float(capacity) - 1, 0) * float(unit or 63e9) / float(scale))
    return max(int(full) + sum(int(place[3]) for place in places), *last, 0)


class Threads:
    """Callers that block, the server they ask, and the clients they do it with.

    Args:
        server: Where its clients connect to.
    """

    bucket_type, other_type = RedisTokenBucket, AsyncRedisTokenBucket
    library = redis

    def __init__(self, server):
        self.server = server
        self._closing = ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closing.close()

    def client(self, **options):
        """Connect a client; the handshake is over, and it is closed with the world."""
        client = self.keep(self.make_client(**options))
        self.run(client.ping())
        return client

    def make_client(self, **options):
        """Make a client that has not connected yet."""
        address = {"host": self.server.host, "port": self.server.port}
        return self.library_type("")(**address | TIMEOUTS | options)

    def library_type(self, suffix):
        """Return the class of the library's clients, or of those for clusters."""
        library = self.library
        return getattr(library, f"Valkey{suffix}", None) or getattr(library, f"Redis{suffix}")

    def keep(self, client):
        """Have a client closed with the world, and its pool even if somebody else made it."""
        self._closing.callback(lambda: self._close(client))
        return client

    def _close(self, client):
        client.close()
        if hasattr(client, "connection_pool"):
            client.connection_pool.disconnect()

    def bucket(self, client, name, capacity=10, rate=SLOW, **options):
        """Make a bucket for this world's callers."""
        return self.bucket_type(client, name, capacity, rate, **options)

    def run(self, answer):
        """Return what a call has answered."""
        return answer

    def run_task(self, coroutine):
        """Return what a coroutine returns, in whatever world."""
        return asyncio.run(coroutine)

    def meanwhile(self, happen):
        """Let something happen, while callers have the time to notice."""
        happen()

    def enter(self, context):
        """Enter and leave a limiter or a permit; return the permit."""
        with context as permit:
            return permit

    def function(self, work=lambda *args: args):
        """Make a function that does some work."""

        def function(*args):
            return work(*args)

        return function

    def generator(self):
        """Make a generator function."""

        def generator(*args):
            yield from args

        return generator

    def collect(self, generated):
        """Return what a generator yields."""
        return list(generated)


class Tasks(Threads):
    """Callers in asyncio tasks, all of them on one loop."""

    bucket_type, other_type = AsyncRedisTokenBucket, RedisTokenBucket
    library = redis.asyncio

    def __init__(self, server):
        super().__init__(server)
        self.run = self.run_task = self._closing.enter_context(asyncio.Runner()).run

    def _close(self, client):
        self.run(self._aclose(client))

    async def _aclose(self, client):
        await client.aclose()
        if hasattr(client, "connection_pool"):
            await client.connection_pool.disconnect()

    def meanwhile(self, happen):
        self.run(asyncio.to_thread(happen))

    def enter(self, context):
        async def enter():
            async with context as permit:
                return permit

        return self.run(enter())

    def function(self, work=lambda *args: args):
        async def function(*args):
            return work(*args)

        return function

    def generator(self):
        async def generator(*args):
            for arg in args:
                yield arg

        return generator

    def collect(self, generated):
        async def collect():
            return [item async for item in generated]

        return self.run(collect())


class ValkeyThreads(Threads):
    """Callers that block, and use the other library."""

    library = valkey


class ValkeyTasks(Tasks):
    """Callers in asyncio tasks that use the other library."""

    library = valkey.asyncio


WORLDS = [Threads, Tasks]
LIBRARIES = [*WORLDS, ValkeyThreads, ValkeyTasks]


def name_of(world):
    """Name a world in the names of tests."""
    return world.__name__


def expires_at(client, key):
    """Return the millisecond at which a key expires; -1 without an expiry, -2 without a key."""
    try:
        return client.pexpiretime(key)
    except redis.ResponseError:  # before Redis 7.0; now and then a millisecond begins in between
        return mode(_expiry(*client.eval(EXPIRY, 1, key)) for _ in range(5))


def _expiry(left, now):
    return left if left < 0 else now + left


def about(tokens):
    """Return a level, give or take what comes back in the meantime."""
    return pytest.approx(tokens, **ABOUT)


def use_every_method(world, client, name):
    """Call every method of a bucket on a client, and check what each of them does."""
    run, bucket = world.run, world.bucket(client, name)
    check_taking(run, bucket)
    check_reserving(run, bucket)
    check_changing(run, bucket)
    check_waiting(run, world.bucket_type.from_rate(client, f"{name}-quick", "100/second", 1))


def check_taking(run, bucket):
    """Take from a full bucket of ten, and leave five."""
    assert run(bucket.allow(2)) is True
    assert run(bucket.try_consume()) is True
    assert run(bucket.wait(2, timeout=0)) is None
    assert run(bucket.allow(6)) is False
    assert run(bucket.available_tokens) == about(5)
    assert run(bucket.retry_after(5)) == 0
    assert run(bucket.retry_after(6)) == pytest.approx(1000, rel=ABOUT["abs"])


def check_reserving(run, bucket):
    """Reserve what is there and what is not, in a bucket that has five; leave five."""
    held = run(bucket.reserve(2))
    assert held.delay == 0
    run(held.settle(4))
    assert run(bucket.available_tokens) == about(1)
    run(held.cancel())
    assert run(bucket.available_tokens) == about(5)
    first, second = run(bucket.reserve(7)), run(bucket.reserve(1))
    assert [first.delay, second.delay] == pytest.approx([2000, 3000], rel=ABOUT["abs"])
    run(second.cancel())
    run(first.settle(6))
    run(first.cancel())
    assert run(bucket.available_tokens) == about(5)


def check_changing(run, bucket):
    """Give back, change the limit and pause, in a bucket that has five."""
    run(bucket.refund(1))
    assert run(bucket.available_tokens) == about(6)
    bucket.configure(capacity=20)
    assert run(bucket.available_tokens) == about(6)
    run(bucket.pause(3600))
    assert run(bucket.available_tokens) == 0
    assert 3599 < run(bucket.retry_after(1)) <= 3600
    run(bucket.resume())
    assert run(bucket.available_tokens) == about(1)


def check_waiting(run, bucket):
    """Wait for three tokens more than there are, at a hundred a second."""
    before = time.monotonic()
    run(bucket.wait())
    run(bucket.wait(3, timeout=10))
    assert time.monotonic() - before > 0.0299
