"""Methods of every kind, for the table of everything that can be decorated."""

import functools
import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from wrapping_cases import CASES, Case, case, shape


def method(self, a: int, b: int = 2) -> tuple[Any, ...]:
    """Fetch."""
    return shape(self, a, b)


async def coroutine_method(self, a: int, b: int = 2) -> tuple[Any, ...]:
    """Fetch."""
    return shape(self, a, b)


def generator_method(self, a: int, b: int = 2):
    """Fetch."""
    yield from shape(self, a, b)


async def async_generator_method(self, a: int, b: int = 2):
    """Fetch."""
    for item in shape(self, a, b):
        yield item


def function(a: int, b: int = 2) -> tuple[Any, ...]:
    """Fetch."""
    return shape(a, b)


async def coroutine_function(a: int, b: int = 2) -> tuple[Any, ...]:
    """Fetch."""
    return shape(a, b)


def _in_class(body, binding, *, above, via_class):
    """Return a builder for `body` in a class, decorated above or below its binding."""

    def build(decorate):
        fetch = decorate(binding(body)) if above else binding(decorate(body))
        thing = type("Thing", (), {"fetch": fetch})
        return thing.fetch if via_class else thing().fetch

    return build


def _enter_bindings():
    for_class = [method, coroutine_method, generator_method, async_generator_method]
    bodies = {classmethod: for_class, staticmethod: [function, coroutine_function]}
    for binding, above, via_class in itertools.product(bodies, (True, False), (True, False)):
        for body in bodies[binding]:
            order = f"{'above' if above else 'below'}_{binding.__name__}"
            name = f"{body.__name__}_{order}_via_{'class' if via_class else 'instance'}"
            build = _in_class(body, binding, above=above, via_class=via_class)
            CASES[name] = Case(build, lazy=body not in {method, function})
    for body in for_class:
        build = _in_class(body, lambda func: func, above=True, via_class=False)
        CASES[body.__name__] = Case(build, lazy=body is not method)


_enter_bindings()


@case(bound=True)
def bound_method(decorate):
    class Thing:
        def fetch(self, a, b=2):
            """Fetch."""
            return shape(self, a, b)

    return decorate(Thing().fetch)


@case(outermost=False)
def abstract_method(decorate):
    class Base(ABC):
        @decorate
        @abstractmethod
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return shape(self, a, b)

    class Thing(Base):
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return super().fetch(a, b=b)

    return Thing().fetch


@case()
def protocol_method(decorate):
    class Fetches(Protocol):
        @decorate
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return shape(self, a, b)

    class Thing(Fetches):
        pass

    return Thing().fetch


@case()
def dataclass_method(decorate):
    @dataclass
    class Thing:
        size: int = 1

        @decorate
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return shape(self, a, b)

    return Thing().fetch


@case()
def slots_method(decorate):
    class Thing:
        __slots__ = ()

        @decorate
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return shape(self, a, b)

    return Thing().fetch


@case()
def overriding_method(decorate):
    class Base:
        def fetch(self, a, b=2):
            return shape(self, a, b)

    class Thing(Base):
        @decorate
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return super().fetch(a, b)

    return Thing().fetch


@case(preset=(1,), named=False)
def partial_method(decorate):
    class Thing:
        def _fetch(self, a, b=2):
            return shape(self, a, b)

        fetch = decorate(functools.partialmethod(_fetch, 1))

    return Thing().fetch


@case(bound=True)
def method_of_class_bound(decorate):
    class Thing:
        @classmethod
        def fetch(cls, a, b=2):
            """Fetch."""
            return shape(cls, a, b)

    return decorate(Thing.fetch)


@case()
def single_dispatch_method(decorate):
    class Thing:
        @decorate
        @functools.singledispatchmethod
        def fetch(self, a: int, b: int = 2) -> tuple[Any, ...]:
            """Fetch."""
            return shape(self, a, b)

    return Thing().fetch


@case(preset=(1,), named=False, lazy=True)
def partial_coroutine_method(decorate):
    class Thing:
        async def _fetch(self, a, b=2):
            return shape(self, a, b)

        fetch = decorate(functools.partialmethod(_fetch, 1))

    return Thing().fetch
