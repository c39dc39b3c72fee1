"""Costs of limited calls: numbers, and callables that get the call's arguments."""

import asyncio
import math
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from rate_limiter.charges import CallCharge
from rate_limiter.testing import ManualClock
from rate_limiter.wrapping import wrap


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


@pytest.fixture
def bucket(clock):
    return TokenBucket(100, 50, clock=clock)


@pytest.fixture
def limiter(bucket):
    return RateLimiter(bucket, block=False)


GARBAGE = [
    (0, ValueError),
    (-1, ValueError),
    (math.nan, ValueError),
    (math.inf, ValueError),
    (10**400, ValueError),
    (Decimal("-inf"), ValueError),
    (True, TypeError),
    (False, TypeError),
    ("1", TypeError),
    (None, TypeError),
    (1j, TypeError),
    ([1], TypeError),
]


@pytest.mark.parametrize(("tokens", "error"), GARBAGE)
def test_decorate_with_what_is_no_cost_is_refused(tokens, error, limiter):
    """P22: A constant cost is checked before anything is decorated."""
    with pytest.raises(error, match="tokens must be"):
        limiter.cost(tokens)


@pytest.mark.parametrize(("tokens", "error"), [*GARBAGE[1:], (-0.1, ValueError)])
def test_price_call_at_what_is_no_cost_is_refused(tokens, error, limiter, bucket):
    """P22: A cost callable that returns garbage fails the call, which neither pays nor runs."""
    ran = []
    limited = limiter.cost(lambda *_: tokens)(ran.append)

    @limiter.cost(lambda: tokens)
    async def limited_async():
        ran.append("async")

    with pytest.raises(error, match="tokens must be"):
        limited("sync")
    with pytest.raises(error, match="tokens must be"):
        asyncio.run(limited_async())
    assert (bucket.available_tokens, ran) == (100, [])


@pytest.mark.parametrize(
    "tokens", [20, 20.0, Fraction(20), Decimal(20), np.int32(20), np.float64(20)]
)
def test_charge_any_real_number(tokens, limiter, bucket):
    """P22: Every real number is a cost, as a constant and out of a callable."""
    assert limiter.cost(tokens)(len)("abc") == 3
    assert limiter.cost(lambda _: tokens)(len)("abc") == 3
    assert bucket.available_tokens == 60


@pytest.mark.parametrize(
    "zero", [0, 0.0, -0.0, Fraction(0), Decimal(0), Decimal("-0E+99"), np.int64(0), np.float32(0)]
)
def test_price_call_at_zero_is_free(zero, limiter, bucket):
    """P22: A computed cost of 0 is free, whatever the bucket holds; a literal 0 is refused."""
    bucket.allow(100)
    looked_up = []
    asked = (RateLimiter(bucket, block=False), CallCharge({}, lambda _: zero, looked_up.append))

    async def measure(text):
        return len(text)

    for limit in (asked[0].cost(lambda _: zero), lambda func: wrap(func, asked[1])):
        assert limit(len)("abc") == 3
        assert asyncio.run(limit(measure)("abc")) == 3
    assert (bucket.available_tokens, looked_up) == (0, [])
    with pytest.raises(ValueError, match="tokens must be above 0"):
        limiter.cost(zero)


def test_price_call_at_zeros_of_a_group_asks_the_group():
    """A computed mapping is handed on as it is, zeros and all, to the group."""
    group = BucketGroup(a=TokenBucket(1, 1), b=TokenBucket(1, 1))
    limiter = RateLimiter(group, block=False)
    assert limiter.cost(lambda _: {"a": 0, "b": 0})(len)("abc") == 3
    assert group.available_tokens == 1
    with pytest.raises(ValueError, match="no bucket of this group is called 'c'"):
        limiter.cost(lambda _: {"c": 0})(len)("abc")


class AsyncCall:
    async def __call__(self, *_):
        return 1

    async def method(self, *_):
        return 1


async def price_async(*_):
    return 1


