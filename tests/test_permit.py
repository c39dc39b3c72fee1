"""Permit: entered once, or a warning says that nothing was limited."""

import asyncio
import gc
import math
import warnings
from decimal import Decimal
from fractions import Fraction
from threading import Thread

import numpy as np
import pytest

from each import each
from rate_limiter import Permit, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limiter(clock):
    return RateLimiter(TokenBucket(10, 1, clock=clock))


def test_drop_permit_without_entering_it_warns_and_names_the_fix(limiter):
    """An acquire() whose permit is dropped limits nothing, and says so where it was written."""

    def forget():
        limiter.acquire(3)

    with pytest.warns(RuntimeWarning) as caught:
        forget()
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, forget.__code__.co_firstlineno + 1)
    assert str(warning.message) == (
        "acquire(3) was never entered and limited nothing; use "
        "'with limiter.acquire(3):', or 'async with', or 'await'"
    )
    assert limiter.bucket.available_tokens == 10


def test_drop_named_permit_warns_as_well(limiter):
    """A permit that has been given a name warns when that is forgotten."""
    permit = limiter.acquire()
    with pytest.warns(RuntimeWarning, match=r"acquire\(1\) was never entered"):
        del permit


def test_enter_permit_does_not_warn(limiter):
    """A permit that was entered, in whatever way, is dropped in silence."""

    async def main():
        await limiter.acquire()
        async with limiter.acquire(), limiter:
            pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with limiter.acquire(), limiter:
            pass
        asyncio.run(main())
        gc.collect()
    assert caught == []
    assert limiter.bucket.available_tokens == 5


def test_refuse_permit_does_not_warn(limiter):
    """A permit that was entered and refused is dropped in silence too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RateLimitExceeded) as refusal, limiter.acquire(11, timeout=0):
            pass
        refusal.value.__traceback__ = None
        gc.collect()
    assert caught == []


def enter(permit):
    with permit:
        pass


async def enter_async(permit):
    async with permit:
        pass


async def await_permit(permit):
    await permit


WAYS = [
    enter,
    lambda permit: asyncio.run(enter_async(permit)),
    lambda permit: asyncio.run(await_permit(permit)),
]


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_enter_permit_twice_is_refused(first, second, limiter):
    """A permit is good for one entry, and a second one takes nothing."""
    permit = limiter.acquire(2)
    first(permit)
    with pytest.raises(RuntimeError, match=r"entered once; call acquire\(\) again"):
        second(permit)
    assert limiter.bucket.available_tokens == 8


def test_wait_in_thread_tells_how_long(limiter, clock):
    """A permit knows its tokens and how long its thread waited for them."""
    limiter.bucket.allow(10)
    permit = limiter.acquire(2.5)
    assert (permit.tokens, permit.waited) == (2.5, 0)
    thread = Thread(target=enter, args=(permit,))
    thread.start()
    clock.wait_for_sleepers()
    clock.advance(3)
    thread.join()
    assert (permit.tokens, permit.waited) == (2.5, 3)


@pytest.mark.parametrize("run", [enter_async, await_permit])
def test_wait_in_task_tells_how_long(run, limiter, clock):
    """A permit knows how long its task waited for its tokens."""
    limiter.bucket.allow(10)
    permit = limiter.acquire(4)

    async def main():
        task = asyncio.create_task(run(permit))
        await asyncio.sleep(0)
        assert clock.sleepers == 1
        clock.advance(3.999999999)
        await asyncio.sleep(0)
        assert not task.done()
        clock.advance(0.000000001)
        await task

    asyncio.run(main())
    assert (permit.tokens, permit.waited) == (4, 4)


def test_enter_permit_gives_itself(limiter):
    """Every way of entering gives the permit."""

    async def main():
        inside, awaited = limiter.acquire(), limiter.acquire()
        async with inside as permit:
            return permit is inside, await awaited is awaited

    permit = limiter.acquire()
    with permit as entered:
        assert entered is permit
        assert isinstance(permit, Permit)
    assert asyncio.run(main()) == (True, True)


def test_repr_tells_whether_it_was_entered(limiter, clock):
    """The repr shows the tokens, and the wait once there has been one."""
    permit = limiter.acquire(3)
    assert repr(permit) == "Permit(tokens=3, not entered)"
    enter(permit)
    assert repr(permit) == "Permit(tokens=3, waited=0)"


@each(
    ("tokens", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (0.0, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        (10**400, ValueError),
        (Decimal("nan"), ValueError),
        (Fraction(0), ValueError),
        (np.float64("inf"), ValueError),
        (True, TypeError),
        (np.True_, TypeError),
        ("1", TypeError),
        (b"1", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ([1], TypeError),
        (len, TypeError),
    ],
)
@each("options", [{}, {"block": False}, {"timeout": 2}])
def test_acquire_what_is_no_cost_raises_at_once(tokens, error, options, limiter):
    """P22: Bad tokens are refused by acquire() itself: no permit, no warning, no charge."""
    with pytest.raises(error, match="tokens must be"):
        limiter.acquire(tokens, **options)
    assert limiter.bucket.available_tokens == 10


@pytest.mark.parametrize(
    "tokens", [2, 2.0, Fraction(2), Decimal(2), np.int64(2), np.float32(2), np.float64(2)]
)
def test_acquire_any_real_number_takes_it(tokens, limiter):
    """P22: Every real number is a cost."""
    with limiter.acquire(tokens) as permit:
        assert permit.tokens == tokens
    assert limiter.bucket.available_tokens == 8


def test_correct_payment_in_a_task_does_as_elsewhere(limiter):
    """A task settles and refunds by calls of their own, which never block its loop."""

    async def main():
        async with limiter.acquire(4) as permit:
            await permit.settle_async(6)
            assert limiter.bucket.available_tokens == 4
            await permit.refund_async()
            await permit.refund_async()
        assert limiter.bucket.available_tokens == 10
        with pytest.raises(RuntimeError, match="refunded"):
            await permit.settle_async(1)

    asyncio.run(main())
