"""Waiters whose event loop was closed are dead: they hold up nobody, and take nothing."""

import asyncio
import threading
import types

import pytest

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def world():
    """A bucket of ten, of which one is there, and who waits for nine in a loop that is closed."""
    clock = ManualClock()
    bucket = TokenBucket(10, 0.001, clock=clock)
    permit = RateLimiter(bucket).acquire(4).__enter__()
    early = bucket.reserve(5)
    loop = asyncio.new_event_loop()
    task = loop.create_task(bucket.wait_async(9))
    loop.run_until_complete(asyncio.sleep(0))
    assert (bucket.level.waiting, clock.sleepers) == (1, 1)
    loop.close()
    yield types.SimpleNamespace(bucket=bucket, permit=permit, early=early, task=task)
    task._log_destroy_pending = False
    task.get_coro().close()


CALLS = {
    "allow": lambda w: w.bucket.allow(),
    "wait": lambda w: w.bucket.wait(timeout=0),
    "reserve": lambda w: w.bucket.reserve(timeout=0),
    "acquire": lambda w: RateLimiter(w.bucket, block=False).acquire().__enter__(),
    "group": lambda w: BucketGroup(w.bucket).reserve(timeout=0),
    "named group": lambda w: BucketGroup(a=w.bucket).allow({"a": 1}),
}
GIFTS = {
    "refund": lambda w: w.bucket.refund(4),
    "permit refunded": lambda w: w.permit.refund(),
    "permit settled": lambda w: w.permit.settle(0),
    "group": lambda w: BucketGroup(w.bucket).refund(4),
}
LOOKS = {
    "retry_after": lambda w: w.bucket.retry_after(),
    "full_in": lambda w: w.bucket._full_in() - 9_000 * 10**9,
    "waiting": lambda w: w.bucket.level.waiting,
    "group": lambda w: BucketGroup(w.bucket).retry_after(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_take_past_a_dead_waiter(call, world):
    """P15: A token that is there is for the living, whoever died ahead of them."""
    assert call(world) is not False
    assert world.bucket.available_tokens == 0


@pytest.mark.parametrize("give", GIFTS.values(), ids=GIFTS)
def test_give_back_past_a_dead_waiter(give, world):
    """P15: What is given back stays in the bucket, once, and giving back raises nothing."""
    give(world)
    assert world.bucket.available_tokens == 5
    world.permit.refund()
    world.early.cancel()
    assert world.bucket.available_tokens <= 10


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_look_past_a_dead_waiter(look, world):
    """P15: Who is dead is counted nowhere."""
    assert look(world) == 0


def test_dead_waiter_is_cancelled_by_the_next_call():
    """P15: A thread behind a dead waiter is served when the next caller finds that out."""
    bucket = TokenBucket(1, 0.001)
    bucket.allow()
    loop = asyncio.new_event_loop()
    task = loop.create_task(bucket.wait_async(1000))
    loop.run_until_complete(asyncio.sleep(0.01))
    behind = threading.Thread(target=bucket.wait)
    behind.start()
    while bucket.level.waiting < 2:
        pass
    loop.close()
    bucket.refund(1)
    behind.join(5)
    assert not behind.is_alive()
    with pytest.raises(RateLimitExceeded):
        bucket.wait(timeout=0)
    task._log_destroy_pending = False
    task.get_coro().close()


def test_waiter_of_a_loop_that_is_merely_stopped_keeps_its_place():
    """P10: A loop that will run again has the tokens of its task kept for it."""
    bucket = TokenBucket(1, 0.001, clock=ManualClock())
    bucket.allow()
    loop = asyncio.new_event_loop()
    task = loop.create_task(bucket.wait_async())
    loop.run_until_complete(asyncio.sleep(0))
    bucket.refund(1)
    assert not bucket.allow()
    loop.run_until_complete(task)
    loop.close()
