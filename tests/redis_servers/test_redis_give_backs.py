"""Who leaves gives back by its own call: at once, whatever others do, and when a loop ends."""

import asyncio
import gc
import math
import time
import warnings
from contextlib import suppress

import pytest
from fault_proxy import FaultProxy
from redis_worlds import Tasks, ValkeyTasks, about, name_of

from rate_limiter.redis import RedisTokenBucket
from rate_limiter.shared.background import unfinished

SOON = 2.0  # seconds that something short takes at most, on a busy machine

# Clients that are left open say so when they are collected, some by an error in `__del__`.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=[Tasks, ValkeyTasks], ids=name_of)
def world(request, redis_server):
    """Be a world of tasks, with either library."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def after(client, name):
    """Return what the bucket of the test is like afterwards, seen by somebody else."""
    return RedisTokenBucket(client, name, 5, 1)


def waiting(bucket, count, tokens=1):
    """Have so many tasks wait."""
    return [asyncio.ensure_future(bucket.wait(tokens)) for _ in range(count)]


def run_to_its_end(main):
    """Run a program that leaves its client open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            asyncio.run(main())
        finally:
            gc.collect()


async def all_in_line(after, count):
    """Wait until so many are in line."""
    async with asyncio.timeout(5):
        while after.level.waiting < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)


def test_end_the_loop_by_a_timeout_gives_all_places_back(world, after, name):
    """P11, P40: `asyncio.run` cancels who waits and who gives back; nobody stays in line."""

    async def main():
        bucket = world.bucket(world.make_client(), name, 5, 1)
        await asyncio.wait_for(asyncio.gather(*waiting(bucket, 40)), 0.3)

    with pytest.raises(TimeoutError):
        run_to_its_end(main)
    assert after.retry_after() <= 1


def test_end_the_loop_while_tasks_wait_gives_all_places_back(world, after, name):
    """P40: A program that ends in the middle of it all leaves no places either."""

    async def main():
        bucket = world.bucket(world.make_client(), name, 5, 1)
        crowd = waiting(bucket, 30)
        await all_in_line(after, 25)
        assert len(crowd) == 30

    run_to_its_end(main)
    assert after.retry_after() <= 1


@pytest.mark.parametrize("turns", range(8))
def test_cancel_twice_and_end_the_loop_at_once_gives_the_place_back(world, after, name, turns):
    """P11: A second cancellation does not cut short what gives back, nor does the loop's end."""
    assert after.allow(5)

    async def main():
        bucket = world.bucket(world.make_client(), name, 5, 1)
        (task,) = waiting(bucket, 1, 30)
        await all_in_line(after, 1)
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    run_to_its_end(main)
    assert after.retry_after() <= 1


@pytest.mark.parametrize("turns", range(0, 16, 3))
def test_end_the_loop_while_a_call_is_answered_gives_its_tokens_back(
    world, fault_proxy, client, name, turns
):
    """P11: A reply that nobody reads any more is read before the loop is gone."""
    direct = RedisTokenBucket(client, name, 5, 0.001)

    async def main():
        bucket = world.bucket(world.make_client(port=fault_proxy.port), name, 5, 0.001)
        await bucket.available_tokens
        fault_proxy.fail_next("delay", seconds=0.03)
        asyncio.ensure_future(bucket.allow(3))  # noqa: RUF006 - the loop ends before it does
        for _ in range(turns):
            await asyncio.sleep(0)

    run_to_its_end(main)
    assert direct.available_tokens == about(5)


def test_freeze_one_server_holds_up_no_give_back_to_another(make_server, redis_server, name):
    """P40: Those who wait for a server that hangs hold up nobody else, and take one timeout."""
    frozen = make_server()
    with Tasks(redis_server) as world:

        async def main():
            far = world.library.Redis(port=frozen.port, socket_timeout=0.3)
            slow = world.bucket(far, name, 1, 0.01)
            fine = world.bucket(world.keep(world.make_client()), name, 1, 0.01)
            crowd = waiting(slow, 8)
            await fine.allow()
            await asyncio.sleep(0.1)
            frozen.freeze()
            began = time.monotonic()
            for task in crowd:
                task.cancel()
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await fine.wait()
            assert time.monotonic() - began < 0.25
            await asyncio.wait(crowd)
            assert time.monotonic() - began < 0.3 + SOON
            await far.aclose()

        world.run(main())


def test_end_the_loop_while_the_server_is_frozen_takes_one_timeout(make_server, name):
    """P31, P40: What cannot be given back within the client's own timeout runs out by itself."""
    server = make_server()
    with Tasks(server) as world:

        async def main():
            client = world.make_client(socket_timeout=0.2, max_connections=4)
            crowd = waiting(world.bucket(client, name, 1, 0.01), 8)
            await asyncio.sleep(0.1)
            server.freeze()
            assert len(crowd) == 8

        began = time.monotonic()
        run_to_its_end(main)
        assert time.monotonic() - began < 0.1 + 0.4 + SOON


def test_crowd_that_leaves_gives_back_beside_each_other(world, after, name):
    """P40: A hundred who leave take the time of a few round trips, not of a hundred."""
    with FaultProxy(world.server.port) as proxy:

        async def main():
            async with world.make_client(port=proxy.port, max_connections=25) as client:
                bucket = world.bucket(client, name, 5, 1)
                crowd = waiting(bucket, 105)
                await all_in_line(after, 100)
                proxy.fail_next("delay", math.inf, seconds=0.05)
                began = time.monotonic()
                for task in crowd:
                    task.cancel()
                await asyncio.wait(crowd)
                while unfinished():
                    await asyncio.wait(unfinished())
                return time.monotonic() - began

        assert world.run(main()) < 100 * 0.05 / 2
    assert after.retry_after() <= 1


def test_give_back_goes_before_those_who_wait_for_a_connection(world, after, client, name):
    """P40: A place that is given up is not held by a crowd that asks for other things."""
    with FaultProxy(world.server.port) as proxy:

        async def main():
            client = world.make_client(port=proxy.port, max_connections=1, socket_timeout=5)
            async with client:
                bucket = world.bucket(client, name, 5, 1)
                (task,) = waiting(bucket, 1, 30)
                await all_in_line(after, 1)
                proxy.fail_next("delay", 8, seconds=0.05)
                asking = [asyncio.ensure_future(bucket.retry_after()) for _ in range(40)]
                await asyncio.sleep(0.01)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                assert sum(each.done() for each in asking) <= 2
                await asyncio.gather(*asking)

        world.run(main())
    assert after.retry_after() <= 1
