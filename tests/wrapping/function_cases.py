"""Functions, classes and callable objects, for the table of everything that can be decorated."""

import functools
from typing import Any

from wrapping_cases import case, shape


@case()
def function(decorate):
    @decorate
    def fetch(a: int, b: int = 2) -> tuple[Any, ...]:
        """Fetch."""
        return shape(a, b)

    return fetch


@case()
def lambda_function(decorate):
    return decorate(lambda a, b=2: shape(a, b))


@case(lazy=True)
def coroutine_function(decorate):
    @decorate
    async def fetch(a: int, b: int = 2) -> tuple[Any, ...]:
        """Fetch."""
        return shape(a, b)

    return fetch


@case(lazy=True)
def generator_function(decorate):
    @decorate
    def fetch(a: int, b: int = 2):
        """Fetch."""
        yield from shape(a, b)

    return fetch


@case(lazy=True)
def async_generator_function(decorate):
    @decorate
    async def fetch(a: int, b: int = 2):
        """Fetch."""
        for item in shape(a, b):
            yield item

    return fetch


@case(in_place=True)
def class_itself(decorate):
    @decorate
    class Thing:
        """A thing."""

        def __init__(self, a: int, b: int = 2) -> None:
            self.got = shape(self, a, b)

    return Thing


@case(in_place=True)
def nested_class(decorate):
    class Outer:
        @decorate
        class Thing:
            """A thing."""

            def __init__(self, a: int, b: int = 2) -> None:
                self.got = shape(self, a, b)

    return Outer().Thing


@case(named=False)
def callable_object(decorate):
    class Thing:
        """A thing."""

        def __call__(self, a, b=2):
            return shape(a, b)

    return decorate(Thing())


@case(lazy=True, named=False)
def async_callable_object(decorate):
    class Thing:
        async def __call__(self, a, b=2):
            return shape(a, b)

    return decorate(Thing())


@case(lazy=True, named=False)
def generator_object(decorate):
    class Thing:
        def __call__(self, a, b=2):
            yield from shape(a, b)

    return decorate(Thing())


@case()
def call_method(decorate):
    class Thing:
        @decorate
        def __call__(self, a, b=2):
            return shape(self, a, b)

    return Thing().__call__


@case(preset=(1,), named=False)
def partial_of_function(decorate):
    def fetch(a, b=2):
        return shape(a, b)

    return decorate(functools.partial(fetch, 1))


@case(preset=(1,), named=False, lazy=True)
def partial_of_coroutine_function(decorate):
    async def fetch(a, b=2):
        return shape(a, b)

    return decorate(functools.partial(fetch, 1))


@case()
def cached_function(decorate):
    @decorate
    @functools.lru_cache
    def fetch(a: int, b: int = 2) -> tuple[Any, ...]:
        """Fetch."""
        return shape(a, b)

    return fetch


@case()
def over_a_wrapping_decorator(decorate):
    @decorate
    @_passing_on
    def fetch(a: int, b: int = 2) -> tuple[Any, ...]:
        """Fetch."""
        return shape(a, b)

    return fetch


@case(outermost=False)
def under_a_wrapping_decorator(decorate):
    @_passing_on
    @decorate
    def fetch(a: int, b: int = 2) -> tuple[Any, ...]:
        """Fetch."""
        return shape(a, b)

    return fetch


def _passing_on(func):
    @functools.wraps(func)
    def pass_on(*args, **kwargs):
        return func(*args, **kwargs)

    return pass_on
