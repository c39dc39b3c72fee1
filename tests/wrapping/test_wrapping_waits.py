"""Limited coroutines and async generators wait as tasks do, the others as threads do."""

import asyncio
from contextlib import aclosing

import pytest
import trio

from rate_limiter import RateLimiter, TokenBucket, per_instance, rate_limited
from rate_limiter.testing import ManualClock


class ClockForTasks(ManualClock):
    """A clock on which only tasks may sleep."""

    def sleep(self, sleeper, until):
        raise AssertionError("the event loop would have been blocked")


@pytest.fixture
def clock():
    return ClockForTasks()


async def coroutine(self, word="a"):
    return word


async def async_generator(self, word="a"):
    yield word


async def run(call):
    result = call("b")
    if not hasattr(result, "__anext__"):
        return await result
    async with aclosing(result):
        return await anext(result)


DECORATORS = {
    "constant": lambda clock: RateLimiter(TokenBucket(1, 1, clock=clock)),
    "callable": lambda clock: RateLimiter(TokenBucket(1, 1, clock=clock)).cost(lambda *_: 1),
    "keyed": lambda clock: rate_limited(1, 1, key=lambda _, word: word, clock=clock),
    "per instance": lambda clock: rate_limited(1, 1, key=per_instance, clock=clock),
}


@pytest.mark.parametrize("func", [coroutine, async_generator])
@pytest.mark.parametrize("make", DECORATORS.values(), ids=DECORATORS)
def test_wait_in_limited_coroutine_leaves_the_loop_running(func, make, clock):
    """P16: A coroutine that waits for its tokens suspends its task and nothing else."""
    call = type("Client", (), {"fetch": make(clock)(func)})().fetch

    async def main():
        tasks = [asyncio.create_task(run(call)) for _ in range(3)]
        await asyncio.sleep(0)
        assert clock.sleepers == 2
        clock.advance(1)
        await asyncio.wait(tasks[:2])
        assert (clock.sleepers, tasks[2].done()) == (1, False)
        clock.advance(1)
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == ["b"] * 3


@pytest.mark.parametrize("func", [coroutine, async_generator])
@pytest.mark.parametrize("make", DECORATORS.values(), ids=DECORATORS)
def test_cancel_waiting_limited_coroutine_gives_tokens_back(func, make, clock):
    """P11: A cancelled call that was waiting costs nothing."""
    call = type("Client", (), {"fetch": make(clock)(func)})().fetch

    async def main():
        await run(call)
        task = asyncio.create_task(run(call))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        clock.advance(1)
        await run(call)  # which would have to wait if the cancelled call had been charged
        return task.cancelled()

    assert asyncio.run(main())
    assert clock.sleepers == 0


@pytest.mark.parametrize("func", [coroutine, async_generator])
@pytest.mark.parametrize("make", DECORATORS.values(), ids=DECORATORS)
def test_cancelled_trio_task_does_not_begin_a_limited_coroutine(func, make, clock):
    """P11: A cancelled task of trio ends at its next await, which is that for tokens."""
    call = type("Client", (), {"fetch": make(clock)(func)})().fetch

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            await run(call)
        await run(call)  # which would have to wait if the cancelled call had been charged
        return scope.cancelled_caught

    assert trio.run(main)
