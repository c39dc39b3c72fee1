"""What type checkers see of buckets on a server."""

from typing import Any, assert_type

from rate_limiter import BucketGroup, KeyedRateLimiter, Permit, RateLimiter, TokenBucket
from rate_limiter.bucket import AsyncBucket, AsyncReservation, Bucket, Reservation
from rate_limiter.limiter import AsyncPermit
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket


def check_bucket(client: Any) -> None:
    bucket = RedisTokenBucket(client, b"name", 10, 0.5, prefix="app", fallback=TokenBucket(1, 1))
    assert_type(bucket.allow(), bool)
    assert_type(bucket.try_consume(2), bool)
    assert_type(bucket.retry_after(2), float)
    assert_type(bucket.available_tokens, float)
    assert_type(bucket.reserve(2, timeout=1), Reservation)
    bucket.wait(1, timeout=2)
    bucket.refund(1)
    bucket.pause(1.5)
    bucket.configure(tokens_per_second=2)
    assert_type(RedisTokenBucket.from_rate(client, "name", "10/second"), RedisTokenBucket)
    as_bucket: Bucket = bucket
    assert_type(BucketGroup(as_bucket, requests=bucket).allow({"requests": 1}), bool)


def check_limiter(client: Any) -> None:
    limiter = RateLimiter(RedisTokenBucket(client, "name", 10, 5, fallback="deny"))
    assert_type(limiter.bucket, RedisTokenBucket)
    with limiter.acquire(3) as permit:
        assert_type(permit, Permit)
        permit.settle(1)
    limiters = KeyedRateLimiter(lambda key: RedisTokenBucket(client, f"user:{key}", 10, 5))
    assert_type(limiters["ada"].bucket, RedisTokenBucket)


async def check_async_bucket(client: Any) -> None:
    bucket = AsyncRedisTokenBucket(client, "name", 10, 5)
    assert_type(await bucket.allow(), bool)
    assert_type(await bucket.try_consume(2), bool)
    assert_type(await bucket.retry_after(2), float)
    assert_type(await bucket.available_tokens, float)
    await bucket.wait(1, timeout=2)
    await bucket.wait_async(1)
    await bucket.refund(1)
    await bucket.pause(1)
    reservation = await bucket.reserve(2)
    assert_type(reservation, AsyncReservation)
    assert_type(reservation.delay, float)
    await reservation.settle(1)
    await reservation.cancel()


async def check_async_limiter(client: Any) -> None:
    limiter = RateLimiter(AsyncRedisTokenBucket(client, "name", 10, 5))
    async with limiter.acquire(3) as permit:
        assert_type(permit, AsyncPermit)
        await permit.settle(1)
        await permit.refund()
    async with limiter as permit:
        assert_type(permit, AsyncPermit)
    assert_type(await limiter.acquire(), AsyncPermit)
    group = BucketGroup(AsyncRedisTokenBucket(client, "a", 1, 1), b=limiter.bucket)
    assert_type(group, AsyncBucket)
    assert_type(await group.allow({"b": 1}), bool)
