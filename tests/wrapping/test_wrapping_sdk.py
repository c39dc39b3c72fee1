"""Plain functions that hand on what a coroutine function returns, as software kits have them."""

import asyncio
import functools
import inspect
import types
from unittest import mock

import pytest
import trio

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.bucket import AsyncBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limiter(clock):
    return RateLimiter(TokenBucket(1, 1, clock=clock))


def sdk(func):
    @functools.wraps(func)
    def call(*args, **kwargs):
        return func(*args, **kwargs)

    return call


async def fetch(word):
    await asyncio.sleep(0)
    return [word]


class Client:
    @sdk
    async def fetch(self, word):
        return [word]

    async def __call__(self, word):
        return [word]


PLAIN = {
    "once": sdk(fetch),
    "twice": sdk(sdk(fetch)),
    "partial": functools.partial(sdk(fetch)),
    "within": sdk(functools.partial(sdk(functools.partial(fetch)))),
    "bound": Client().fetch,
    "object": sdk(Client()),
}
every_plain = pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN)


async def serve(clock, *calls):
    """Run calls of which all but the first wait, one second each."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for number in range(1, len(calls)):
        while clock.sleepers != len(calls) - number:  # noqa: ASYNC110 - for turns, not for time
            await asyncio.sleep(0)
        clock.advance(1)
    return await asyncio.gather(*tasks)


@every_plain
def test_call_plain_function_in_a_loop_waits_as_a_task(plain, limiter, clock):
    """P16: Without tokens its call returns what waits for them and then awaits the result."""
    limited = limiter(plain)

    async def main():
        return await serve(clock, *(limited(word) for word in "abc"))

    assert asyncio.run(main()) == [["a"], ["b"], ["c"]]
    assert clock.elapsed == 2


@every_plain
def test_call_plain_function_with_tokens_calls_it_at_once(plain, limiter):
    """With tokens it is called at once, and what it returned is returned."""
    limited = limiter(plain)
    assert not inspect.iscoroutinefunction(limited)
    assert inspect.isfunction(limited) == inspect.isfunction(plain)
    result = limited("a")
    assert limiter.bucket.available_tokens == 0
    assert asyncio.run(result) == ["a"]


def test_call_plain_function_without_a_loop_blocks():
    """Where no loop runs a call waits as any other, and then returns what it returned."""
    clock = ManualClock(auto_advance=True)
    limited = rate_limited(1, 1, clock=clock)(sdk(fetch))
    results = [limited("a"), limited("b")]
    assert clock.elapsed == 1
    assert [asyncio.run(result) for result in results] == [["a"], ["b"]]


def test_call_plain_function_in_trio_waits_as_a_task(clock):
    """P16: Tasks of trio wait as those of asyncio do."""

    async def nothing(word):
        return word

    limited = rate_limited(1, 1, clock=clock)(sdk(nothing))
    found = []

    async def call(word):
        found.append(await limited(word))

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "a")
            nursery.start_soon(call, "b")
            while clock.sleepers != 1:
                await trio.lowlevel.checkpoint()
            clock.advance(1)

    trio.run(main)
    assert sorted(found) == ["a", "b"]


@pytest.mark.parametrize("cost", [1, len], ids=["fixed", "computed"])
def test_refuse_call_of_plain_function_at_once(cost, limiter):
    """A limiter that refuses does so when called, in a loop as well."""
    limited = RateLimiter(limiter.bucket, block=False).cost(cost)(sdk(fetch))

    async def main():
        await limited("a")
        with pytest.raises(RateLimitExceeded):
            limited("b")

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"key": lambda word: 1}], ids=["fixed", "keyed"])
def test_price_call_of_plain_function_once(options, clock):
    """P5: The cost is asked for when called, once, also if the call has to wait."""
    seen = []
    limited = rate_limited(1, 1, lambda word: seen.append(word) or 1, clock=clock, **options)

    async def main():
        calls = [limited(sdk(fetch))(word) for word in "ab"]
        assert seen == ["a", "b"]
        return await serve(clock, *calls)

    assert asyncio.run(main()) == [["a"], ["b"]]
    assert seen == ["a", "b"]


def test_drop_waiting_call_of_plain_function_costs_nothing(limiter):
    """P11: A call that had to wait and is never awaited costs nothing, and warns as others do."""
    limited = limiter(sdk(fetch))

    async def main():
        await limited("a")
        with pytest.warns(RuntimeWarning, match="'fetch' was never awaited"):
            limited("b")

    asyncio.run(main())
    assert limiter.bucket.retry_after() == 1


@pytest.mark.parametrize("cost", [1, len], ids=["fixed", "computed"])
def test_wait_for_plain_function_that_returns_no_awaitable(cost, limiter, clock):
    """A function that has run the coroutine itself returns what came out."""

    @limiter.cost(cost)
    @functools.wraps(fetch)
    def run(word):
        return word

    async def main():
        assert run("a") == "a"
        return await serve(clock, asyncio.sleep(0), run("b"))

    assert asyncio.run(main()) == [None, "b"]


def test_call_free_plain_function_in_a_loop(limiter):
    """A call that costs nothing is called at once, whatever the bucket holds."""
    limited = limiter.cost(len)(sdk(fetch))

    async def main():
        return await limited("a"), await limited("")

    assert asyncio.run(main()) == (["a"], [""])


class Awaited(AsyncBucket):
    """A bucket whose answers are awaited; it takes what it is asked for."""

    capacity = tokens_per_second = 1.0
    available_tokens = None

    def __init__(self):
        self.taken = []

    async def _admit_async(self, tokens, block, timeout, source=None):
        self.taken.append(tokens)
        return 0.0, self, None

    def _taker(self, tokens):
        return lambda: False

    def _check(self, tokens):
        pass

    def _check_fits(self, tokens):
        pass


Awaited.__abstractmethods__ = frozenset()


@pytest.mark.parametrize("cost", [1, len], ids=["fixed", "computed"])
def test_call_plain_function_of_awaited_bucket_returns_an_awaitable(cost):
    """A bucket whose answers are awaited is asked when the call is awaited, loop or no loop."""
    bucket = Awaited()
    call = RateLimiter(bucket).cost(cost)(sdk(fetch))("a")
    assert bucket.taken == []
    assert asyncio.run(call) == ["a"]
    assert bucket.taken == [1]


def test_await_function_that_is_marked_as_coroutine_function(limiter):
    """P16: A plain function with asyncio's mark, or a mock of one, is a coroutine function."""

    def marked(word):
        return fetch(word)

    marked._is_coroutine = asyncio.coroutines._is_coroutine
    for func in (marked, mock.AsyncMock(return_value=["a"])):
        limited = RateLimiter(TokenBucket(1, 1, clock=ManualClock()))(func)
        call = limited("a")
        assert limited.limiter.bucket.available_tokens == 1
        assert asyncio.run(call) == ["a"]
        assert limited.limiter.bucket.available_tokens == 0


def test_await_coroutine_made_of_a_generator(limiter, clock):
    """P16: A generator marked by types.coroutine is awaited, and waits as a task."""

    class Old:
        @limiter
        @types.coroutine
        def fetch(self, word):
            yield from asyncio.sleep(0).__await__()
            return [word]

    async def call(word):
        return await Old().fetch(word)

    async def main():
        return await serve(clock, call("a"), call("b"))

    assert asyncio.run(main()) == [["a"], ["b"]]
    assert Old.fetch.__name__ == "fetch"


def test_limit_function_that_wraps_itself(limiter):
    """A function that is said to be its own core is a plain one."""

    def turns():
        return "done"

    turns.__wrapped__ = turns
    assert limiter(turns)() == "done"


def test_limit_object_that_has_any_attribute(limiter):
    """An object that is wrapped without end, and names itself by no string, is still limited."""
    assert limiter(mock.call)("a") == mock.call("a")
    assert limiter.bucket.available_tokens == 0
