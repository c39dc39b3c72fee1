"""What a limited method is when it is bound, taken apart and put together again."""

import asyncio
import copy
import functools
import pickle
import types
import weakref

import pytest
import wrapt

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

LIMITER = RateLimiter(TokenBucket(10**6, 1, clock=ManualClock()), block=False)


@pytest.fixture
def limiter():
    return RateLimiter(TokenBucket(100, 1, clock=ManualClock()), block=False)


@pytest.fixture
def paid(limiter):
    return lambda: 100 - limiter.bucket.available_tokens


@wrapt.decorator
def told_its_instance(wrapped, instance, args, kwargs):
    return instance, wrapped(*args, **kwargs)


class OwnClassMethod(classmethod):
    """A kind of classmethod that only its author knows."""


class Client:
    def __eq__(self, other):
        return type(other) is Client

    def __hash__(self):
        return 1

    @LIMITER
    def fetch(self, word="a"):
        return [self, word]

    @LIMITER
    @classmethod
    def above_classmethod(cls, word="a"):
        return [cls, word]

    @classmethod
    @LIMITER
    def below_classmethod(cls, word="a"):
        return [cls, word]

    @LIMITER
    @OwnClassMethod
    def own_classmethod(cls, word="a"):  # noqa: N805 - it is called with the class
        return [cls, word]

    @LIMITER
    @functools.cache  # noqa: B019 - its one instance lives as long as this
    def cached(self):
        return [self]

    twice = LIMITER(functools.partialmethod(fetch.__wrapped__, "b"))


METHODS = ["fetch", "above_classmethod", "below_classmethod", "own_classmethod", "cached"]


@pytest.mark.parametrize("name", METHODS)
def test_bind_limited_method_gives_a_real_one(name):
    """A bound limited method is of Python's own type, equal to itself and of one hash."""
    client = Client()
    method = getattr(client, name)
    assert type(method) is types.MethodType
    assert method == getattr(client, name)
    assert hash(method) == hash(getattr(client, name))
    assert method.limiter is LIMITER


