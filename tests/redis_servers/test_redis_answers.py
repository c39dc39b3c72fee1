"""What a bucket for asyncio returns before it is awaited, and what costs nothing."""

import asyncio
import inspect
import math

import pytest
from redis_worlds import SLOW, WORLDS, about, name_of

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.redis import AsyncRedisTokenBucket

ASKS = [AsyncRedisTokenBucket.allow, AsyncRedisTokenBucket.try_consume]


@pytest.fixture
def run(async_client, name):
    """Run a coroutine function with a bucket of ten tokens."""

    def run(work):
        async def main():
            async with async_client() as client:
                return await work(AsyncRedisTokenBucket(client, name, 10, SLOW))

        return asyncio.run(main())

    return run


@pytest.mark.parametrize("ask", ASKS)
def test_ask_whether_an_answer_is_true_says_to_await_it(run, ask):
    """P22: `if bucket.allow():` would admit everybody."""

    async def work(bucket):
        for asked in (bucket, BucketGroup(bucket)):
            answer = ask(asked._core, 2)
            with pytest.raises(TypeError, match=rf"await bucket\.{ask.__name__}\(\.\.\.\)"):
                bool(answer)
            with pytest.raises(TypeError, match="has to be awaited"):
                assert not answer
            assert await answer is True  # asking has not used it up
        return await bucket.available_tokens

    assert run(work) == about(6)


@pytest.mark.parametrize("ask", ASKS)
def test_answer_is_a_coroutine_to_asyncio(run, ask):
    """Whatever takes coroutines takes it: tasks, gather, wait_for and timeouts."""

    async def work(bucket):
        answer = ask(bucket)
        assert asyncio.iscoroutine(answer)
        assert inspect.isawaitable(answer)
        assert ask.__name__ in repr(answer)
        task = asyncio.create_task(answer)
        assert ask.__name__ in repr(task)
        answers = [await task, await asyncio.wait_for(ask(bucket), 10)]
        answers += await asyncio.gather(*(ask(bucket) for _ in range(3)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(bucket, 2)) for _ in range(3)]
        return answers + [task.result() for task in tasks]

    assert run(work) == [True] * 7 + [False]


def test_run_an_answer_by_itself(async_client, name):
    """`asyncio.run` takes it, and cancelling its task reaches what it waits for."""
    bucket = AsyncRedisTokenBucket(async_client(), name, 10, SLOW)

    async def cancel():
        task = asyncio.ensure_future(bucket.allow())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await bucket._source.aclose()
        return task.cancelled()

    assert asyncio.run(bucket.allow(11)) is False
    assert asyncio.run(cancel())


@pytest.mark.parametrize("ask", ASKS)
def test_drop_an_answer_warns_and_close_it_does_not(async_client, name, ask):
    """A forgotten await is told, as of any coroutine."""
    bucket = AsyncRedisTokenBucket(async_client(), name, 10, SLOW)

    with pytest.warns(RuntimeWarning, match=rf"{ask.__name__}' was never awaited"):
        ask(bucket)  # which is dropped here
    ask(bucket).close()


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def group(world, name):
    """Hold ten of each."""
    client = world.client()
    return BucketGroup(
        calls=world.bucket(client, f"{name}-calls"), words=world.bucket(client, f"{name}-words")
    )


@pytest.fixture
def levels(world, group):
    """Tell what is in each bucket of the group."""
    return lambda: [world.run(bucket.available_tokens) for bucket in group.buckets.values()]


def test_take_none_of_a_bucket_leaves_it_alone(world, group, levels):
    """P7: A zero in a mapping is a bucket that is not asked."""
    run = world.run
    run(group.buckets["calls"].allow(10))
    cost = {"calls": 0, "words": 3}

    assert run(group.allow(cost)) is True
    assert run(group.retry_after(cost)) == 0
    run(group.wait(cost, timeout=0))
    permit = world.enter(RateLimiter(group, block=False).acquire(cost))
    run(permit.settle({"words": 1}))

    assert levels() == [about(0), about(3)]


def test_take_none_at_all_sends_no_command(world, name):
    """P7: Of nothing but zeros, the server need not be there."""
    run, nothing = world.run, {"calls": 0}
    client = world.make_client(port=1)
    group = BucketGroup(calls=world.bucket(client, name))
    limiter = RateLimiter(group, block=False)

    assert (run(group.allow(nothing)), run(group.retry_after(nothing))) == (True, 0)
    run(group.wait(nothing))
    run(group.refund(nothing))
    reservation, permit = run(group.reserve(nothing)), world.enter(limiter.acquire(nothing))
    assert (reservation.delay, permit.waited) == (0, 0)
    run(reservation.settle(nothing))
    run(permit.settle(nothing))
    run(reservation.cancel())
    run(permit.refund())


@pytest.mark.parametrize("away", [False, True], ids=["present", "away"])
@pytest.mark.parametrize("local", [False, True], ids=["allow", "bucket"])
def test_settle_a_mapping_with_a_number_names_the_buckets(world, name, away, local):
    """P22: A number would charge a call for each word, whoever counts."""
    run = world.run
    client = world.make_client(port=1, retry=None) if away else world.client()
    fallback = TokenBucket(10, SLOW) if local else "allow"
    group = BucketGroup(calls=world.bucket(client, name, fallback=fallback))
    cost = {"calls": 2}
    held = [run(group.reserve(cost)), world.enter(RateLimiter(group).acquire(cost))]
    cost["calls"] = 5  # it was copied

    for one in held:
        with pytest.raises(TypeError, match="the buckets are: 'calls'"):
            run(one.settle(3))

    left = math.inf if away and not local else 6
    assert run(group.available_tokens) == about(left)


def test_cancel_after_settling_what_was_not_reserved_gives_all_back(world, group, levels):
    """P11: A settlement may name a bucket that the reservation had left alone."""
    run = world.run
    run(group.buckets["calls"].allow(10))
    for cost, place in (({"calls": 1}, 1000), ({"words": 1}, 0)):
        reservation = run(group.reserve(cost))
        assert reservation.delay == pytest.approx(place, rel=0.05)

        run(reservation.settle({"calls": 0, "words": 4}))
        assert levels() == [about(0), about(6)]
        run(reservation.cancel())

        assert levels() == [about(0), about(10)]
