"""Calls whose tokens are there are paid on the quick way, of every kind of function."""

import asyncio

import pytest

from rate_limiter import KeyedRateLimiter, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.charges import CallCharge
from rate_limiter.memory import at_rest, ledger
from rate_limiter.testing import ManualClock


@pytest.fixture(autouse=True)
def untraced(monkeypatch):
    """Let the quick way serve also while coverage is measured, which is by a tracer."""
    for module in (ledger, at_rest):
        monkeypatch.setattr(module, "gettrace", lambda: None)


@pytest.fixture(params=[1, 2, 0.5])
def limited(request):
    """Return a decorator at some cost, and a bucket that has tokens for two calls."""
    bucket = TokenBucket(2 * request.param, 1, clock=ManualClock())
    return RateLimiter(bucket, block=False).cost(request.param)


def test_call_a_function_pays_at_once(limited):
    """P2: A function is called as often as there are tokens."""
    call = limited(len)
    assert [call("a"), call("ab")] == [1, 2]
    with pytest.raises(RateLimitExceeded):
        call("abc")


def test_call_a_coroutine_function_pays_at_once(limited):
    """P2: So is a coroutine function."""

    @limited
    async def call(value):
        return value

    async def main():
        assert [await call(1), await call(2)] == [1, 2]
        with pytest.raises(RateLimitExceeded):
            await call(3)

    asyncio.run(main())


def test_call_a_generator_function_pays_at_once(limited):
    """P2: So is a generator function, when it begins."""

    @limited
    def call(value):
        yield value

    assert [*call(1), *call(2)] == [1, 2]
    with pytest.raises(RateLimitExceeded):
        list(call(3))


def test_call_an_async_generator_function_pays_at_once(limited):
    """P2: So is an async generator function."""

    @limited
    async def call(value):
        yield value

    async def main():
        assert [value async for value in call(1)] == [1]
        assert [value async for value in call(2)] == [2]
        with pytest.raises(RateLimitExceeded):
            [value async for value in call(3)]

    asyncio.run(main())


def test_call_for_a_key_at_rest_makes_no_bucket():
    """P24: A key that is known pays with an integer, as the compiled core asks for it."""
    keyed = KeyedRateLimiter.from_rate("2/second", block=False, clock=ManualClock())
    charge = CallCharge(keyed, 1, str.lower)
    charge._run_for_key("ada", True)
    charge._run_for_key("ada", True)
    with pytest.raises(RateLimitExceeded):
        charge._run_for_key("ada", True)
