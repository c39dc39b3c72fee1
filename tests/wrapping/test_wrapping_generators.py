"""Limited generators and async generators do all that generators do."""

import asyncio

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def limiter():
    return RateLimiter(TokenBucket(3, 1, clock=ManualClock()), block=False)


@pytest.fixture
def log():
    return []


@pytest.fixture
def echo(limiter, log):
    """Return a limited generator that yields what it is sent or thrown, and returns "done"."""

    @limiter
    def echo(first):
        got = first
        try:
            while got != "stop":
                try:
                    got = yield got
                except KeyError as error:
                    got = error
        finally:
            log.append("closed")
        return "done"

    return echo


@pytest.fixture
def echo_async(limiter, log):
    """Return the same as an async generator."""

    @limiter
    async def echo_async(first):
        got = first
        try:
            while got != "stop":
                await asyncio.sleep(0)
                try:
                    got = yield got
                except KeyError as error:
                    got = error
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    return echo_async


def test_send_to_limited_generator_reaches_it(echo):
    """What is sent into a limited generator arrives, and what it yields comes back."""
    generator = echo(1)
    assert [next(generator), generator.send(2), generator.send(3)] == [1, 2, 3]


def test_throw_into_limited_generator_reaches_it(echo):
    """What is thrown into a limited generator can be handled there."""
    generator, error = echo(1), KeyError("thrown")
    next(generator)
    assert generator.throw(error) is error


def test_throw_into_limited_generator_that_does_not_handle_it_comes_out(echo, log):
    """What a limited generator does not handle comes out of it, after its cleanup."""
    generator = echo(1)
    next(generator)
    with pytest.raises(ZeroDivisionError):
        generator.throw(ZeroDivisionError)
    assert log == ["closed"]


def test_close_limited_generator_runs_its_cleanup(echo, log):
    """Closing a limited generator closes the one inside at once."""
    generator = echo(1)
    next(generator)
    generator.close()
    assert log == ["closed"]
    assert list(generator) == []


def test_finish_limited_generator_keeps_its_return_value(echo):
    """The value that a generator returns comes out of `yield from`."""

    def outer():
        return (yield from echo(1))

    generator = outer()
    next(generator)
    with pytest.raises(StopIteration) as stop:
        generator.send("stop")
    assert stop.value.value == "done"


def test_iterate_limited_generator_charges_once(echo, limiter):
    """A generator is charged at its first item and not at the others."""
    generator = echo(1)
    assert limiter.bucket.available_tokens == 3
    next(generator)
    assert limiter.bucket.available_tokens == 2
    next(generator)
    assert limiter.bucket.available_tokens == 2


def test_drop_limited_generator_before_its_first_item_costs_nothing(echo, echo_async, limiter):
    """Generators that nobody iterates over are not charged, closed or not."""
    echo(1)
    echo(1).close()
    asyncio.run(echo_async(1).aclose())
    assert limiter.bucket.available_tokens == 3


def test_refuse_limited_generator_at_its_first_item(echo, limiter, log):
    """P5: A generator that finds no token raises at its first item, having run nothing."""
    limiter.bucket.allow(3)
    generator = echo(1)
    with pytest.raises(RateLimitExceeded):
        next(generator)
    assert log == []


def test_send_to_limited_async_generator_reaches_it(echo_async):
    """What is sent into a limited async generator arrives, and what it yields comes back."""

    async def main():
        generator = echo_async(1)
        got = [await anext(generator), await generator.asend(2), await generator.asend(3)]
        await generator.aclose()
        return got

    assert asyncio.run(main()) == [1, 2, 3]


def test_throw_into_limited_async_generator_reaches_it(echo_async):
    """What is thrown into a limited async generator can be handled there."""
    error = KeyError("thrown")

    async def main():
        generator = echo_async(1)
        await anext(generator)
        caught = await generator.athrow(error)
        await generator.aclose()
        return caught

    assert asyncio.run(main()) is error


def test_throw_into_limited_async_generator_that_does_not_handle_it_comes_out(echo_async, log):
    """What a limited async generator does not handle comes out of it, after its cleanup."""

    async def main():
        generator = echo_async(1)
        await anext(generator)
        with pytest.raises(ZeroDivisionError):
            await generator.athrow(ZeroDivisionError)
        return [item async for item in generator]

    assert asyncio.run(main()) == []
    assert log == ["closed"]


def test_close_limited_async_generator_runs_its_cleanup(echo_async, log):
    """Closing a limited async generator closes the one inside before it returns."""

    async def main():
        generator = echo_async(1)
        await anext(generator)
        await generator.aclose()
        return log[:]

    assert asyncio.run(main()) == ["closed"]


def test_leave_limited_async_generator_early_runs_its_cleanup(echo_async, log):
    """After `break` out of `async for` the loop closes the generator, and the one inside."""

    async def main():
        async for _ in echo_async(1):
            break
        for _ in range(10):
            await asyncio.sleep(0)
        return log[:]

    assert asyncio.run(main()) == ["closed"]


def test_finish_limited_async_generator_ends_the_loop(limiter, log):
    """An async generator that comes to its end ends `async for`, an error comes out of it."""

    @limiter
    async def count(to):
        for number in range(to):
            yield number
        if to > 2:
            raise LookupError(to)

    async def main(to):
        async for number in count(to):
            log.append(number)

    asyncio.run(main(2))
    with pytest.raises(LookupError):
        asyncio.run(main(3))
    assert log == [0, 1, 0, 1, 2]


def test_refuse_limited_async_generator_at_its_first_item(echo_async, limiter, log):
    """P5: An async generator that finds no token raises at its first item, having run nothing."""
    limiter.bucket.allow(3)
    with pytest.raises(RateLimitExceeded):
        asyncio.run(anext(echo_async(1)))
    assert log == []


def test_ignore_close_in_limited_async_generator_is_an_error_as_without_limit(limiter):
    """An async generator that yields when it is closed gets the RuntimeError it always got."""

    @limiter
    async def stubborn():
        try:
            yield 1
        finally:
            yield 2

    async def main():
        generator = stubborn()
        await anext(generator)
        await generator.aclose()

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        asyncio.run(main())


def test_cancel_within_limited_async_generator_reaches_it(limiter, log):
    """A task cancelled while a limited async generator works cancels it there."""

    @limiter
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        yield

    async def main():
        task = asyncio.create_task(anext(work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    assert log == ["cancelled"]
