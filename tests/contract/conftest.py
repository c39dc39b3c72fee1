"""One behaviour suite for every kind of bucket, driven through small adapters.

A kind is a bucket together with the world that its callers live in. To put another one under the
suite, add an adapter and an entry in `KINDS`.
"""

import asyncio
from fractions import Fraction
from threading import Thread

import pytest

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.testing import ManualClock

NANOSECOND = Fraction(1, 10**9)
LITTLE = 1e-9  # tokens that a newcomer would like to have before those in the queue
PATIENCE = 10.0  # seconds for something that takes microseconds, unless it hangs


class Interrupted(BaseException):
    """Comes out of the blue, as KeyboardInterrupt does."""


class InterruptibleClock(ManualClock):
    """A clock that can interrupt a thread at the moment when it falls asleep."""

    interrupts = False

    def sleep(self, sleeper, until):
        if self.interrupts:
            raise Interrupted
        super().sleep(sleeper, until)


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

    def abandon(self, tokens):
        """Begin to wait, and be interrupted."""
        self.clock.interrupts = True
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

    def abandon(self, tokens):
        """Begin to wait, and be cancelled."""

        async def main():
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


async def turns():
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def token_bucket(clock, capacity, rate, **kwargs):
    return TokenBucket(capacity, rate, clock=clock, **kwargs)


def bucket_group(clock, capacity, rate, **kwargs):
    """Make a group that one bucket holds to these terms, and a wider one to nothing more."""
    wider = TokenBucket(capacity * 3, rate * 2, clock=clock)
    return BucketGroup(wider, narrow=token_bucket(clock, capacity, rate, **kwargs))


KINDS = {
    "TokenBucket in threads": (InThreads, token_bucket),
    "TokenBucket in tasks": (InTasks, token_bucket),
    "BucketGroup in threads": (InThreads, bucket_group),
    "BucketGroup in tasks": (InTasks, bucket_group),
}


@pytest.fixture
def clock():
    """Stand still until told to move."""
    return InterruptibleClock()


@pytest.fixture
def running_clock():
    """Move on by itself when somebody sleeps."""
    return InterruptibleClock(auto_advance=True)


@pytest.fixture(params=KINDS)
def make_bucket(request, clock):
    """Make a bucket of each kind, on the clock that stands still or on another."""
    adapter, make = KINDS[request.param]

    def make_bucket(capacity, rate, *, clock=clock, **kwargs):
        return adapter(make(clock, capacity, rate, **kwargs), clock)

    return make_bucket
