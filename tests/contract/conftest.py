"""One behaviour suite for every kind of bucket, driven through small adapters.

A kind is a bucket together with the world that its callers live in. To put another one under the
suite, add an adapter and an entry in `KINDS`.
"""

import asyncio
import itertools
from contextlib import ExitStack
from fractions import Fraction
from threading import Thread

import pytest
from dict_store import AsyncDictTokenBucket, DictStore, DictTokenBucket
from servers import Server

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.testing import ManualClock

NANOSECOND = Fraction(1, 10**9)
MICROSECOND = Fraction(1, 10**6)
LITTLE = 1e-9  # tokens that a newcomer would like to have before those in the queue
PATIENCE = 10.0  # seconds for something that takes microseconds, unless it hangs


class Interrupted(BaseException):
    """Comes out of the blue, as KeyboardInterrupt does."""


class Interruptible:
    """A clock that can interrupt a thread at the moment when it falls asleep."""

    interrupts = False

    def sleep(self, sleeper, until):
        if self.interrupts:
            raise Interrupted
        super().sleep(sleeper, until)


class InterruptibleClock(Interruptible, ManualClock):
    """A clock that stands still, and can interrupt."""


class Adapter:
    """A bucket and its clock; what callers do differently in each world is in the subclasses."""

    def __init__(self, bucket, clock):
        self.bucket = bucket
        self.clock = clock

    def __getattr__(self, name):
        return getattr(self.bucket, name)


class InThreads(Adapter):
    """A bucket whose callers are threads."""

    def wait(self, *args, **kwargs):
        return self.bucket.wait(*args, **kwargs)

    def abandon(self, tokens, times=1):
        """Begin to wait, and be interrupted, one time after the other."""
        self.clock.interrupts = True
        for _ in range(times):
            with pytest.raises(Interrupted):
                self.bucket.wait(tokens)
        self.clock.interrupts = False

    def serve(self, costs, instants):
        """Have callers queue up; tell of each whether it leaves at its instant, nobody before."""
        callers = [Thread(target=self.bucket.wait, args=(cost,), daemon=True) for cost in costs]
        for position, caller in enumerate(callers, 1):
            caller.start()
            self.clock.wait_for_sleepers(position)
        return [self._leaves_at(*pair) for pair in zip(callers, instants, strict=True)]

    def _leaves_at(self, caller, instant):
        self.clock.advance(instant - Fraction(self.clock.elapsed) - NANOSECOND)
        early = not caller.is_alive() or self.bucket.allow(LITTLE)
        self.clock.advance(NANOSECOND)
        caller.join(PATIENCE)
        return not early and not caller.is_alive()


class InTasks(Adapter):
    """A bucket whose callers are asyncio tasks, on a new loop for each call."""

    def wait(self, *args, **kwargs):
        return asyncio.run(self.bucket.wait_async(*args, **kwargs))

    def abandon(self, tokens, times=1):
        """Begin to wait, and be cancelled, one time after the other."""

        async def main():
            for _ in range(times):
                caller = asyncio.create_task(self.bucket.wait_async(tokens))
                await turns()
                caller.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await caller

        asyncio.run(main())

    def serve(self, costs, instants):
        """Have callers queue up; tell of each whether it leaves at its instant, nobody before."""

        async def main():
            callers = [asyncio.create_task(self.bucket.wait_async(cost)) for cost in costs]
            await turns()
            return [await self._leaves_at(*pair) for pair in zip(callers, instants, strict=True)]

        return asyncio.run(main())

    async def _leaves_at(self, caller, instant):
        self.clock.advance(instant - Fraction(self.clock.elapsed) - NANOSECOND)
        await turns()
        early = caller.done() or self.bucket.allow(LITTLE)
        self.clock.advance(NANOSECOND)
        await turns()
        return not early and caller.done()


