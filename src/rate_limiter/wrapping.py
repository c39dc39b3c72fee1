"""Put a charge in front of anything that can be called, and leave it what it was.

The wrapper is wrapt's, so a decorated function, method, class or callable object keeps its kind,
name, signature and documentation, and binds to instances as it did before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from copy import deepcopy
from typing import Any, TypeAlias, TypeVar, cast

import wrapt

from .charges import Arguments, Charge, FixedCharge, Keywords
from .rates import shown

__all__ = ["wrap"]

F = TypeVar("F")
_UNCALLABLE: tuple[type[Any], ...] = (classmethod, functools.partialmethod)  # until they are bound
_SHELLS: tuple[type[Any], ...] = (*_UNCALLABLE, staticmethod, functools.partial)
Call: TypeAlias = Callable[
    [Any, Any, Arguments, Keywords], Any
]  # wrapt's: wrapped, instance, args, kwargs


class _BoundWrapper(wrapt.BoundFunctionWrapper[..., Any]):
    """A limited method, bound to its instance or class."""

    __slots__ = ()

    @property
    def limiter(self) -> Any:
        return self._self_parent.limiter

    def __reduce_ex__(self, protocol: Any) -> Any:
        method: Any = self.__wrapped__
        owner = method.__self__ if inspect.ismethod(method) else self._self_owner
        return getattr, (owner, method.__name__)

    def __copy__(self) -> Any:
        return self  # as methods do

    def __deepcopy__(self, memo: Any) -> Any:
        get, (owner, name) = self.__reduce_ex__(4)
        return get(deepcopy(owner, memo), name)


class _Wrapper(wrapt.FunctionWrapper[..., Any]):
    """A limited callable."""

    __bound_function_wrapper__ = _BoundWrapper

    def __init__(self, wrapped: Any, call: Call, charge: Charge) -> None:
        super().__init__(wrapped, call)
        self._self_charge = charge

    @property
    def limiter(self) -> Any:
        return self._self_charge.limiter

    @property
    def __signature__(self) -> inspect.Signature:
        if inspect.isclass(self.__wrapped__):  # which inspect would ask for its __new__
            return inspect.signature(self.__wrapped__)
        raise AttributeError("__signature__")

    def __copy__(self) -> Any:
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        func: Any = self.__wrapped__
        return func.__qualname__  # by name, as functions are


class _FunctionWrapper(_Wrapper):
    """A limited plain function of fixed cost, spared what wrapt's call does for binding."""

    def __init__(self, wrapped: Any, call: Call, charge: FixedCharge) -> None:
        super().__init__(wrapped, call, charge)
        self._self_take = charge.take

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not self._self_take():
            self._self_charge.pay(None, args, kwargs)
        return self.__wrapped__(*args, **kwargs)


def wrap(func: F, charge: Charge) -> F:
    """Wrap `func` so that each call pays `charge` first.

    Coroutine functions pay when awaited, generators and async generators when iteration begins;
    everything else pays when called.

    Raises:
        TypeError: `func` is nothing that can be called.
    """
    if not (callable(func) or isinstance(func, _UNCALLABLE)):
        raise TypeError(
            f"only functions, methods, classes and other callables can be rate limited, "
            f"got {shown(func)} ({type(func).__name__}); for a property, decorate its getter"
        )
    target: Any = func
    make_call = _call_for(_underlying(target))
    call: Any = make_call(charge)
    # What a task or a generator shows of itself:
    call.__name__ = getattr(target, "__name__", call.__name__)
    call.__qualname__ = getattr(target, "__qualname__", call.__qualname__)
    if make_call is _calling and inspect.isfunction(target) and isinstance(charge, FixedCharge):
        return cast(F, _FunctionWrapper(target, call, charge))
    return cast(F, _Wrapper(target, call, charge))


def _underlying(func: Any) -> Any:
    """Look through classmethod, staticmethod, partial and callable objects to what will run."""
    while isinstance(func, (*_SHELLS, _Wrapper)):
        inner = next(name for name in ("__wrapped__", "__func__", "func") if hasattr(func, name))
        func = getattr(func, inner)
    return func if inspect.isroutine(func) or inspect.isclass(func) else type(func).__call__


def _call_for(func: Any) -> Callable[[Charge], Call]:
    if inspect.iscoroutinefunction(func):
        return _awaiting
    if inspect.isgeneratorfunction(func):
        return _iterating
    if inspect.isasyncgenfunction(func):
        return _iterating_async
    return _calling


def _calling(charge: Charge) -> Call:
    def call(wrapped: Any, instance: Any, args: Arguments, kwargs: Keywords) -> Any:
        charge.pay(instance, args, kwargs)
        return wrapped(*args, **kwargs)

    def call_at_fixed_cost(wrapped: Any, instance: Any, args: Arguments, kwargs: Keywords) -> Any:
        if not take():
            charge.pay(instance, args, kwargs)
        return wrapped(*args, **kwargs)

    if not isinstance(charge, FixedCharge):
        return call
    take = charge.take
    return call_at_fixed_cost


def _awaiting(charge: Charge) -> Call:
    async def call(wrapped: Any, instance: Any, args: Arguments, kwargs: Keywords) -> Any:
        await charge.pay_async(instance, args, kwargs)
        return await wrapped(*args, **kwargs)

    return call


def _iterating(charge: Charge) -> Call:
    def call(
        wrapped: Any, instance: Any, args: Arguments, kwargs: Keywords
    ) -> Generator[Any, Any, Any]:
        charge.pay(instance, args, kwargs)
        inner: Generator[Any, Any, Any] = wrapped(*args, **kwargs)
        return (yield from inner)

    return call


def _iterating_async(charge: Charge) -> Call:
    async def call(
        wrapped: Any, instance: Any, args: Arguments, kwargs: Keywords
    ) -> AsyncGenerator[Any, Any]:
        await charge.pay_async(instance, args, kwargs)
        inner: AsyncGenerator[Any, Any] = wrapped(*args, **kwargs)
        step = inner.asend(None)
        # What `yield from` does for generators, which async generators have no word for.
        while True:
            try:
                value = await step
            except StopAsyncIteration:
                return
            try:
                step = inner.asend((yield value))
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the caller, passed on
                step = inner.athrow(error)

    return call
