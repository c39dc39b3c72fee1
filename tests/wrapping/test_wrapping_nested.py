"""Limits over limits, under and over other decorators, and on methods that override others."""

import abc
import asyncio
import functools

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def outer(clock):
    return RateLimiter(TokenBucket(10, 1, clock=clock), block=False)


@pytest.fixture
def inner(clock):
    return RateLimiter(TokenBucket(2, 1, clock=clock), block=False)


@pytest.fixture
def left(outer, inner):
    return lambda: (outer.bucket.available_tokens, inner.bucket.available_tokens)


def plain(*_):
    return "done"


async def coroutine(*_):
    return "done"


def generator(*_):
    yield "done"


async def async_generator(*_):
    yield "done"


class CoroutineCall:
    async def __call__(self, *_):
        return "done"


async def first(items):
    return await anext(aiter(items))


@pytest.mark.parametrize(
    ("func", "run"),
    [
        (plain, lambda result: result),
        (coroutine, asyncio.run),
        (generator, next),
        (async_generator, lambda items: asyncio.run(first(items))),
        (CoroutineCall(), asyncio.run),
        (functools.partial(coroutine, 1), asyncio.run),
        (CoroutineCall().__call__, asyncio.run),
    ],
    ids=["function", "coroutine", "generator", "async generator", "object", "partial", "bound"],
)
def test_limit_twice_charges_both_when_it_begins_to_run(func, run, outer, inner, left):
    """A limit over a limit charges both, and neither before the call begins to run."""
    twice = outer(inner(func))
    result = twice(1)
    called = left()
    assert run(result) == "done"
    assert called == ((9, 1) if func is plain else (10, 2))
    assert left() == (9, 1)


def test_limit_method_twice_charges_both(outer, inner, left):
    """A method keeps its binding through two limits."""

    class Client:
        @outer
        @inner
        def fetch(self, word):
            return self, word

    client = Client()
    assert client.fetch(1) == (client, 1)
    assert Client.fetch(client, 2) == (client, 2)
    assert left() == (8, 0)


def test_limit_twice_shows_the_outer_limiter_first(outer, inner):
    """`.limiter` is the outermost one, the next is found through `__wrapped__`."""
    twice = outer(inner(plain))
    assert twice.limiter is outer
    assert twice.__wrapped__.limiter is inner


def test_refuse_by_inner_limit_leaves_outer_charged(outer, inner, left):
    """Each limit is paid in turn: when the inner one refuses, the outer one has been paid."""
    inner.bucket.allow(2)
    with pytest.raises(RateLimitExceeded):
        outer(inner(plain))()
    assert left() == (9, 0)


def test_wrap_limited_function_by_another_decorator_keeps_its_limit(outer, left):
    """A functools.wraps decorator above or below a limit passes calls on, and finds it."""

    def twice(func):
        @functools.wraps(func)
        def call_twice(*args):
            return func(*args), func(*args)

        return call_twice

    above = twice(outer(plain))
    assert above() == ("done", "done")
    assert left()[0] == 8
    assert above.__wrapped__.limiter is outer
    assert outer(twice(plain))() == ("done", "done")
    assert left()[0] == 7


def test_cache_limited_function_charges_only_misses(outer, left):
    """A cache above a limit pays for what it does not know, a cache below pays for each call."""
    above, below = functools.lru_cache(outer(len)), outer(functools.lru_cache(len))
    assert [above("abc"), above("abc")] == [3, 3]
    assert left()[0] == 9
    assert [below("abc"), below("abc")] == [3, 3]
    assert left()[0] == 7
    assert below.cache_info().hits == 1


def test_call_super_from_limited_override_charges_both(outer, inner, left):
    """An override and the method it calls through super() each pay their own limit."""

    class Base:
        @inner
        def fetch(self, word):
            return [word]

    class Client(Base):
        @outer
        def fetch(self, word):
            return [*super().fetch(word), type(self).__name__]

    assert Client().fetch("a") == ["a", "Client"]
    assert left() == (9, 1)


def test_inherit_limited_method_shares_its_limit(outer, left):
    """Instances of a class and of its subclasses draw on the one bucket of their method."""

    class Base:
        @outer
        def fetch(self):
            return type(self).__name__

    class Client(Base):
        pass

    assert (Base().fetch(), Client().fetch()) == ("Base", "Client")
    assert left()[0] == 8


def test_inherit_from_limited_class_charges_each_instance_once(outer, left):
    """A limited class can be inherited from and tested for; each new instance pays."""

    @outer
    class Base:
        made_by = "Base"

        @classmethod
        def make(cls):
            return cls()

    class Client(Base):
        pass

    assert isinstance(Base(), Base)
    assert left()[0] == 9
    assert isinstance(Client(), Base)
    assert issubclass(Client, Base)
    assert Base.made_by == Client.made_by == "Base"
    assert type(Client.make()) is Client
    assert left()[0] == 7


def test_limit_abstract_method_stays_abstract(outer):
    """A class with a limited abstract method cannot be instantiated, its implementation can."""

    class Base(abc.ABC):
        @outer
        @abc.abstractmethod
        def fetch(self):
            """Fetch."""

    class Client(Base):
        def fetch(self):
            return 1

    assert Base.__abstractmethods__ == {"fetch"}
    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Client().fetch() == 1
