"""What type checkers see of decorated callables: the types they had before."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, assert_type

from rate_limiter import RateLimiter, TokenBucket, per_instance, rate_limited

limiter = RateLimiter(TokenBucket(10, 5))


@rate_limited(10, 5)
def function(word: str, times: int = 1) -> list[str]:
    return [word] * times


@rate_limited(10, "5/second", cost=2, block=False)
async def coroutine(word: str) -> int:
    return len(word)


@limiter
def generator(count: int) -> Generator[int, str, bool]:
    sent = yield count
    return bool(sent)


@limiter.cost(2)
async def async_generator(count: int) -> AsyncGenerator[int, None]:
    yield count


@limiter.cost(len)
def priced(word: str) -> str:
    return word


@rate_limited(10, 5, key=str.lower)
def keyed(word: str) -> str:
    return word


@limiter
class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def price(client: "Client", ids: list[int]) -> float:
    return len(ids)


class Client:
    @limiter
    def method(self, word: str) -> str:
        return word

    @rate_limited(10, 5, key=per_instance, timeout=1.5)
    async def coroutine_method(self, word: str) -> str:
        return word

    @limiter.cost(price)
    def priced_method(self, ids: list[int]) -> list[int]:
        return ids

    @classmethod
    @limiter
    def class_method(cls, word: str) -> str:
        return word

    @staticmethod
    @limiter
    def static_method(word: str) -> str:
        return word

    @property
    @limiter
    def value(self) -> int:
        return 1


def check_functions() -> None:
    assert_type(function("a", times=2), list[str])
    assert_type(generator(1), Generator[int, str, bool])
    assert_type(async_generator(1), AsyncGenerator[int, None])
    assert_type(priced("a"), str)
    assert_type(keyed("a"), str)
    assert_type(limiter(len)("abc"), int)
    as_callable: Callable[[str], Coroutine[Any, Any, int]] = coroutine
    asyncio.run(as_callable("a"))


async def check_awaited() -> None:
    assert_type(await coroutine("a"), int)
    assert_type(await Client().coroutine_method("a"), str)
    async for number in async_generator(1):
        assert_type(number, int)


def check_classes() -> None:
    point: Point = Point(1)
    assert_type(point, Point)
    assert_type(point.x, int)
    client = Client()
    assert_type(client.method("a"), str)
    assert_type(Client.method(client, "a"), str)
    assert_type(client.priced_method([1]), list[int])
    assert_type(client.class_method("a"), str)
    assert_type(Client.class_method("a"), str)
    assert_type(client.static_method("a"), str)
    assert_type(Client.static_method("a"), str)
    assert_type(client.value, int)
