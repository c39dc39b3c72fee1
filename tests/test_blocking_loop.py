"""A plain wait in an event loop blocks all its tasks: it says so, once for each place."""

import asyncio
import warnings

import pytest
import trio

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def bucket():
    """A bucket that has its next token in half a second."""
    return TokenBucket(1, 2, initial_tokens=0, clock=ManualClock(auto_advance=True))


def entered(permit):
    with permit:
        pass


def made(bucket):
    @RateLimiter(bucket)
    class Thing:
        pass

    return Thing()


def generated(bucket):
    @RateLimiter(bucket)
    def items():
        yield 1

    return list(items())


WAITS = {
    "wait": lambda b: b.wait(),
    "timeout": lambda b: b.wait(timeout=1),
    "limiter": lambda b: entered(RateLimiter(b)),
    "permit": lambda b: entered(RateLimiter(b).acquire()),
    "function": lambda b: RateLimiter(b)(len)("a"),
    "cost function": lambda b: RateLimiter(b).cost(len)(len)("a"),
    "generator": generated,
    "class": made,
    "group": lambda b: BucketGroup(b).wait(),
    "keyed": lambda b: entered(KeyedRateLimiter(lambda: b)[1]),
}


def seen_in(run, call):
    """Run a call in a task; return the warnings that came."""

    async def main():
        return call()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run(main)
    return seen


LOOPS = {"asyncio": lambda main: asyncio.run(main()), "trio": trio.run}
every_loop = pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)


@every_loop
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_plain_wait_in_a_loop_warns(wait, run, bucket, monkeypatch):
    """P16: The warning names the seconds, the remedy and the caller's own line."""
    monkeypatch.setattr("rate_limiter.sleeping._warned", set())
    (warning,) = seen_in(run, lambda: wait(bucket))
    assert warning.category is RuntimeWarning
    assert "waiting 0.5 s" in str(warning.message)
    assert "await bucket.wait_async()" in str(warning.message)
    assert warning.filename == __file__


def test_plain_wait_in_a_loop_warns_once_for_each_place(bucket, monkeypatch):
    """P16: A place in a loop that is run a thousand times warns once, another one as well."""
    monkeypatch.setattr("rate_limiter.sleeping._warned", set())
    bucket.allow()
    seen = seen_in(LOOPS["asyncio"], lambda: [bucket.wait() for _ in range(3)])
    assert len(seen) == 1
    assert len(seen_in(LOOPS["asyncio"], lambda: bucket.wait())) == 1  # noqa: PLW0108


def refused(bucket):
    with pytest.raises(RateLimitExceeded):
        bucket.wait(timeout=0.1)


@pytest.mark.parametrize("call", [refused, lambda b: b.refund(1) or b.wait()])
def test_call_that_does_not_wait_warns_of_nothing(call, bucket):
    """P16: Nothing is blocked by a refusal, nor when the tokens are there."""
    assert seen_in(LOOPS["asyncio"], lambda: call(bucket)) == []


def test_wait_in_a_thread_of_the_loop_warns_of_nothing(bucket):
    """P16: A worker thread may block."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(asyncio.to_thread(bucket.wait))
    assert seen == []


def test_warning_that_is_an_error_takes_nothing(bucket, monkeypatch):
    """P16: Who makes an error of the warning has neither waited nor paid, each time."""
    monkeypatch.setattr("rate_limiter.sleeping._warned", set())

    async def main():
        for _ in range(2):
            with pytest.raises(RuntimeWarning, match="blocks the event loop"):
                bucket.wait()

    asyncio.run(main())
    assert (bucket.level.waiting, bucket.retry_after()) == (0, 0.5)


ACQUIRE = {
    "wait_async": lambda b: b.wait_async(),
    "group": lambda b: BucketGroup(b).wait_async(),
    "await": lambda b: RateLimiter(b).acquire().__aenter__(),
    "limiter": lambda b: RateLimiter(b).__aenter__(),
    "refusing": lambda b: RateLimiter(b, block=False).acquire().__aenter__(),
    "dry run": lambda b: RateLimiter(b, dry_run=True).acquire().__aenter__(),
}


@pytest.mark.parametrize("acquire", ACQUIRE.values(), ids=ACQUIRE)
def test_await_of_a_cancelled_trio_task_takes_nothing(acquire, bucket):
    """P11: Every await for tokens lets a cancellation of trio in, also when they are there."""
    bucket.refund(1)

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await acquire(bucket)
        return scope.cancelled_caught

    assert trio.run(main)
    assert bucket.available_tokens == 1
