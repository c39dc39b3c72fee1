"""What events call a limiter."""

from __future__ import annotations

import functools

import pytest

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket, per_instance, rate_limited


def module_function():
    pass


def limit(**options):
    return rate_limited(9, 1, **options)


def first_name(heard, function, *args):
    function(*args)
    return heard.events[-1].limiter


def test_name_a_limiter_shows_it():
    """A name is an attribute, and in the repr."""
    bucket = TokenBucket(1, 1)
    assert RateLimiter(bucket, name="github").name == "github"
    assert "name='github'" in repr(RateLimiter(bucket, name="github"))
    assert RateLimiter(bucket).name is None
    assert "name" not in repr(RateLimiter(bucket))
    for keyed in (
        KeyedRateLimiter(lambda: bucket, name="users"),
        KeyedRateLimiter.from_rate("1/second", name="users"),
    ):
        assert (keyed.name, keyed["a"].name) == ("users", "users")
        assert "name='users'" in repr(keyed)
        assert "name='users'" in repr(keyed["a"])
    assert "name" not in repr(KeyedRateLimiter(lambda: bucket))


@pytest.mark.parametrize(
    "make",
    [
        lambda name: RateLimiter(TokenBucket(1, 1), name=name),
        lambda name: KeyedRateLimiter(lambda: TokenBucket(1, 1), name=name),
        lambda name: KeyedRateLimiter.from_rate("1/second", name=name),
        lambda name: rate_limited(1, 1, name=name),
        lambda name: rate_limited(1, 1, name=name, key=str),
        lambda name: rate_limited(1, 1, name=name, key=per_instance),
    ],
)
def test_name_a_limiter_refuses_what_is_no_name(make):
    """A name is a string, and not empty."""
    with pytest.raises(TypeError, match=r"name must be a str, got 5 \(int\)"):
        make(5)
    with pytest.raises(ValueError, match="name must not be empty"):
        make("")


def test_change_the_policy_of_a_call_keeps_the_name(heard):
    """A permit with options of its own is of the same limiter."""
    limiter = RateLimiter(TokenBucket(1, 1), name="api")
    with limiter.acquire(block=False):
        pass
    assert heard.events[0].limiter == "api"


@pytest.mark.parametrize("options", [{}, {"cost": lambda *_: 1}, {"key": lambda *_: "k"}])
def test_decorate_without_a_name_takes_that_of_the_function(heard, options):
    """What is decorated gives its qualified name to the limiter made for it."""
    function = limit(**options)(module_function)

    assert first_name(heard, function) == "module_function"
    assert function.limiter.name == "module_function"
    assert "name='module_function'" in repr(function.limiter)


def test_decorate_a_method_takes_its_qualified_name(heard):
    """The name of a method has that of its class in it; those of instances share it."""

    class Client:
        @limit(key=per_instance)
        def ping(self):
            pass

        @classmethod
        @limit()
        def of(cls):
            pass

    here = "test_decorate_a_method_takes_its_qualified_name.<locals>.Client"
    assert first_name(heard, Client().ping) == f"{here}.ping"
    assert first_name(heard, Client.of) == f"{here}.of"


def test_decorate_with_a_name_keeps_it(heard):
    """A name that is given wins."""
    assert first_name(heard, limit(name="api")(module_function)) == "api"
    limiter = RateLimiter(TokenBucket(9, 1), name="shared")
    assert first_name(heard, limiter(module_function)) == "shared"
    assert first_name(heard, limiter.cost(lambda: 1)(module_function)) == "shared"


def test_decorate_several_by_one_limiter_tells_them_apart(heard):
    """A limiter without a name lends itself to functions under their own names."""
    limiter = RateLimiter(TokenBucket(9, 1))
    decorate = limiter.cost(2)

    @decorate
    def first():
        pass

    @decorate
    def second():
        pass

    assert first_name(heard, first).endswith("<locals>.first")
    assert first_name(heard, second).endswith("<locals>.second")
    with limiter:
        pass
    assert heard.events[-1].limiter is None
    assert first.limiter is second.limiter is limiter
    assert limiter.name is None


class Callable:
    def __call__(self):
        pass


class Odd:
    __qualname__ = "Odd"

    def __init__(self):
        self.__qualname__ = 5

    def __call__(self):
        pass


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (functools.partial(module_function), "module_function"),
        (Callable(), "Callable"),
        (Odd(), "Odd"),
        (Callable().__call__, "Callable.__call__"),
        (staticmethod(module_function), "module_function"),
    ],
)
def test_decorate_what_is_no_function_finds_a_name(heard, func, expected):
    """A partial is called as its function, and an object as its class."""
    assert first_name(heard, limit()(func)) == expected
