"""Find what a callable runs, through partials, methods, objects and decorators.

`inspect` is imported where it is needed: it takes a fifth of the time of the whole import.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Awaitable, Coroutine
from functools import partial, partialmethod, singledispatchmethod
from types import FunctionType, MethodType, WrapperDescriptorType
from typing import Any

__all__ = [
    "UNBOUND",
    "first_arguments",
    "function_of",
    "innermost",
    "is_async",
    "is_iterated",
    "name_of",
    "returns_awaitable",
    "takes",
    "takes_self",
]

UNBOUND: tuple[type[Any], ...] = (classmethod, partialmethod, singledispatchmethod)
"""Types whose instances can be called only once they are bound."""
_SHELLS: tuple[type[Any], ...] = (*UNBOUND, staticmethod, partial, MethodType)
_UNBINDING: tuple[type[Any], ...] = (staticmethod, partial, MethodType, type)
_AWAITABLE = {"Awaitable", "Coroutine"}
_SELVES = {"self", "cls", "mcs", "mcls", "this"}


def function_of(func: Any) -> Any:
    """Return the function or class that a call of `func` runs first."""
    func = _without_shells(func)
    if isinstance(func, FunctionType | type):
        return func
    call = func.__class__.__call__  # not type(func), which differs for a proxy
    return func if isinstance(call, WrapperDescriptorType) else function_of(call)


def name_of(func: Any) -> str:
    """Return the qualified name of what `func` runs, or of its class if it has no name."""
    func = _without_shells(func)
    name = getattr(func, "__qualname__", None)
    return name if name and isinstance(name, str) else type(func).__qualname__


def _without_shells(func: Any) -> Any:
    while isinstance(func, _SHELLS):
        shell: Any = func
        func = shell.__func__ if hasattr(shell, "__func__") else shell.func
    return func


def innermost(func: Any) -> Any:
    """Return the function at the core of decorators that set `__wrapped__`."""
    func = function_of(func)
    for _ in range(sys.getrecursionlimit()):  # some objects have every attribute
        inner = getattr(func, "__wrapped__", None)
        if not callable(inner):
            break
        func = function_of(inner)
    return func


def is_async(func: Any) -> bool:
    """Tell whether `func` is a coroutine function, or a callable that runs one."""
    return any(map(_is_coroutine_function, (func, function_of(func))))


def _is_coroutine_function(func: Any) -> bool:
    import inspect

    # Before 3.12, which has inspect.markcoroutinefunction, a mark of asyncio's was the way to say
    # that a plain function returns a coroutine.
    mark = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
    marked = mark is not None and getattr(func, "_is_coroutine", None) is mark
    return marked or inspect.iscoroutinefunction(func)


def is_iterated(func: Any) -> bool:
    """Tell whether `func` is a function that makes generators or async generators."""
    import inspect

    function = function_of(func)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def returns_awaitable(func: Any) -> bool:
    """Tell whether the annotation of a plain function says that what it returns is to be awaited.

    It must say so in these words: other types that can be awaited may be used in other ways.
    """
    try:
        annotation = function_of(func).__annotations__["return"]
    except Exception:  # noqa: BLE001 - there is none, or from 3.14 one that cannot be evaluated yet
        return False
    if isinstance(annotation, str):
        return annotation.partition("[")[0].strip().rpartition(".")[2] in _AWAITABLE
    kind = typing.get_origin(annotation) or annotation
    return kind is Awaitable or kind is Coroutine


def first_arguments(func: Any, instance: Any, owner: Any) -> tuple[Any, ...]:
    """Return what binding `func` to an instance, or to its class, puts before the arguments."""
    inner = _without_dispatch(func)
    if isinstance(inner, staticmethod):
        return ()
    if isinstance(inner, classmethod):
        return (owner,)
    return () if instance is None else (instance,)


def _without_dispatch(func: Any) -> Any:
    """Return the callable within partialmethods and the like, which bind as it does."""
    while type(func) is partialmethod or type(func) is singledispatchmethod:
        func = func.func
    return func


def takes(func: Any, *args: Any) -> bool:
    """Tell whether `func` can be called with these arguments; True if it does not say."""
    import inspect

    try:
        inspect.signature(func).bind(*args)
    except TypeError:
        return False
    except ValueError:  # written in C
        return True
    return True


def takes_self(func: Any) -> bool:
    """Tell whether `func` is the method of a class: it binds, and its first parameter says so.

    A function does not know whether it will be in a class, so the name of its first parameter
    counts. `*args` may be for self if a class or another function has made the function.
    """
    import inspect

    function, binds = function_of(func), hasattr(func.__class__, "__get__")
    if not binds or isinstance(_without_dispatch(func), _UNBINDING):
        return False
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except ValueError:  # written in C, it does not say
        return True
    if first is None or first.kind in {first.KEYWORD_ONLY, first.VAR_KEYWORD}:
        return False
    if first.kind is first.VAR_POSITIONAL:
        return "." in function.__qualname__
    return first.name in _SELVES or first.name.startswith("_")
