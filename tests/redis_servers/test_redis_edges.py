"""What happens at the edges of asking a server: too late, too early, in the wrong world."""

import asyncio

import pytest

from rate_limiter import BackendError, KeyedRateLimiter, RateLimiter
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.shared.background import unfinished


def run(work):
    """Run to its end what an asyncio client does, and all that it leaves behind."""

    async def main():
        try:
            return await work()
        finally:
            while unfinished():
                await asyncio.wait(unfinished())

    return asyncio.run(main())


def test_wait_by_the_name_that_other_buckets_have_waits(async_client, name):
    """An asyncio bucket can be waited for by either name."""

    async def main():
        async with async_client() as client:
            bucket = AsyncRedisTokenBucket(client, name, 2, 1)
            await bucket.wait_async(2)
            return await bucket.allow()

    assert run(main) is False


def test_correct_in_the_wrong_world_names_the_right_one(client, async_client, name):
    """Neither kind of bucket pretends to be the other."""
    blocking = RedisTokenBucket(client, name, 2, 1)
    awaiting = AsyncRedisTokenBucket(async_client(), name, 2, 1)

    with pytest.raises(TypeError, match=r"answers only in asyncio tasks.*RedisTokenBucket"):
        awaiting._settle(None, 1)
    with pytest.raises(TypeError, match="answers only in asyncio tasks"):
        awaiting._give_back(None)
    with pytest.raises(TypeError, match=r"would block the event loop.*AsyncRedisTokenBucket"):
        asyncio.run(blocking.wait_async())
    for bucket in (blocking, awaiting):
        with pytest.raises(TypeError, match="goes by the clock of its store"):
            bucket._move_back(None)


def test_cancel_a_call_that_is_refused_gives_nothing_back(async_client, fault_proxy, name):
    """P11: A cancelled call that took nothing has nothing to give back."""

    async def main():
        async with async_client(port=fault_proxy.port) as client:
            bucket = AsyncRedisTokenBucket(client, name, 2, 0.001)
            assert await bucket.allow(2)
            fault_proxy.fail_next("delay")
            call = asyncio.ensure_future(bucket.allow())
            await asyncio.to_thread(fault_proxy.wait_for_hits, 1)
            call.cancel()
            await asyncio.wait([call])
            fault_proxy.release()
            while unfinished():
                await asyncio.wait(unfinished())
            return await bucket.available_tokens

    assert run(main) < 0.1


def test_cancel_a_call_whose_reply_is_lost_ends_quietly(async_client, fault_proxy, name):
    """P32: A reply that nobody waits for, and that never comes, harms nobody."""

    async def main():
        async with async_client(port=fault_proxy.port, socket_timeout=0.2) as client:
            bucket = AsyncRedisTokenBucket(client, name, 2, 0.001)
            assert await bucket.allow()
            fault_proxy.fail_next("delay")
            call = asyncio.ensure_future(bucket.allow())
            await asyncio.to_thread(fault_proxy.wait_for_hits, 1)
            call.cancel()
            await asyncio.wait([call])
            while unfinished():
                await asyncio.wait(unfinished())
            fault_proxy.clear()
            return await bucket.allow(), await bucket.available_tokens

    assert run(main)[0] is False


def test_end_the_loop_before_a_reply_comes_leaves_no_connection(async_client, fault_proxy, name):
    """P32: What reads the replies of cancelled calls may be cancelled as well."""

    async def main():
        async with async_client(port=fault_proxy.port) as client:
            bucket = AsyncRedisTokenBucket(client, name, 2, 0.001)
            assert await bucket.allow()
            fault_proxy.fail_next("delay")
            call = asyncio.ensure_future(bucket.allow())
            await asyncio.to_thread(fault_proxy.wait_for_hits, 1)
            call.cancel()
            await asyncio.wait([call])
            for task in unfinished():
                task.cancel()
            await asyncio.wait(unfinished())
            fault_proxy.release()
            return await bucket.allow()

    assert run(main) is False


def test_cancel_a_call_of_a_cluster_whose_reply_is_an_error_ends_quietly(
    cluster_server, name, async_cluster_client
):
    """P32: Nobody is told of an error that nobody waits for."""

    async def main():
        async with async_cluster_client() as client:
            bucket = AsyncRedisTokenBucket(client, name, 2, 0.001)
            await client.rpush(f"rate_limiter:{name}", "not a bucket")
            call = asyncio.ensure_future(bucket.allow())
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            while unfinished():
                await asyncio.wait(unfinished(), timeout=5)
            with pytest.raises(BackendError):
                await bucket.allow()

    run(main)


@pytest.fixture
def async_cluster_client(cluster_server):
    """Give what connects to a cluster from a loop."""
    from redis.asyncio import RedisCluster

    return lambda: RedisCluster(host=cluster_server.host, port=cluster_server.port)


def test_make_one_bucket_for_all_keys_is_refused(client, name):
    """A maker that is not told the key gives each key the same bucket, which nobody wants."""
    limiters = KeyedRateLimiter(lambda: RedisTokenBucket(client, name, 1, 1))

    with pytest.raises(TypeError, match="must take the key"):
        limiters["ada"]


def test_ask_the_understudy_how_full_it_is(make_server, name):
    """A limiter of a key may be dropped when its bucket's understudy is full."""
    server = make_server()
    client = server.client(retry=None)
    bucket = RedisTokenBucket(client, name, 2, 1, fallback="allow")
    server.kill()

    reservation = bucket.reserve()
    assert reservation.delay == 0
    reservation.cancel()
    with pytest.raises(RuntimeError, match="has been cancelled"):
        reservation.settle(1)
    assert bucket._full_in() == 0
    with RateLimiter(bucket).acquire() as permit:
        permit.refund()
