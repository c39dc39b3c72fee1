"""Limits by key whose buckets are in a store."""

import asyncio

import pytest

from rate_limiter import KeyedRateLimiter


def test_reset_a_key_fills_its_bucket_in_the_store(make_bucket):
    """A key's handles are dropped at once, but what is in the store is filled again."""
    limiters = KeyedRateLimiter(lambda key: make_bucket(3, 1, name=key), block=False)
    with limiters["ada"].acquire(3):
        pass
    assert limiters["ada"].bucket.available_tokens == 0
    limiters.reset("ada")
    assert limiters["ada"].bucket.available_tokens == 3
    assert limiters["bob"].bucket.available_tokens == 3


def test_reset_a_key_that_is_held_fills_its_bucket(make_bucket, clock):
    """So it is while somebody holds the limiter, and those in line are served."""
    limiters = KeyedRateLimiter(lambda key: make_bucket(1, 1, name=key))
    held = limiters["ada"]
    held.bucket.allow()
    clock.events = [lambda: limiters.reset("ada")]
    with held.acquire() as permit:
        assert permit.waited == 1  # it had been told, and keeps its time
    assert held.bucket.level.waiting == 0


def test_reset_a_key_of_awaited_buckets_is_awaited(make_async_bucket):
    """Where answers are awaited, so is this."""
    limiters = KeyedRateLimiter(lambda key: make_async_bucket(3, 1, name=key), block=False)

    async def main():
        async with limiters["ada"].acquire(3):
            pass
        await limiters.reset("ada")
        return await limiters["ada"].bucket.available_tokens

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("fallback", ["allow", "deny"])
def test_reset_while_the_store_is_away_leaves_it_to_the_fallback(store, make_bucket, fallback):
    """P31: What stands in for the store is reset instead."""
    bucket = make_bucket(fallback=fallback)
    store.failures = [OSError("not one of ours")]
    with pytest.raises(OSError, match="not one of ours"):
        bucket._reset()
