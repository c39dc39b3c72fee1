"""Waiting in a thread whose event loop runs: it works, and is warned of."""

import asyncio
import warnings

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket, sleeping
from rate_limiter.testing import ManualClock


@pytest.fixture(autouse=True)
def unwarned(monkeypatch):
    """Let each place be new."""
    monkeypatch.setattr(sleeping, "_warned", set())


@pytest.fixture
def bucket():
    return TokenBucket(1, 2, initial_tokens=0, clock=ManualClock(auto_advance=True))


def in_loop(call):
    async def main():
        return call()

    return asyncio.run(main())


def acquire(bucket):
    with RateLimiter(bucket).acquire() as permit:
        return permit


@pytest.mark.parametrize("call", [TokenBucket.wait, acquire])
def test_block_a_running_loop_warns_with_the_seconds_and_the_remedy(bucket, call):
    """P16: The place in the caller's own code is told how long, and what to await instead."""
    with pytest.warns(RuntimeWarning, match=r"waiting 0\.5 s .*await bucket\.wait_async") as caught:
        in_loop(lambda: call(bucket))

    assert [warning.filename for warning in caught] == [__file__]
    assert bucket.available_tokens == 0


def test_block_a_running_loop_again_warns_once_for_each_place(bucket):
    """A loop that blocks itself a thousand times says so once for each line."""
    with pytest.warns(RuntimeWarning) as caught:
        in_loop(lambda: [bucket.wait() for _ in range(3)] + [bucket.wait()] + [bucket.wait()])
    assert len(caught) == 1

    with pytest.warns(RuntimeWarning, match="blocks the event loop"):
        in_loop(lambda: bucket.wait(2))


def test_block_a_running_loop_where_warnings_are_errors_takes_nothing(bucket):
    """P5: The warning comes before anything is taken, and again as long as it is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(RuntimeWarning, match="blocks the event loop"):
                in_loop(bucket.wait)

    assert (bucket.retry_after(), bucket.level.waiting) == (0.5, 0)


@pytest.mark.parametrize("timeout", [0, 0.25])
def test_refuse_in_a_running_loop_does_not_warn(bucket, timeout):
    """What is refused does not block."""
    with pytest.raises(RateLimitExceeded):
        in_loop(lambda: bucket.wait(1, timeout))


def test_take_what_is_there_in_a_running_loop_does_not_warn(bucket):
    """What is there does not block; nor does a thread that has no loop."""
    bucket.wait()
    bucket.refund(1)
    in_loop(lambda: bucket.wait(1, 5))
    bucket.refund(1)
    in_loop(lambda: bucket._wait(1, None))
    assert bucket.available_tokens == 0
