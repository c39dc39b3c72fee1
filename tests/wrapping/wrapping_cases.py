"""Everything that can be decorated, built with any decorator, so that with and without compare."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CASES: dict[str, Case] = {}
RAN: list[tuple[Any, ...]] = []  # what the decorated callables got, each time they ran


@dataclass(frozen=True)
class Case:
    """One kind of callable.

    Args:
        build: Gets a decorator and returns what a caller calls, decorated somewhere on the way.
        lazy: Whether the call itself runs nothing, so that it has to be driven.
        preset: What a partial has filled in; callers then pass only `b`.
        named: Whether it has a name.
        outermost: Whether the decorator's result is what a caller gets hold of.
        in_place: Whether it is changed instead of wrapped.
        bound: Whether it is bound before it is decorated, so that its `self` is no argument.
    """

    build: Callable[[Any], Any]
    lazy: bool = False
    preset: tuple[Any, ...] = ()
    named: bool = True
    outermost: bool = True
    in_place: bool = False
    bound: bool = False

    def call(self, found: Any) -> Any:
        """Call it the way every case is called."""
        return found(b=3) if self.preset else found(1, b=3)


def case(**options: Any) -> Callable[[Any], Any]:
    """Enter a builder into the table."""

    def enter(build: Any) -> Any:
        CASES[build.__name__] = Case(build, **options)
        return build

    return enter


def words(*args: Any) -> tuple[Any, ...]:
    """Put a callable's arguments so that they compare, with `self` and `cls` in words."""
    kinds = {False: "self", True: "cls"}
    return tuple(a if isinstance(a, int) else kinds[inspect.isclass(a)] for a in args)


def shape(*args: Any) -> tuple[Any, ...]:
    """Return what a callable got, and remember that it ran."""
    RAN.append(words(*args))
    return RAN[-1]


def drive(result: Any) -> Any:
    """Run what a call returned to its end, and return what came out."""
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isgenerator(result):
        return tuple(result)
    if inspect.isasyncgen(result):
        return asyncio.run(_collect(result))
    return getattr(result, "got", result)


async def _collect(items: Any) -> tuple[Any, ...]:
    return tuple([item async for item in items])