class InTasksOfOneLoop(Adapter):
    """A bucket in a store whose callers are asyncio tasks, all of them on one loop."""

    def __init__(self, bucket, clock, run):
        super().__init__(bucket, clock)
        self._run = run

    def __getattr__(self, name):
        asked = getattr(self.bucket, name)
        return lambda *args, **kwargs: self._run(asked(*args, **kwargs))

    @property
    def available_tokens(self):
        async def look():
            return await self.bucket.available_tokens

        return self._run(look())

    @property
    def capacity(self):
        return self.bucket.capacity

    @property
    def tokens_per_second(self):
        return self.bucket.tokens_per_second

    def abandon(self, tokens, times=1):
        """Begin to wait, and be cancelled, one time after the other."""

        async def main():
            for _ in range(times):
                caller = asyncio.create_task(self.bucket.wait(tokens))
                await self._sleepers(1)
                caller.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await caller

        self._run(main())

    def serve(self, costs, instants):
        """Have callers queue up; tell of each whether it leaves at its instant, nobody before."""

        async def main():
            callers = []
            for position, cost in enumerate(costs, 1):
                callers.append(asyncio.create_task(self.bucket.wait(cost)))
                await self._sleepers(position)
            return [await self._leaves_at(*pair) for pair in zip(callers, instants, strict=True)]

        return self._run(main())

    async def _leaves_at(self, caller, instant):
        self.clock.advance(instant - Fraction(self.clock.elapsed) - NANOSECOND)
        early = await self.bucket.allow(LITTLE) or caller.done()
        self.clock.advance(NANOSECOND)
        await asyncio.wait([caller], timeout=PATIENCE)
        return not early and caller.done()

    async def _sleepers(self, count):
        async with asyncio.timeout(PATIENCE):
            while self.clock.sleepers < count:  # noqa: ASYNC110 - the clock knows no events
                await asyncio.sleep(0)


async def turns():
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def in_group(bucket, make, capacity, rate):
    """Make a group that one bucket holds to these terms, and a wider one to nothing more."""
    return BucketGroup(make(capacity * 3, rate * 2), narrow=bucket)


class Local:
    """Buckets in this process.

    Args:
        world: The adapter for their callers.
        grouped: Whether a bucket is a group.
    """

    resolution = NANOSECOND
    huge = (10**300, 1e299)  # a capacity, and a rate at which it is a limit at all

    def __init__(self, world, *, grouped=False):
        self._world = world
        self._grouped = grouped

    def make_clock(self, **options):
        return InterruptibleClock(**options)

    def make(self, clock, capacity, rate, **kwargs):
        def make(capacity, rate, **kwargs):
            return TokenBucket(capacity, rate, clock=clock, **kwargs)

        bucket = make(capacity, rate, **kwargs)
        if self._grouped:
            bucket = in_group(bucket, make, capacity, rate)
        return self._world(bucket, clock)


class InStore:
    """Buckets in a store, which goes by the clock of the test.

    Args:
        bucket: Their class.
        world: The adapter for their callers.
        needs: The fixture of what the class gets first: a store, a file, or a server.
        grouped: Whether a bucket is a group.
    """

    resolution = MICROSECOND
    huge = (10**12, 1000)
    _names = itertools.count()

    def __init__(self, bucket, world, needs, *, grouped=False):
        self._bucket = bucket
        self._world = world
        self.needs = needs
        self._grouped = grouped

    def on(self, connect):
        """Return such buckets in a store that is there."""
        running = InStore(self._bucket, self._world, self.needs, grouped=self._grouped)
        running._source, run = connect(self._bucket)
        if run is not None:
            running._world = lambda *bucket: self._world(*bucket, run)
        return running

    def make_clock(self, **options):
        return InterruptibleClock(**options)

    def make(self, clock, capacity, rate, *, initial_tokens=None):
        def make(capacity, rate):
            name = f"contract-{next(self._names)}"
            return self._bucket(self._source, name, capacity, rate, clock=clock)

        bucket = narrow = make(capacity, rate)
        if self._grouped:
            bucket = in_group(narrow, make, capacity, rate)
        if initial_tokens is not None and initial_tokens < capacity:
            assert self._world(narrow, clock).allow(capacity - initial_tokens)
        return self._world(bucket, clock)


