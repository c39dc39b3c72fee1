"""Permits and reservations of buckets in a store, and what stands in for one that is away."""

import asyncio
import math

import pytest

from rate_limiter import BackendError, BucketGroup, Level, RateLimiter, TokenBucket
from rate_limiter.shared.failures import ReplyLost


@pytest.fixture
def bucket(make_bucket):
    return make_bucket(10, 0.001)


def test_settle_what_was_refunded_is_refused(bucket):
    """P29: What has been given back is not corrected any more, and given back once."""
    with RateLimiter(bucket).acquire(4) as permit:
        permit.refund()
        permit.refund()
    assert bucket.available_tokens == 10
    with pytest.raises(RuntimeError, match="refunded"):
        permit.settle(1)
    assert bucket.available_tokens == 10


def test_settle_again_charges_the_difference_to_the_last_time(bucket):
    """P9: Each settlement says what the work has cost in all."""
    with RateLimiter(bucket).acquire(4) as permit:
        for used, left in ((6, 4), (6, 4), (1, 9), (0, 10), (3, 7)):
            permit.settle(used)
            assert bucket.available_tokens == left


def test_settle_in_tasks_does_the_same(make_async_bucket, bucket):
    """P9: So it is where answers are awaited."""

    async def main():
        async with RateLimiter(make_async_bucket(10, 0.001)).acquire(4) as permit:
            await permit.settle(6)
            await permit.settle(1)
            await permit.refund()
            await permit.refund()
            with pytest.raises(RuntimeError, match="refunded"):
                await permit.settle(1)

    asyncio.run(main())
    assert bucket.available_tokens == 10


@pytest.mark.parametrize(
    ("error", "expected"), [(BackendError("refused"), 10), (ReplyLost("lost"), 6)]
)
def test_refund_again_after_a_failure_counts_if_nothing_was_done(bucket, store, error, expected):
    """P29: What may have been given back is not given back again."""
    with RateLimiter(bucket).acquire(4) as permit:
        pass
    store.failures = [error]
    with pytest.raises(type(error)):
        permit.refund()
    permit.refund()
    assert bucket.available_tokens == expected


def test_cancel_again_after_a_failure_counts_if_nothing_was_done(bucket, store):
    """P29: So it is with reservations."""
    for error, expected in ((BackendError("refused"), 10), (ReplyLost("lost"), 6)):
        reservation = bucket.reserve(4)
        store.failures = [error]
        with pytest.raises(type(error)):
            reservation.cancel()
        reservation.cancel()
        assert bucket.available_tokens == expected


def test_reserve_and_settle_in_tasks_gives_back_once(make_async_bucket, bucket):
    """P11: A reservation of awaited buckets is one as well."""

    async def main():
        reservation = await make_async_bucket(10, 0.001).reserve(4)
        assert repr(reservation) == "Reservation(delay=0)"
        await reservation.settle(6)
        await reservation.cancel()
        await reservation.cancel()
        assert repr(reservation) == "Reservation(cancelled)"
        with pytest.raises(RuntimeError, match="has been cancelled"):
            await reservation.settle(1)

    asyncio.run(main())
    assert bucket.available_tokens == 10


@pytest.mark.parametrize(
    ("fallback", "available"), [("allow", math.inf), ("deny", 0.0), (TokenBucket(3, 1), 3.0)]
)
def test_look_while_the_store_is_away_tells_of_what_stands_in(
    make_bucket, store, fallback, available
):
    """P31: The level is that of the fallback; of one that counts nothing, the terms are ours."""
    bucket = make_bucket(10, 5, fallback=fallback)
    store.failures = [BackendError("away")] * 2
    assert bucket.available_tokens == available
    level = bucket.level
    assert level.available_tokens == available
    if isinstance(fallback, str):
        assert level == Level(10.0, 5.0, available, 0.0, 0.0, None)


def test_ask_for_nothing_of_a_group_asks_nothing(make_bucket, make_async_bucket, asked):
    """A mapping of zeros is free, and no store is asked."""
    group = BucketGroup(one=make_bucket(1, 1))
    nothing = {"one": 0}
    assert group.allow(nothing)
    assert group.retry_after(nothing) == 0
    group.wait(nothing)
    group.refund(nothing)
    reservation = group.reserve(nothing)
    assert reservation.delay == 0
    reservation.cancel()
    assert asked() == []


def test_cancel_again_after_half_of_it_failed_gives_back_the_rest(make_bucket, store, clock):
    """P29: A cancel of places and of what was charged beside them is two questions."""
    one, two = make_bucket(10, 1, "one"), make_bucket(10, 0.001, "two")
    group = BucketGroup(one=one, two=two)
    one.allow(10)
    reservation = group.reserve({"one": 5})
    reservation.settle({"one": 5, "two": 2})
    store.failures = [None, BackendError("refused")]
    with pytest.raises(BackendError):
        reservation.cancel()
    assert two.available_tokens == 8
    clock.advance(5)
    assert one.allow(5)

    reservation.cancel()

    assert [one.available_tokens, two.available_tokens] == [0, pytest.approx(10)]
    reservation.cancel()
    assert one.available_tokens == 0
