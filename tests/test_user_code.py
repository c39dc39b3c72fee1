"""P38: While code of the user's runs, another thread can use another bucket."""

import asyncio
import contextlib
import gc
import threading
import warnings

import pytest

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from rate_limiter.testing import ManualClock
from user_code import Witness


@pytest.fixture
def witness():
    """What looks; in the end it has looked, and everything was free each time."""
    witness = Witness()
    yield witness
    assert witness.held == 0
    assert witness.free > 0


refused = contextlib.suppress(RateLimitExceeded, CostExceedsCapacity, TypeError, ValueError)


def call_all(bucket, cost, more):
    """Make every call of a bucket and its limiter that takes tokens: served, in line, refused."""
    limiter, refusing = RateLimiter(bucket), RateLimiter(bucket, block=False)
    bucket.allow(cost)
    bucket.wait(cost)
    bucket.refund(cost)
    bucket.retry_after(cost)
    asyncio.run(bucket.wait_async(cost))
    with limiter.acquire(cost) as permit:
        permit.settle(more)
        permit.settle(cost)
        permit.refund()
    limiter.cost(cost)(len)("a")
    waiting = [bucket.reserve(more) for _ in range(6)][3:]
    assert waiting[0].delay > 0
    waiting[0].settle(cost)
    waiting[1].cancel()
    for take in (bucket.allow, bucket.wait, bucket.reserve):
        with refused:
            take(more, **({} if take == bucket.allow else {"timeout": 0}))
    for tokens in (cost, more):
        with refused, refusing.acquire(tokens):
            pass
    refusing.bucket.level  # noqa: B018 - it looks at the clock
    repr((bucket, limiter, permit, waiting))
    bucket.pause(1)
    bucket.resume()


@pytest.mark.parametrize("kind", ["int", "float", "Fraction", "Decimal"])
def test_numbers_of_a_type_of_the_users(kind, witness):
    """P38: Costs, limits, times and timeouts are read while nothing is held."""
    one, two, many = (witness.numbers(value)[kind] for value in (1, 2, 5))
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(many, one, initial_tokens=many, clock=clock)
    call_all(bucket, one, two)
    call_all(BucketGroup(a=bucket, b=TokenBucket(5, 1, clock=clock)), {"a": one}, {"a": two})
    bucket.configure(many, one)
    bucket.pause(one)
    clock.advance(one)
    with refused:
        bucket.wait(many, timeout=one)
    with refused, RateLimiter(bucket, timeout=one).acquire(many):
        pass


def test_mapping_of_the_users(witness):
    """P38: A cost mapping is read, and shown in errors, while nothing is held."""
    clock = ManualClock(auto_advance=True)
    group = BucketGroup(a=TokenBucket(5, 1, clock=clock), b=TokenBucket(5, 1, clock=clock))
    call_all(group, witness.mapping({"a": 1, "b": 1}), witness.mapping({"a": 3, "b": 2}))
    with refused:
        TokenBucket(5, 1).allow(witness.mapping({"a": 1}))
    with refused:
        group.allow(witness.mapping({"c": 1}))


def test_clock_of_the_users(witness):
    """P38: The clock is asked before a step and sleeps after it, in calls, lines and keys."""
    clock = witness.clock(auto_advance=True)
    bucket = TokenBucket(5, 1, clock=clock)
    call_all(bucket, 1, 2)
    call_all(BucketGroup(bucket, TokenBucket(5, 1, clock=clock)), 1, 2)
    bucket.configure(tokens_per_second=2)
    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=clock), max_keys=3)
    for key in range(5):
        with refused, limiters[key].acquire(), limiters[key % 2].acquire(block=False):
            pass
        limiters.reset(key)
    still = witness.clock()
    waiting = threading.Thread(target=TokenBucket(1, 1, clock=still, initial_tokens=0).wait)
    waiting.start()
    still.wait_for_sleepers()
    still.advance(1)
    waiting.join()


def test_keys_of_the_users(witness):
    """P38: Keys are hashed and compared, and their buckets made, while nothing is held."""

    def make(key):
        witness.look()
        return TokenBucket(1, 1, clock=ManualClock())

    limiters = KeyedRateLimiter(make, max_keys=6)
    for name in "abcdefghijabc":
        limiters[witness.key(name)].bucket.reserve().cancel()
    held = [limiters[witness.key(name)] for name in "abcdef"]
    with refused:
        limiters[witness.key("z")]
    limiters.reset(witness.key("a"))
    limiters.reset(witness.key("z"))
    assert len(held) == len(limiters)


def test_cost_and_key_functions_of_the_users(witness):
    """P38: Functions for costs and keys are called while nothing is held."""

    def look(word):
        witness.look()
        return len(word)

    limited = rate_limited(5, 1, cost=look, key=look, clock=ManualClock(auto_advance=True))(len)
    assert [limited("abc") for _ in range(3)] == [3, 3, 3]


class Shown:
    """Something whose repr looks."""

    def __init__(self, look):
        self._look = look

    def __repr__(self):
        self._look()
        return "shown"


def test_repr_of_what_is_refused(witness):
    """P38: What is no number is shown in the error while nothing is held."""
    bucket, wrong = TokenBucket(5, 1), Shown(witness.look)
    group, permit = BucketGroup(a=bucket), RateLimiter(bucket).acquire().__enter__()
    calls = [bucket.allow, bucket.wait, bucket.reserve, bucket.refund, bucket.pause]
    calls += [bucket.retry_after, bucket.configure, bucket.reserve().settle, permit.settle]
    calls += [group.allow, group.reserve, group.refund, RateLimiter(bucket).acquire, RateLimiter]
    calls += [lambda wrong: group.allow({"a": wrong}), BucketGroup, KeyedRateLimiter]
    calls += [lambda wrong: bucket.wait(1, timeout=wrong), TokenBucket.from_rate, rate_limited]
    for call in calls:
        before = witness.free
        with pytest.raises(TypeError):
            call(wrong)
        assert witness.free > before


def test_warning_hook_of_the_users(witness, monkeypatch):
    """P38: Warnings, of blocked loops and dropped permits, come while nothing is held."""
    monkeypatch.setattr(warnings, "showwarning", lambda *_, **__: witness.look())
    warnings.simplefilter("always")
    clock = ManualClock(auto_advance=True)

    async def main():
        TokenBucket(1, 1, clock=clock, initial_tokens=0).wait()

    asyncio.run(main())
    assert witness.free == 1
    RateLimiter(TokenBucket(1, 1)).acquire()
    gc.collect()
    assert witness.free == 2