@pytest.mark.parametrize(
    "take_apart",
    [
        lambda method: lambda: method.__func__(method.__self__),
        lambda method: types.MethodType(method.__func__, method.__self__),
        lambda method: weakref.WeakMethod(method)(),
        lambda method: functools.partial(method.__func__, method.__self__),
        lambda method: method.__func__.__get__(method.__self__),
        lambda method: pickle.loads(pickle.dumps(method)),  # noqa: S301
        copy.copy,
        copy.deepcopy,
    ],
    ids=["func", "again", "weak", "partial", "get", "pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize("name", METHODS)
def test_take_bound_limited_method_apart_keeps_the_limit(name, take_apart):
    """Whoever takes a bound method apart calls a limited function."""
    client = Client()
    method = getattr(client, name)
    before = LIMITER.bucket.available_tokens
    assert take_apart(method)() == method.__wrapped__(method.__self__)
    assert LIMITER.bucket.available_tokens == before - 1


@pytest.mark.parametrize("name", METHODS)
def test_refer_weakly_to_limited_method(name):
    """A weak reference to a method lasts as long as its instance, as without a limit."""
    client = Client()
    method = weakref.WeakMethod(getattr(client, name))
    getattr(client, name)()
    assert method()()[0] == (Client if "classmethod" in name else client)


def test_bind_descriptor_that_changes_its_mind(limiter, paid):
    """A descriptor that binds to one function after another is limited through each."""

    class Alternates:
        def __init__(self):
            self.functions = [lambda self: "a", lambda self: "b"]

        def __get__(self, instance, owner):
            return self.functions.pop(0).__get__(instance)

        def __call__(self):
            """Be callable."""

    class Thing:
        fetch = limiter(Alternates())

    assert [Thing().fetch(), Thing().fetch(), paid()] == ["a", "b", 2]


def test_take_method_from_class_gives_the_function():
    """Through the class it is the function itself, as without a limit."""
    assert Client.fetch is vars(Client)["fetch"]
    assert Client.fetch(Client(), "b") == [Client(), "b"]


def test_limit_a_bound_method_stays_one(limiter, paid):
    """P22: A method that is bound already stays bound, and shows its cost no `self`."""

    class Plain:
        def many(self, ids):
            return self, ids

        @classmethod
        def all(cls, ids):
            return cls, ids

    plain = Plain()
    limited = limiter.cost(len)(plain.many)
    assert type(limited) is types.MethodType
    assert limited([1, 2]) == (plain, [1, 2])
    assert limiter.cost(len)(Plain.all)([1, 2, 3]) == (Plain, [1, 2, 3])
    assert paid() == 5
    assert limiter(limited)([1, 2]) == (plain, [1, 2])
    assert paid() == 8


def test_define_methods_that_a_class_makes_its_own(limiter, paid):
    """`__new__`, `__init_subclass__` and `__class_getitem__` are what they are without a limit."""

    def passing_on(func):
        @functools.wraps(func)
        def pass_on(*args, **kwargs):
            return func(*args, **kwargs)

        return pass_on

    class Plugin:
        names = []  # noqa: RUF012 - those of its subclasses

        @limiter
        def __init_subclass__(cls, name):
            cls.names.append((cls.__name__, name))

        @limiter
        @passing_on
        def __class_getitem__(cls, item):
            return cls, item

        @limiter
        @limiter
        def __new__(cls, size):
            return object.__new__(cls), size

    class Mine(Plugin, name="mine"):
        pass

    assert Plugin.names == [("Mine", "mine")]
    assert Mine[3] == (Mine, 3)
    made, size = Mine(4)
    assert (type(made), size, paid()) == (Mine, 4, 4)
    assert type(made.__new__(Mine, 5)[0]) is Mine
    kinds = [type(vars(Plugin)[name]) for name in ("__init_subclass__", "__class_getitem__")]
    assert (kinds, type(vars(Plugin)["__new__"])) == ([classmethod] * 2, staticmethod)
    assert Plugin.__class_getitem__.limiter is limiter


def test_limit_single_dispatch_method(limiter, paid):
    """A limited singledispatchmethod takes implementations, and finds them."""
    costs = []

    class Show:
        @limiter.cost(lambda *args: costs.append(args) or 2)
        @functools.singledispatchmethod
        def show(self, thing):
            return self, "any"

        @show.register
        def _(self, thing: int):
            return self, "int"

        @limiter.cost(lambda *args: costs.append(args) or 2)
        @functools.singledispatchmethod
        @staticmethod
        def static(thing):
            return thing

        @limiter.cost(lambda *args: costs.append(args) or 2)
        @functools.singledispatchmethod
        @classmethod
        def of_class(cls, thing):
            return cls, thing

    show = Show()
    assert (show.show("a"), show.show(1)) == ((show, "any"), (show, "int"))
    assert (show.static("b"), Show.static("b")) == ("b", "b")
    assert show.of_class("c") == (Show, "c")
    assert costs == [(show, "a"), (show, 1), ("b",), ("b",), (Show, "c")]
    assert paid() == 10


def test_limit_method_under_another_wrapper_shows_that_its_instance(limiter, paid):
    """A decorator that looks for the instance still finds it, and `__func__` is limited."""

    class Thing:
        @limiter
        @told_its_instance
        def fetch(self, word):
            return word

        @limiter
        @told_its_instance
        @staticmethod
        def static(word):
            return word

    thing = Thing()
    assert thing.fetch("a") == (thing, "a")
    assert thing.static("a") == (None, "a")
    assert paid() == 2
    assert thing.fetch.__func__(thing, "b") == (None, "b")
    assert paid() == 3
    assert thing.fetch.limiter is limiter


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda bound: pickle.loads(pickle.dumps(bound))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"],
)
def test_bind_limited_partialmethod_has_no_function(duplicate):
    """A partialmethod becomes no method, with a limit or without, and is copied as it binds."""
    client = Client()
    assert not hasattr(client.twice, "__func__")
    again = duplicate(client.twice)
    before = LIMITER.bucket.available_tokens
    itself, word = again()
    assert (itself is client, word) == (duplicate is copy.copy, "b")
    assert LIMITER.bucket.available_tokens == before - 1


def test_tell_limited_descriptor_its_name(limiter):
    """A descriptor under a limit hears its name, as without one."""

    class Named:
        def __set_name__(self, owner, name):
            self.name = owner.__name__, name

        def __call__(self):
            return self.name

    class Thing:
        fetch = limiter(Named())
        cached = limiter(functools.lru_cache(len))

    assert Thing().fetch() == ("Thing", "fetch")


def test_await_limited_method_that_was_bound_before(limiter, paid):
    """A bound coroutine method is charged when awaited."""

    class Plain:
        async def fetch(self, ids):
            return ids

    limited = limiter.cost(len)(Plain().fetch)
    assert asyncio.run(limited([1, 2])) == [1, 2]
    assert paid() == 2


def test_pickle_limited_dispatcher_that_was_set_later():
    """What has not been told its name in a class is pickled by its own."""
    Client.show = LIMITER(functools.singledispatchmethod(show))
    assert pickle.loads(pickle.dumps(Client().show))("a") == "a"  # noqa: S301
    assert pickle.loads(pickle.dumps(Client.show))(Client(), "a") == "a"  # noqa: S301


def show(self, word):
    return word


def test_pickle_what_has_no_name_says_what_to_do(limiter):
    """P21: A limited object that cannot be found by name is not copied with its limiter."""
    with pytest.raises(TypeError, match="limited partial has no name to be pickled by"):
        pickle.dumps(limiter(functools.partial(len)))


@pytest.fixture
@LIMITER
def limited_fixture():
    return 7


@pytest.fixture
@LIMITER
def limited_generator_fixture():
    yield 8  # noqa: PT022 - a generator is what is tried


class TestFixturesInClass:
    @pytest.fixture
    @LIMITER
    def limited_method_fixture(self):
        return 9

    def test_use_limited_fixtures(
        self, limited_fixture, limited_generator_fixture, limited_method_fixture
    ):
        """pytest, which takes functions apart, finds limited fixtures."""
        found = limited_fixture, limited_generator_fixture, limited_method_fixture
        assert found == (7, 8, 9)