@pytest.mark.parametrize(
    "function",
    [price_async, partial(price_async), AsyncCall(), AsyncCall().method, partial(AsyncCall())],
    ids=["function", "partial", "object", "method", "partial of object"],
)
def test_decorate_with_async_cost_or_key_is_refused(function, limiter):
    """P22: What would be a coroutine instead of a cost or a key is refused when decorating."""
    with pytest.raises(TypeError, match="cost must be a plain function; a coroutine is no cost"):
        limiter.cost(function)
    with pytest.raises(TypeError, match="key must be a plain function; a coroutine is no key"):
        rate_limited(1, 1, key=function)


class ToAwait:
    def __await__(self):
        """Be awaitable."""


@pytest.mark.parametrize("plain", [lambda *_: price_async(), lambda *_: ToAwait()])
def test_call_with_an_awaitable_for_cost_or_key_is_refused(plain, limiter, bucket):
    """P22: A plain function that hands on what is to be awaited is found out by the first call."""
    with pytest.raises(TypeError, match="cost must be a plain function"):
        limiter.cost(plain)(len)("abc")
    with pytest.raises(TypeError, match="key must be a plain function"):
        rate_limited(1, 1, key=plain)(len)("abc")
    assert bucket.available_tokens == 100


def yields(*_):
    yield 1


async def yields_async(*_):
    yield 1


@pytest.mark.parametrize("function", [yields, yields_async, partial(yields)])
def test_decorate_with_generator_for_cost_or_key_is_refused(function, limiter):
    """P22: A generator is new for each call, and so would be its bucket."""
    with pytest.raises(TypeError, match="cost must be a plain function; a generator is no cost"):
        limiter.cost(function)
    with pytest.raises(TypeError, match="key must be a plain function; a generator is no key"):
        rate_limited(1, 1, key=function)
    with pytest.raises(TypeError, match=r"cost must be .* returned a .*generator"):
        limiter.cost(lambda *_: function())(len)("abc")
    with pytest.raises(TypeError, match=r"key must be .* returned a .*generator"):
        rate_limited(1, 1, key=lambda *_: function())(len)("abc")


@pytest.mark.parametrize("call", [lambda made: made(), lambda made: made(len, len)])
def test_use_decorator_as_the_function_says_what_to_write(call, limiter):
    """A function that was given for the cost by mistake is told how a cost is given."""

    def function(x=1):
        return x

    for made in (limiter.cost(function), limiter.cost(2), rate_limited(1, 1)):
        with pytest.raises(TypeError, match=r"@limiter\.cost\(2\) or.*above a function") as error:
            call(made)
        assert "<locals>" not in str(error.value)
    with pytest.raises(TypeError, match="takes the function for what computes the cost"):
        limiter.cost(function)(5)


def test_charge_fraction_of_token(limiter, bucket):
    """P2: Costs below one token are counted exactly."""
    cheap = limiter.cost(0.1)(len)
    for _ in range(1000):
        cheap("abc")
    with pytest.raises(RateLimitExceeded):
        cheap("abc")
    assert bucket.available_tokens == 0


def test_price_call_by_its_arguments(limiter, bucket):
    """A cost callable gets positional and keyword arguments as the call has them."""

    @limiter.cost(lambda ids, *more, times=1, **rest: len(ids) * times + len(more) + len(rest))
    def fetch(ids, *more, times=1, **rest):
        return [*ids, *more, *rest] * times

    assert fetch([1, 2, 3], 4, times=2, a=5) == [1, 2, 3, 4, "a"] * 2
    assert bucket.available_tokens == 100 - (3 * 2 + 1 + 1)


def test_price_method_by_its_instance(limiter, bucket):
    """A cost callable gets `self` first, on the instance as through the class."""

    class Batch:
        size = 7

        @limiter.cost(lambda self, times: self.size * times)
        def run(self, times):
            return self.size * times

    assert Batch().run(2) == 14
    assert Batch.run(Batch(), times=3) == 21
    assert bucket.available_tokens == 100 - 14 - 21


def test_price_call_once(limiter):
    """The cost callable is called once for a call."""
    seen = []

    def price(text):
        seen.append(text)
        return 100

    limited = limiter.cost(price)(len)
    limited("abc")
    with pytest.raises(RateLimitExceeded):
        limited("abcd")
    assert seen == ["abc", "abcd"]


