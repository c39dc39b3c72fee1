"""What is raised keeps nothing alive: not the frames that it passed, nor what is in them."""

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest

from rate_limiter import (
    BackendError,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.testing import ManualClock

ERRORS = BackendError, RateLimitExceeded, KeyboardInterrupt


class Payload:
    """Something large that a caller has at hand."""


@pytest.fixture(autouse=True)
def _without_collector():
    """Leave garbage where it is: what refers to itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(call):
    """Make a call with something large at hand; tell whether that is still there."""

    def caller():
        payload = Payload()
        with suppress(*ERRORS):
            call()
        return weakref.ref(payload)

    return caller()() is not None


@pytest.fixture
def refusing():
    """Make a limiter without tokens, which refuses."""

    def make(**options):
        bucket = TokenBucket(1, 1, clock=ManualClock())
        bucket.allow()
        return RateLimiter(bucket, block=False, **options)

    return make


def test_refuse_keeps_nothing_of_the_caller(refusing):
    """P24: A refusal is over once it has been caught."""
    assert not kept(refusing().acquire(1).__enter__)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("cost", [1, 2])
def test_let_pass_in_a_dry_run_keeps_nothing_of_the_caller(refusing, cost, awaited):
    """P24: A permit that says what would have happened holds no frames, as long as it is held."""
    permits = []

    def call():
        permit = refusing(dry_run=True).acquire(cost)
        permits.append(permit)
        if awaited:
            asyncio.run(enter(permit))
        else:
            permit.__enter__()

    async def enter(permit):
        await permit

    assert not kept(call)
    assert permits[0].levels[None].available_tokens == 0


def test_wait_in_a_dry_run_keeps_nothing_of_the_caller():
    """P24: So does one whose call would have waited."""
    bucket = TokenBucket(1, 1, clock=ManualClock())
    bucket.allow()
    permits = []
    limiter = RateLimiter(bucket, dry_run=True)
    assert not kept(lambda: permits.append(limiter.acquire(1).__enter__()))
    assert bucket.level.waiting == 1


def test_refuse_a_key_too_many_keeps_nothing_of_the_caller():
    """P24: A flood of keys leaves no garbage."""
    keyed = KeyedRateLimiter.from_rate("1/hour", max_keys=1, block=False, clock=ManualClock())
    keyed["ada"].bucket.allow()
    assert not kept(lambda: keyed["bob"])


@pytest.mark.parametrize("error", [BackendError, KeyboardInterrupt])
@pytest.mark.parametrize("call", ["allow", "wait", "level", "settle", "cancel"])
def test_fail_keeps_nothing_of_the_caller(make_bucket, store, call, error):
    """P24: An outage leaves no garbage for each call."""
    bucket = make_bucket(5)
    permit = RateLimiter(bucket).acquire(1).__enter__()
    reservation = bucket.reserve(1)
    store.failures = [error("away")]
    calls = {
        "allow": bucket.allow,
        "wait": bucket.wait,
        "level": lambda: bucket.level,
        "settle": lambda: permit.settle(2),
        "cancel": reservation.cancel,
    }
    assert not kept(calls[call])
