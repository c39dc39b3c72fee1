"""Plain functions whose annotation says that what they return is to be awaited."""

import asyncio
import collections.abc
import typing
from collections.abc import Awaitable, Coroutine
from typing import Any

import pytest

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock


async def fetch(word):
    await asyncio.sleep(0)
    return [word]


def annotated(annotation, result=fetch):
    def call(word):
        return result(word)

    call.__annotations__["return"] = annotation
    return call


class Client:
    def __call__(self, word) -> Coroutine[Any, Any, list[str]]:
        return fetch(word)


class Query:
    """Something that can be awaited, and does more than that."""

    def __init__(self, word):
        self.word = word

    def __await__(self):
        yield from ()


AWAITED = {
    "awaitable": annotated(Awaitable[list[str]]),
    "bare": annotated(collections.abc.Coroutine),
    "typing": annotated(typing.Awaitable[list[str]]),
    "bare typing": annotated(typing.Awaitable),
    "words": annotated("Awaitable[list[str]]"),
    "qualified": annotated("typing.Coroutine[Any, Any, list[str]]"),
    "object": Client(),
    "bound": Client().__call__,
}
OTHERS = {
    "nothing": lambda word: Query(word),  # noqa: PLW0108 - a class would be changed in place
    "another": annotated(Query, Query),
    "another in words": annotated("Query", Query),
    "within": annotated(list[Awaitable[int]], Query),
    "unhashable": annotated([], Query),
}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.mark.parametrize("plain", AWAITED.values(), ids=AWAITED)
def test_call_function_annotated_as_awaitable_waits_as_a_task(plain, clock):
    """P16: Without tokens its call returns what waits for them, and blocks no loop."""
    limited = RateLimiter(TokenBucket(1, 1, clock=clock))(plain)

    async def main():
        calls = [asyncio.ensure_future(limited(word)) for word in "ab"]
        while not clock.sleepers:  # noqa: ASYNC110 - for turns, not for time
            await asyncio.sleep(0)
        clock.advance(1)
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [["a"], ["b"]]


@pytest.mark.filterwarnings("ignore:waiting:RuntimeWarning")
@pytest.mark.parametrize("plain", OTHERS.values(), ids=OTHERS)
def test_call_function_annotated_as_anything_else_returns_it(plain):
    """What a function returns stays what it is, unless it says that it is only to be awaited."""
    limited = RateLimiter(TokenBucket(1, 1, clock=ManualClock(auto_advance=True)))(plain)

    async def main():
        assert [type(limited(word)) for word in "ab"] == [Query, Query]

    asyncio.run(main())
