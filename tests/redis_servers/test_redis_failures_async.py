"""What only who waits can notice of a server that fails: loops turn on, and nothing is left."""

import asyncio
import gc
import time
from concurrent.futures import FIRST_COMPLETED, wait

import pytest
from redis_worlds import Tasks, Threads
from servers import Server

from rate_limiter import BackendError, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

HASTE = 0.2  # seconds that a client waits for a server that will not answer
MANY = 50


@pytest.fixture(scope="module")
def victim():
    """Be frozen and killed; whoever harms it repairs it."""
    with Server() as server:
        yield server


@pytest.fixture
def world(victim):
    """Be a world of tasks before that server."""
    with Tasks(victim) as world:
        yield world


def test_freeze_the_server_fails_all_callers_together_and_leaves_the_loop_turning(
    world, victim, name
):
    """P16, P31: However many wait for an answer, they wait together, and hold nobody up."""
    client = world.client(socket_timeout=HASTE, socket_connect_timeout=HASTE, retry=None)
    bucket = world.bucket(client, name)

    async def main():
        calls = asyncio.gather(*(bucket.allow() for _ in range(MANY)), return_exceptions=True)
        turns = 0
        while not calls.done():
            await asyncio.sleep(0.005)
            turns += 1
        return turns, await calls

    victim.freeze()
    began = time.monotonic()
    try:
        turns, answers = world.run(main())
        took = time.monotonic() - began
    finally:
        victim.thaw()

    assert [answer for answer in answers if not isinstance(answer, BackendError)] == []
    assert HASTE < took < 10 * HASTE
    assert turns > 10
    assert world.run(bucket.available_tokens) >= 9


@pytest.fixture
def complaints(world):
    """Collect what the loop has to complain about."""
    complaints = []

    async def listen():
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    world.run(listen())
    return complaints


CALLS = {
    "permit.settle": lambda permit, _: permit.settle(5),
    "permit.refund": lambda permit, _: permit.refund(),
    "reservation.settle": lambda _, reservation: reservation.settle(0),
    "reservation.cancel": lambda _, reservation: reservation.cancel(),
    "allow": lambda permit, _: permit._door.bucket.allow(),
    "refund": lambda permit, _: permit._door.bucket.refund(1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_cancel_a_call_that_fails_later_leaves_no_complaint(
    world, fault_proxy, name, complaints, call
):
    """P26: An error that nobody waits for any more is not logged, with the server's address."""
    bucket = world.bucket(world.client(port=fault_proxy.port), name)

    async def main():
        held = await RateLimiter(bucket).acquire(2), await bucket.reserve(2)
        for kind in ("drop_before", "drop_after"):
            for turns in range(8):
                fault_proxy.fail_next(kind)
                task = asyncio.ensure_future(call(*held))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                await asyncio.sleep(0.002)
                fault_proxy.clear()
                assert task.cancelled() or isinstance(task.exception(), BackendError | None)

    world.run(main())
    gc.collect()

    assert complaints == []


async def until_asleep(clock, count):
    """Wait until so many tasks sleep."""
    while clock.sleepers < count:  # noqa: ASYNC110 - the clock knows no events
        await asyncio.sleep(0.001)


def test_cancel_a_wait_in_the_line_of_the_fallback_leaves_that_line(world, fault_proxy, name):
    """P11: Who waits for tokens of the fallback and is cancelled gives them back there."""
    clock = ManualClock()
    local = TokenBucket(5, 1, initial_tokens=0, clock=clock)
    client = world.client(port=fault_proxy.port, retry=None)
    bucket = world.bucket(client, name, fallback=local)

    async def main():
        fault_proxy.fail_next("drop_before")
        task = asyncio.ensure_future(bucket.wait(3))
        await until_asleep(clock, 1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    world.run(main())

    assert local.retry_after() == 1
    assert clock.sleepers == 0


@pytest.fixture
def clock():
    """Be what callers sleep by."""
    return ManualClock()


def test_kill_the_server_under_tasks_that_wait_lets_them_go_in_time(world, victim, name, clock):
    """P31: Who has been told how long to wait needs no server until then."""
    bucket = world.bucket(world.client(retry=None), name, rate=1)
    bucket._clock, bucket._now = clock, clock.now

    async def main():
        assert await bucket.allow(10)
        waits = [asyncio.ensure_future(bucket.wait()) for _ in range(3)]
        await until_asleep(clock, 3)
        victim.kill()
        for number in range(1, 4):
            clock.advance(1)
            await asyncio.sleep(0.01)
            assert sum(each.done() for each in waits) == number
        await asyncio.gather(*waits)

    try:
        world.run(main())
    finally:
        victim.restart()
    assert world.run(bucket.available_tokens) == 10


def test_kill_the_server_under_threads_that_wait_lets_them_go_in_time(
    victim, name, clock, in_background
):
    """P31: Threads need no server either to sleep as long as they were told."""
    with Threads(victim) as world:
        bucket = world.bucket(world.client(retry=None), name, rate=1)
        bucket._clock, bucket._now = clock, clock.now
        assert bucket.allow(10)
        waits = [in_background(bucket.wait) for _ in range(3)]
        clock.wait_for_sleepers(3)
        victim.kill()
        try:
            for left in (2, 1, 0):
                clock.advance(1)
                wait(waits, timeout=5, return_when=FIRST_COMPLETED)
                waits = [each for each in waits if not each.done()]
                assert len(waits) == left
        finally:
            victim.restart()
