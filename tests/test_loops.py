"""Buckets shared by tasks, event loops and threads."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from threading import Event, Thread

import pytest

from rate_limiter import RateLimiter, TokenBucket, rate_limited
from rate_limiter.testing import ManualClock

PATIENCE = 10.0  # seconds for something that takes microseconds, unless it hangs


async def settle(turns=5):
    """Let every task run as far as it can without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def wait_in_bucket(bucket):
    await bucket.wait_async()


async def wait_in_limiter(bucket):
    async with RateLimiter(bucket):
        pass


async def wait_in_permit(bucket):
    await RateLimiter(bucket).acquire(1)


async def wait_in_decorated(bucket):
    @RateLimiter(bucket)
    async def work():
        pass

    await work()


WAYS = [wait_in_bucket, wait_in_limiter, wait_in_permit, wait_in_decorated]


@pytest.mark.parametrize("way", WAYS)
def test_wait_in_two_successive_runs_keeps_counting(way):
    """P15: What was made outside any loop serves one loop after another, at one rate."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(1, 2, clock=clock)

    async def main():
        await asyncio.gather(*(way(bucket) for _ in range(5)))

    asyncio.run(main())
    first = clock.elapsed
    asyncio.run(main())

    assert (first, clock.elapsed) == (2.0, 4.5)


def test_wait_asleep_in_one_loop_survives_the_end_of_another():
    """P15: A loop that closes, cancelling who waits in it, leaves waiters elsewhere be."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
    thread = Thread(target=asyncio.run, args=(bucket.wait_async(),), daemon=True)

    async def main():
        abandoned = asyncio.create_task(bucket.wait_async())
        await settle()
        assert not abandoned.done()

    thread.start()
    clock.wait_for_sleepers()
    asyncio.run(main())
    clock.advance(1)
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert bucket.available_tokens == 0.0


@pytest.mark.parametrize("way", WAYS)
def test_wait_in_four_loops_and_threads_takes_exactly_the_time_of_the_tokens(way):
    """P15: Four loops in threads and four plain threads, on one bucket, share one rate."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(5, 10, clock=clock)

    async def in_tasks():
        await asyncio.gather(*(way(bucket) for _ in range(25)))

    def in_thread():
        for _ in range(25):
            with RateLimiter(bucket):
                pass

    with ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(lambda: asyncio.run(in_tasks())) for _ in range(4)]
        threads = [pool.submit(in_thread) for _ in range(4)]
        for future in loops + threads:
            future.result(PATIENCE)

    assert clock.elapsed == (8 * 25 - 5) / 10
    assert bucket.available_tokens == 0.0


@pytest.mark.parametrize("way", WAYS)
def test_wait_in_a_task_lets_other_tasks_run(way):
    """P16: While one task waits for tokens the loop belongs to the others."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)

    async def main():
        waiter = asyncio.create_task(way(bucket))
        turns = 0
        for _ in range(100):
            await asyncio.sleep(0)
            turns += not waiter.done()
        clock.advance(1)
        await asyncio.wait_for(waiter, PATIENCE)
        return turns

    assert asyncio.run(main()) == 100


def test_allow_in_a_thread_while_tasks_wait_returns_at_once():
    """P16: Tasks that wait for their tokens hold no lock that a thread needs."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
    returned = Event()

    async def main():
        waiters = [asyncio.create_task(bucket.wait_async()) for _ in range(10)]
        await settle()
        Thread(target=lambda: (bucket.allow(), returned.set()), daemon=True).start()
        came_back = returned.wait(PATIENCE)  # blocks the loop: nobody here can let go of a lock
        clock.advance(10)
        await asyncio.gather(*waiters)
        return came_back

    assert asyncio.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_cancel_a_waiting_task_gives_its_tokens_back(way):
    """P11: A task that is cancelled while it waits costs nothing."""
    bucket = TokenBucket(2, 1, initial_tokens=0.5, clock=ManualClock())

    async def main():
        waiter = asyncio.create_task(way(bucket))
        await settle()
        asked = bucket.retry_after(1)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        return asked, waiter.cancelled()

    assert asyncio.run(main()) == (1.5, True)
    assert (bucket.available_tokens, bucket.retry_after(1)) == (0.5, 0.5)


@pytest.mark.parametrize("way", WAYS)
def test_time_out_around_a_wait_gives_its_tokens_back(way):
    """P11: A scope that times out around a wait costs nothing."""
    bucket = TokenBucket(2, 1, initial_tokens=0.5, clock=ManualClock())

    async def main():
        async with asyncio.timeout(0.005):
            await way(bucket)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert (bucket.available_tokens, bucket.retry_after(1)) == (0.5, 0.5)


def test_cancel_a_task_that_was_just_woken_gives_its_tokens_back():
    """P11: A cancellation in the turn of the loop that also woke the task costs nothing."""
    clock = ManualClock()
    bucket = TokenBucket(2, 1, initial_tokens=0, clock=clock)

    async def main():
        waiter = asyncio.create_task(bucket.wait_async())
        await settle()
        clock.advance(1)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        return waiter.cancelled()

    assert asyncio.run(main())
    assert bucket.available_tokens == 1.0


@pytest.mark.parametrize(
    "leaving",
    [slice(0, 100), slice(100, None), slice(0, None, 3), slice(1, None, 2), slice(None, None, -1)],
)
def test_cancel_some_of_many_waits_leaves_the_level_exact(leaving):
    """P14: Whoever leaves of a crowd of waiters, only what the others took is gone."""
    clock = ManualClock()
    bucket = TokenBucket(10, 1, clock=clock)
    costs = list(islice(cycle([0.25, 1, 3, 12]), 300))

    async def main():
        waiters = [asyncio.create_task(bucket.wait_async(cost)) for cost in costs]
        await settle()
        for waiter in waiters[leaving]:
            waiter.cancel()
        await settle()
        owed = bucket.retry_after(10)
        clock.advance(1_300)
        await asyncio.gather(*waiters, return_exceptions=True)
        served = [cost for cost, w in zip(costs, waiters, strict=True) if not w.cancelled()]
        return owed, sum(served)

    owed, served = asyncio.run(main())
    assert owed == served
    assert clock.sleepers == 0


class Interrupted(ManualClock):
    """A clock whose sleepers get a KeyboardInterrupt."""

    def sleep(self, sleeper, until):
        raise KeyboardInterrupt


@pytest.mark.parametrize("cost", [0.5, 1, 10])
def test_interrupt_a_waiting_thread_gives_its_tokens_back(cost):
    """P11: A KeyboardInterrupt that ends a wait costs nothing."""
    bucket = TokenBucket(4, 1, initial_tokens=0.25, clock=Interrupted())

    with pytest.raises(KeyboardInterrupt):
        bucket.wait(cost)
    assert (bucket.available_tokens, bucket.retry_after(1)) == (0.25, 0.75)


def test_call_decorated_coroutine_in_threads_with_loops_shares_one_rate():
    """P15: A decorated coroutine function is one limit for every loop that runs it."""
    clock = ManualClock(auto_advance=True)
    ran = []

    @rate_limited(5, 10, clock=clock)
    async def work(number):
        ran.append(number)

    async def in_tasks(first):
        await asyncio.gather(*(work(number) for number in range(first, first + 25)))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(asyncio.run, in_tasks(25 * i)) for i in range(4)]:
            future.result(PATIENCE)

    assert sorted(ran) == list(range(100))
    assert clock.elapsed == 9.5
