"""What else a limited callable keeps: pickling, copies, its name in tasks, its attributes."""

import asyncio
import copy
import functools
import inspect
import pickle

import pytest
import wrapt

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

LIMITER = RateLimiter(TokenBucket(1000, 1, clock=ManualClock()), block=False)


@LIMITER
def fetch(word):
    """Fetch."""
    return [word]


@LIMITER
async def fetch_async(word):
    return word


@LIMITER
def pages():
    yield 1


@LIMITER
async def pages_async():
    yield 1


@LIMITER
class Point:
    def __init__(self, x):
        self.x = x


class Client:
    name = "client"

    @LIMITER
    def fetch(self, word):
        return [self.name, word]

    @LIMITER
    async def fetch_async(self, word):
        return word

    @LIMITER
    @classmethod
    def above_classmethod(cls, word):
        return [cls.name, word]

    @classmethod
    @LIMITER
    def below_classmethod(cls, word):
        return [cls.name, word]

    @LIMITER
    @staticmethod
    def above_staticmethod(word):
        return [word]

    @staticmethod
    @LIMITER
    def below_staticmethod(word):
        return [word]

    def __call__(self, word):
        return [self.name, word]


ON_INSTANCE = [
    "fetch",
    "above_classmethod",
    "below_classmethod",
    "above_staticmethod",
    "below_staticmethod",
]
ON_CLASS = ON_INSTANCE[1:]
PICKLED = [getattr(Client(), name) for name in ON_INSTANCE] + [
    getattr(Client, name) for name in ON_CLASS
]
PICKLED_IDS = [f"Client().{name}" for name in ON_INSTANCE] + [f"Client.{name}" for name in ON_CLASS]
COPIES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]  # noqa: S301
COPY_IDS = ["copy", "deepcopy", "pickle"]

every_copy = pytest.mark.parametrize("duplicate", COPIES, ids=COPY_IDS)


@every_copy
@pytest.mark.parametrize("func", [fetch, fetch_async, pages, pages_async, Point])
def test_copy_limited_function_gives_itself(func, duplicate):
    """Copies and pickles of module-level functions and classes are those themselves."""
    assert duplicate(func) is func


@every_copy
@pytest.mark.parametrize("method", PICKLED, ids=PICKLED_IDS)
def test_copy_limited_method_gives_one_that_works(method, duplicate):
    """Copies and pickles of bound methods are bound, and pay to the same limiter."""
    again = duplicate(method)
    before = LIMITER.bucket.available_tokens
    assert again("a") == method("a")
    assert LIMITER.bucket.available_tokens == before - 2


@every_copy
def test_copy_limited_method_of_class_gives_one_that_works(duplicate):
    """Copies and pickles of a method taken from its class call that method."""
    again = duplicate(Client.fetch)
    before = LIMITER.bucket.available_tokens
    assert again(Client(), "a") == ["client", "a"]
    assert LIMITER.bucket.available_tokens == before - 1


def test_deepcopy_limited_bound_method_copies_its_instance():
    """A deep copy of a bound method is bound to a copy of its instance, as without a limit."""
    client = Client()
    again = copy.deepcopy(client.fetch)
    client.name = "changed"
    assert again("a") == ["client", "a"]


def test_copy_instance_with_limited_methods_works():
    """Instances whose class has limited methods copy and pickle as before."""
    client = Client()
    client.name = "mine"
    for duplicate in COPIES:
        assert duplicate(client).fetch("a") == ["mine", "a"]


def test_compare_limited_function_equals_itself_and_hashes():
    """A limited function can be a key of a dict and is equal to itself."""
    assert {fetch: 1}[fetch] == 1
    assert Client.fetch == Client.fetch


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fetch_async(1), "fetch_async"),
        (lambda: Client().fetch_async(1), "Client.fetch_async"),
    ],
    ids=["function", "method"],
)
def test_run_limited_coroutine_in_task_shows_its_own_name(call, name):
    """A task says which function it runs, in its repr as well."""

    async def main():
        task = asyncio.create_task(call())
        shown = task.get_coro().__qualname__, f"coro=<{name}()" in repr(task)
        return await task, shown

    assert asyncio.run(main()) == (1, (name, True))


def test_show_limited_generators_by_their_own_names():
    """Generators made by limited functions carry the names of those."""
    assert (pages().__name__, pages_async().__name__) == ("pages", "pages_async")


@pytest.mark.parametrize("func", [fetch, fetch_async, pages, pages_async])
def test_wrap_uses_the_compiled_wrapper(func):
    """Wrapping is done by wrapt's C extension, whose wrapper is several times faster."""
    compiled = wrapt.FunctionWrapper
    assert compiled in type(func).__mro__
    assert not inspect.isfunction(compiled.__init__)
    assert compiled.__module__ != "wrapt.wrappers"


def test_set_attribute_on_limited_function_sets_it_on_the_function():
    """Attributes set on a limited function are those of the function."""
    fetch.route = "/words"
    assert fetch.__wrapped__.route == "/words"
    del fetch.route
    assert not hasattr(fetch.__wrapped__, "route")


@pytest.mark.parametrize("name", ON_CLASS)
def test_look_for_limiter_on_class_and_instance_finds_it(name):
    """`.limiter` is there through the class as well as through an instance."""
    assert getattr(Client, name).limiter is LIMITER
    assert getattr(Client(), name).limiter is LIMITER
    assert Client.fetch.limiter is LIMITER


def test_call_limited_builtin_counts_and_returns():
    """Builtins are limited like functions, and a cost callable gets their arguments alone."""
    bucket = TokenBucket(10, 1, clock=ManualClock())
    limited = RateLimiter(bucket).cost(len)(len)
    assert limited("abc") == 3
    assert bucket.available_tokens == 7
    assert inspect.isbuiltin(limited)


def test_call_limited_partial_method_via_class_counts():
    """A limited partialmethod works on the class with an instance as its first argument."""
    bucket = TokenBucket(10, 1, clock=ManualClock())

    class Words:
        def find(self, word, times=1):
            return [word] * times

        twice = RateLimiter(bucket)(functools.partialmethod(find, times=2))

    assert Words.twice(Words(), "a") == Words().twice("a") == ["a", "a"]
    assert bucket.available_tokens == 8


@pytest.mark.parametrize(
    "target",
    [None, 3, "fetch", property(lambda self: 1), functools.cached_property(len), [len]],
    ids=lambda target: type(target).__name__,
)
def test_limit_what_cannot_be_called_says_what_to_do(target):
    """Decorating what is no callable is refused with a way out."""
    with pytest.raises(TypeError, match=f"{type(target).__name__}.*property, decorate its getter"):
        LIMITER(target)


def test_limit_getter_of_property_limits_the_property():
    """A limit under @property holds for each access."""
    bucket = TokenBucket(10, 1, clock=ManualClock())

    class Sensor:
        @property
        @RateLimiter(bucket)
        def value(self):
            return 42

    assert Sensor().value == 42
    assert bucket.available_tokens == 9


def test_drop_limited_coroutine_before_awaiting_it_costs_nothing():
    """A coroutine that is never awaited is not charged, and warns as coroutines do."""
    before = LIMITER.bucket.available_tokens
    with pytest.warns(RuntimeWarning, match="'fetch_async' was never awaited"):
        fetch_async(1)
    assert LIMITER.bucket.available_tokens == before
