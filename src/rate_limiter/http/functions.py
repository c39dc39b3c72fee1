"""Functions that users give: check them, and what they return."""

from __future__ import annotations

from collections.abc import Coroutine
from decimal import Decimal
from inspect import isawaitable
from numbers import Real
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from ..callables import is_async, is_iterated
from ..rates import shown

__all__ = ["AT_HAND", "at_hand", "awaited", "check_functions", "is_free"]

AT_HAND = frozenset({str, int, float, tuple, bytes, type(None)})  # types that need no second look
_GENERATORS = (GeneratorType, AsyncGeneratorType)  # each is a new one, so no key and no number


def check_functions(*, awaits: bool, **functions: Any) -> None:
    """Refuse what cannot be called as a client or a service calls it.

    Args:
        awaits: Whether what they return may be awaited.
        functions: Functions by what they are called; None stands for none.

    Raises:
        TypeError: One is not callable, is a generator, or is async where it may not be.
    """
    for name, function in functions.items():
        if function is None:
            continue
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {shown(function)}")
        if is_iterated(function):
            raise TypeError(f"{name} must be a plain function; a generator is no {name}")
        if is_async(function) and not awaits:
            raise TypeError(f"{name} must be a plain function here; a coroutine is no {name}")


def at_hand(name: str, result: Any) -> Any:
    """Return what a function has returned; refuse what is to be awaited or iterated."""
    if result.__class__ in AT_HAND:
        return result
    kind = result.__class__
    if kind in _GENERATORS:
        raise TypeError(f"{name} must be a plain function; this one returned a {kind.__name__}")
    if isawaitable(result):
        if isinstance(result, Coroutine):
            result.close()  # or Python would warn that it was never awaited
        raise TypeError(
            f"{name} must be a plain function here; this one returned a {kind.__name__} to await"
        )
    return result


async def awaited(name: str, result: Any) -> Any:
    """Return what a function has returned, after awaiting it if that is needed."""
    return at_hand(name, await result if isawaitable(result) else result)


def is_free(cost: Any) -> bool:
    """Tell whether a cost is the number 0, which False is not."""
    return not isinstance(cost, bool) and isinstance(cost, Real | Decimal) and not cost