@pytest.mark.parametrize("error", [LookupError("own"), KeyboardInterrupt(), RateLimitExceeded("x")])
def test_raise_within_cost_comes_out_uncharged(error, limiter, bucket):
    """P5: An error of the cost callable comes out as it is; the call neither pays nor runs."""
    ran = []

    def price(*_):
        raise error

    limited = limiter.cost(price)(ran.append)

    @limiter.cost(price)
    async def limited_async():
        ran.append("async")

    with pytest.raises(type(error)) as caught:
        limited(1)
    assert caught.value is error
    with pytest.raises(type(error)):
        asyncio.run(limited_async())
    assert (bucket.available_tokens, ran) == (100, [])


def test_cost_that_does_not_fit_the_arguments_raises_its_own_error(limiter, bucket):
    """A cost callable with other parameters than the call fails as any wrong call does."""
    limited = limiter.cost(lambda: 1)(len)
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        limited("abc")
    assert bucket.available_tokens == 100


def test_price_call_above_capacity(limiter, bucket, clock):
    """A call priced above the capacity fails without blocking, and is waited for otherwise."""
    with pytest.raises(CostExceedsCapacity, match="101 is above the capacity of 100"):
        limiter.cost(len)(len)("a" * 101)
    assert bucket.available_tokens == 100
    assert RateLimiter(bucket).cost(len)(len)("a" * 150) == 150
    assert clock.elapsed == 1


@pytest.mark.parametrize("cost", [30, lambda _: 30], ids=["constant", "callable"])
def test_charge_short_of_tokens_follows_the_policy(cost, bucket, clock):
    """Constant and computed costs wait, refuse and time out alike."""
    bucket.allow(80)
    with pytest.raises(RateLimitExceeded) as refusal:
        RateLimiter(bucket, block=False).cost(cost)(len)("abc")
    assert (refusal.value.retry_after, refusal.value.tokens) == (0.2, 30)
    with pytest.raises(RateLimitExceeded, match="the timeout is"):
        RateLimiter(bucket, timeout=0.1).cost(cost)(len)("abc")
    assert RateLimiter(bucket, timeout=0.2).cost(cost)(len)("abc") == 3
    assert (bucket.available_tokens, clock.elapsed) == (0, 0.2)


@pytest.mark.parametrize("cost", [30, lambda: 30], ids=["constant", "callable"])
def test_charge_coroutine_short_of_tokens_follows_the_policy(cost, bucket, clock):
    """Coroutine functions wait, refuse and time out as functions do."""
    bucket.allow(80)

    async def run():
        return "ran"

    def call(**policy):
        return asyncio.run(RateLimiter(bucket, **policy).cost(cost)(run)())

    with pytest.raises(RateLimitExceeded):
        call(block=False)
    with pytest.raises(RateLimitExceeded, match="the timeout is"):
        call(timeout=0.1)
    assert call(timeout=0.2) == "ran"
    assert (bucket.available_tokens, clock.elapsed) == (0, 0.2)


def test_raise_within_limited_call_comes_out_charged(limiter, bucket):
    """An error of the call itself comes out as it is, and the call has been paid for."""
    with pytest.raises(ZeroDivisionError):
        limiter(lambda: 1 / 0)()
    with pytest.raises(ZeroDivisionError):
        limiter.cost(lambda: 2)(lambda: 1 / 0)()
    assert bucket.available_tokens == 97


def test_show_limiter_of_priced_call(limiter):
    """`.limiter` is there with a computed cost as with a constant one."""
    assert limiter.cost(len)(len).limiter is limiter
    assert limiter.cost(2)(len).limiter is limiter


def test_reuse_decorator_for_several_callables(limiter, bucket):
    """One decorator may decorate many, which then draw on the same bucket."""
    costly = limiter.cost(20)
    assert (costly(len)("abc"), costly(str)(1), costly(max)(1, 2)) == (3, "1", 2)
    assert bucket.available_tokens == 40
