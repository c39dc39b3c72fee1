"""What type checkers see of buckets, limiters, permits and clocks."""

from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import assert_type

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    Permit,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    Tokens,
    rate_limited,
)
from rate_limiter.bucket import Bucket, Reservation
from rate_limiter.clock import Clock
from rate_limiter.instrumentation import (
    Event,
    Hook,
    log_waits,
    opentelemetry,
    outage,
    paused,
    prometheus,
    set_hooks,
)
from rate_limiter.testing import ManualClock

clock = ManualClock(auto_advance=True, start=1.5)
bucket = TokenBucket(10, 0.5, initial_tokens=Decimal(1), clock=clock)
limiter = RateLimiter(bucket, timeout=Fraction(1, 3))


class OwnBucket(TokenBucket):
    pass


def check_bucket() -> None:
    assert_type(bucket.allow(), bool)
    assert_type(bucket.try_consume(Fraction(1, 3)), bool)
    assert_type(bucket.retry_after(2), float)
    assert_type(bucket.available_tokens, float)
    assert_type(bucket.capacity, float)
    assert_type(bucket.tokens_per_second, float)
    assert_type(TokenBucket.from_rate("10/second"), TokenBucket)
    assert_type(OwnBucket.from_rate("10/second", 5, clock=clock), OwnBucket)
    bucket.wait(2, timeout=1)
    bucket.refund(0.5)
    bucket.pause(1.5)
    bucket.configure(capacity=5)
    reservation = bucket.reserve(2, timeout=3)
    assert_type(reservation, Reservation)
    assert_type(reservation.delay, float)
    reservation.settle(0)


def check_group_and_keys() -> None:
    group = BucketGroup(bucket, requests=bucket)
    assert_type(group.allow({"requests": 2}), bool)
    limiters = KeyedRateLimiter(lambda: bucket, block=False, max_keys=10)
    assert_type(limiters["ada"], RateLimiter[TokenBucket])
    with RateLimiter(group).acquire({"requests": 2}) as permit:
        permit.settle({"requests": 3})
        permit.refund()


def check_limiter() -> None:
    assert_type(limiter.bucket, TokenBucket)
    assert_type(limiter.block, bool)
    with limiter as permit:
        assert_type(permit, Permit)
    with limiter.acquire(3, block=True, timeout=2) as permit:
        assert_type(permit, Permit)
        assert_type(permit.waited, float)


def check_names() -> None:
    assert_type(RateLimiter(bucket, name="github").name, str | None)
    assert_type(KeyedRateLimiter(lambda: bucket, name="users").name, str | None)
    KeyedRateLimiter.from_rate("10/second", name="users")


def plain_hook(event: Event) -> None:
    assert_type(event.limiter, str | None)
    assert_type(event.tokens, Tokens | None)
    assert_type(event.seconds, float | None)
    assert_type(event.refused_by, str | int | None)
    assert_type(event.kind == "waiting", bool)


@contextmanager
def held_hook(event: Event) -> Generator[None]:
    yield


def check_hooks() -> None:
    set_hooks([plain_hook, held_hook])
    set_hooks([log_waits(over=Fraction(1, 2)), prometheus(), opentelemetry()])
    assert_type(log_waits(), Hook)
    paused(limiter.name, 30)
    outage()


def check_limiter_of_any_bucket(limiter: RateLimiter) -> None:
    assert_type(limiter.bucket, Bucket)
    assert_type(limiter.acquire(), Permit)


async def check_limiter_in_task() -> None:
    await bucket.wait_async(2, timeout=1)
    async with limiter as permit:
        assert_type(permit, Permit)
    async with limiter.acquire(0.5) as permit:
        assert_type(permit, Permit)
    assert_type(await limiter.acquire(), Permit)


def check_block_may_be_left_early(word: str) -> str:
    with limiter:
        return word


def check_errors(error: RateLimitExceeded) -> None:
    assert_type(error.retry_after, float | None)
    as_value_error: ValueError = CostExceedsCapacity("too much")
    raise as_value_error from error


def check_clock() -> None:
    as_clock: Clock = clock
    assert_type(as_clock.now(), int)
    assert_type(clock.elapsed, float)
    with ManualClock().under(limiter) as entered:
        assert_type(entered, ManualClock)


@rate_limited(1, 1, clock=clock, name="clock")
def on_clock() -> None:
    pass
