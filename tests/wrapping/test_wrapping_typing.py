"""Classes that typing and its like make: protocols, typed dictionaries, generics, named tuples."""

from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar, runtime_checkable

import pytest

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

T = TypeVar("T")


@pytest.fixture
def bucket():
    return TokenBucket(9, 1, clock=ManualClock())


@pytest.fixture
def limiter(bucket):
    return RateLimiter(bucket, block=False)


class HasGet:
    def get(self) -> int:
        return 1


@pytest.mark.parametrize("limit_first", [True, False])
def test_limited_protocol_asks_for_its_own_members_only(limit_first, limiter, bucket):
    """What has the members of a limited protocol implements it; a subclass pays when it is made."""

    class Gets(Protocol):
        def get(self) -> int: ...

    protocol: Any = Gets
    for decorate in (limiter, runtime_checkable) if limit_first else (runtime_checkable, limiter):
        protocol = decorate(protocol)
    assert isinstance(HasGet(), protocol)
    assert not isinstance(object(), protocol)
    assert type("Mine", (protocol,), {"get": HasGet.get})().get() == 1
    assert bucket.available_tokens == 8


def test_limited_typed_dict_is_wrapped_for_its_class_makes_none(limiter, bucket):
    """What a TypedDict is called for is a plain dictionary, and is paid for."""

    class Movie(TypedDict):
        year: int

    limited = limiter(Movie)
    assert limited(year=1979) == {"year": 1979}
    assert (bucket.available_tokens, limited.limiter) == (8, limiter)


def test_limited_generic_and_named_tuple_pay_for_each_instance(limiter, bucket):
    """A generic class is paid for through its aliases as well, a named tuple with its fields."""

    @limiter
    class Box(Generic[T]):
        def __init__(self, item: T) -> None:
            self.item = item

    @limiter
    class Point(NamedTuple):
        x: int

    assert (Box[int](4).item, Box(5).item) == (4, 5)
    assert (Point(1), Point(x=2)) == ((1,), (2,))
    assert bucket.available_tokens == 5


def test_limited_metaclass_pays_for_each_class(limiter, bucket):
    """A metaclass makes classes, each of which pays once; their instances pay nothing."""

    @limiter
    class Meta(type):
        pass

    class Made(metaclass=Meta):
        pass

    class Mine(Made):
        pass

    assert type(Mine()) is Mine
    assert bucket.available_tokens == 7