KINDS = {
    "TokenBucket in threads": Local(InThreads),
    "TokenBucket in tasks": Local(InTasks),
    "BucketGroup in threads": Local(InThreads, grouped=True),
    "BucketGroup in tasks": Local(InTasks, grouped=True),
    "shared bucket in threads": InStore(DictTokenBucket, InThreads, "in_dict"),
    "shared bucket in tasks": InStore(DictTokenBucket, InTasks, "in_dict"),
    "awaited shared bucket": InStore(AsyncDictTokenBucket, InTasksOfOneLoop, "in_dict"),
    "group of shared buckets": InStore(DictTokenBucket, InThreads, "in_dict", grouped=True),
    "SQLiteTokenBucket in threads": InStore(SQLiteTokenBucket, InThreads, "in_file"),
    "SQLiteTokenBucket in tasks": InStore(SQLiteTokenBucket, InTasks, "in_file"),
    "BucketGroup of SQLiteTokenBuckets": InStore(
        SQLiteTokenBucket, InThreads, "in_file", grouped=True
    ),
    "RedisTokenBucket": InStore(RedisTokenBucket, InThreads, "on_server"),
    "AsyncRedisTokenBucket": InStore(AsyncRedisTokenBucket, InTasksOfOneLoop, "on_server"),
    "BucketGroup of RedisTokenBuckets": InStore(
        RedisTokenBucket, InThreads, "on_server", grouped=True
    ),
    "BucketGroup of AsyncRedisTokenBuckets": InStore(
        AsyncRedisTokenBucket, InTasksOfOneLoop, "on_server", grouped=True
    ),
}


@pytest.fixture(scope="session")
def redis_server():
    """Serve all tests of the suite."""
    with Server() as server:
        yield server


@pytest.fixture
def on_server(redis_server):
    """Connect to a server; return the client, and how to run what it answers."""
    with ExitStack() as closing:

        def connect(bucket):
            if bucket is RedisTokenBucket:
                return closing.enter_context(redis_server.client()), None
            runner = closing.enter_context(asyncio.Runner())
            client = redis_server.async_client()
            closing.callback(lambda: runner.run(client.aclose()))
            return client, runner.run

        yield connect


@pytest.fixture(scope="session")
def in_file(tmp_path_factory):
    """Keep the buckets of all tests of the suite in one file."""
    path = tmp_path_factory.mktemp("contract") / "limits.db"
    return lambda bucket: (path, None)


@pytest.fixture
def in_dict():
    """Keep buckets in a dict; return it, and how to run what it answers."""
    with asyncio.Runner() as runner:
        yield lambda bucket: (DictStore(), runner.run if bucket is AsyncDictTokenBucket else None)


def marked(name):
    """Return a kind as a parameter; one on a server is marked so."""
    on_server = getattr(KINDS[name], "needs", "") == "on_server"
    return pytest.param(name, marks=pytest.mark.server if on_server else [])


@pytest.fixture(params=map(marked, KINDS))
def kind(request):
    """Say which buckets a test is about."""
    kind = KINDS[request.param]
    return kind.on(request.getfixturevalue(kind.needs)) if isinstance(kind, InStore) else kind


@pytest.fixture
def clock(kind):
    """Stand still until told to move."""
    return kind.make_clock()


@pytest.fixture
def running_clock(kind):
    """Move on by itself when somebody sleeps."""
    return kind.make_clock(auto_advance=True)


@pytest.fixture
def make_bucket(kind, clock):
    """Make a bucket of each kind, on the clock that stands still or on another."""

    def make_bucket(capacity, rate, *, clock=clock, **kwargs):
        return kind.make(clock, capacity, rate, **kwargs)

    return make_bucket
