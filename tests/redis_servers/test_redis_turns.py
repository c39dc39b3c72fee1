"""Corrections of one payment take turns, whoever makes them."""

import asyncio
import os
import signal
import threading

import pytest
from redis_worlds import SLOW, about

from rate_limiter import RateLimiter
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.shared.background import unfinished


@pytest.fixture
def slow_bucket(redis_server, fault_proxy, name):
    """Have ten tokens, behind a proxy that can hold up a call."""
    with redis_server.client(port=fault_proxy.port, socket_timeout=30) as client:
        yield RedisTokenBucket(client, name, 10, SLOW)


@pytest.fixture
def level(client, name):
    """Tell how many tokens there are, past the proxy."""
    return lambda: RedisTokenBucket(client, name, 10, SLOW).available_tokens


def taken(bucket, what):
    """Take four tokens, to correct later."""
    if what == "permit":
        with RateLimiter(bucket).acquire(4) as permit:
            return permit
    return bucket.reserve(4)


def give_back(held):
    """Give back what is held."""
    return held.refund() if hasattr(held, "refund") else held.cancel()


@pytest.mark.parametrize("what", ["permit", "reservation"])
def test_settle_in_two_threads_charges_one_after_the_other(
    slow_bucket, fault_proxy, level, in_background, what
):
    """P29: The second difference is the one to what the first has paid."""
    held = taken(slow_bucket, what)
    fault_proxy.fail_next("delay")
    first = in_background(held.settle, 7)
    fault_proxy.wait_for_hits(1)
    second = in_background(held.settle, 1)
    with pytest.raises(TimeoutError):
        second.result(timeout=0.1)
    fault_proxy.release()

    first.result(), second.result()

    assert level() == about(9)


@pytest.mark.parametrize("what", ["permit", "reservation"])
def test_give_back_in_many_threads_happens_once(slow_bucket, level, in_background, what):
    """P29: However many threads give one payment back, it comes back once."""
    slow_bucket.allow(5)
    for _ in range(10):
        held, start = taken(slow_bucket, what), threading.Barrier(4)

        def give_back_with_the_others(held=held, start=start):
            start.wait()
            give_back(held)

        for call in [in_background(give_back_with_the_others) for _ in range(4)]:
            call.result()

        assert level() == about(5)


@pytest.mark.parametrize("what", ["permit", "reservation"])
def test_settle_and_give_back_in_threads_comes_out_whole(slow_bucket, level, in_background, what):
    """P29: A settlement comes before all is given back, or is refused."""
    slow_bucket.allow(2)
    for _ in range(20):
        held, start = taken(slow_bucket, what), threading.Barrier(2)

        def settle(held=held, start=start):
            start.wait()
            held.settle(7)

        settling = in_background(settle)
        start.wait()
        give_back(held)

        assert (
            settling.exception() is None
            or "there is nothing" in str(settling.exception())
            or ("is refunded" in str(settling.exception()))
        )
        assert level() == about(8)


def test_settle_while_a_refund_is_under_way_is_refused(
    slow_bucket, fault_proxy, level, in_background
):
    """P29: What waited for its turn finds that all has been given back."""
    held = taken(slow_bucket, "permit")
    fault_proxy.fail_next("delay")
    settling = in_background(held.settle, 6)
    fault_proxy.wait_for_hits(1)
    others = [in_background(held.refund) for _ in range(3)] + [in_background(held.settle, 5)]
    fault_proxy.release()

    settling.result()
    for other in others[:3]:
        other.result()
    assert isinstance(others[3].exception(), RuntimeError | None)
    assert level() == about(10)


def test_settle_in_a_handler_amid_a_settlement_ends_with_the_latter(
    slow_bucket, level, monkeypatch
):
    """P20: Who is interrupted goes on from what the handler has charged."""
    held, store, interrupted = taken(slow_bucket, "permit"), slow_bucket._store, []
    ask = store.ask

    def ask_interrupted(question):
        if not interrupted:
            interrupted.append(True)
            held.settle(9)
        return ask(question)

    monkeypatch.setattr(store, "ask", ask_interrupted)
    held.settle(2)

    assert level() == about(8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is nothing to fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_while_another_thread_settles_leaves_the_child_free(
    slow_bucket, fault_proxy, level, in_background
):
    """P20: The child has its own turns; whoever had one in the parent is not there."""
    held = taken(slow_bucket, "permit")
    fault_proxy.fail_next("delay")
    settling = in_background(held.settle, 5)
    fault_proxy.wait_for_hits(1)

    child = os.fork()
    if not child:  # pragma: no cover - the child is not measured
        signal.alarm(10)
        try:
            held.settle(6)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    fault_proxy.release()
    settling.result()

    assert status == 0
    assert level() == about(3)  # both have charged, each for its own process


@pytest.mark.parametrize("what", ["permit", "reservation"])
@pytest.mark.parametrize("cancel", [False, True], ids=["kept", "cancelled"])
def test_settle_in_two_tasks_charges_one_after_the_other(  # noqa: PLR0917 - fixtures
    async_client, fault_proxy, name, level, what, cancel
):
    """P29, P11: Also if the first task is cancelled while its call is under way."""

    async def main():
        async with async_client(port=fault_proxy.port, socket_timeout=30) as client:
            bucket = AsyncRedisTokenBucket(client, name, 10, SLOW)
            if what == "permit":
                held = await RateLimiter(bucket).acquire(4)
            else:
                held = await bucket.reserve(4)
            fault_proxy.fail_next("delay")
            first = asyncio.ensure_future(held.settle(7))
            await asyncio.to_thread(fault_proxy.wait_for_hits, 1)
            second = asyncio.ensure_future(held.settle(1))
            await asyncio.sleep(0.01)
            if cancel:
                first.cancel()
                await asyncio.wait([first])
            assert not second.done()
            fault_proxy.release()
            await asyncio.gather(first, second, return_exceptions=cancel)
            assert level() == about(9)
            give = held.refund if what == "permit" else held.cancel
            await asyncio.gather(*(give() for _ in range(5)))
            with pytest.raises(RuntimeError, match=r"refunded|nothing to settle"):
                await held.settle(1)
            while unfinished():
                await asyncio.wait(unfinished())

    asyncio.run(main())

    assert level() == about(10)


def test_settle_and_refund_in_tasks_come_in_order(async_client, fault_proxy, name, level):
    """P29: Who waited for its turn finds that all has been given back."""

    async def main():
        async with async_client(port=fault_proxy.port, socket_timeout=30) as client:
            permit = await RateLimiter(AsyncRedisTokenBucket(client, name, 10, SLOW)).acquire(4)
            fault_proxy.fail_next("delay")
            calls = [asyncio.ensure_future(permit.settle(7))]
            await asyncio.to_thread(fault_proxy.wait_for_hits, 1)
            more = permit.refund(), permit.refund(), permit.settle(3)
            calls += map(asyncio.ensure_future, more)
            await asyncio.sleep(0.01)
            fault_proxy.release()
            return await asyncio.gather(*calls, return_exceptions=True)

    *fine, refused = asyncio.run(main())

    assert fine == [None, None, None]
    assert isinstance(refused, RuntimeError)
    assert level() == about(10)
