"""Do some work before each call of a callable, and leave the callable what it was.

The wrapper is wrapt's, so a wrapped function or callable object keeps its kind, name, signature and
documentation. Binding it gives what binding gave before: a bound method is a real one, whose
`__func__` is wrapped. A class is changed in place; see `classes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

import wrapt

from .callables import UNBOUND, first_arguments
from .calls import Arguments, Before, MakeCall, OtherArguments, call_maker, in_parts, named_as
from .classes import wrap_class
from .core import function_wrapper, set_call
from .rates import shown

__all__ = ["wrap"]

F = TypeVar("F")
_IMPLICIT = {  # functions of these names in the body of a class become classmethods and the like
    "__init_subclass__": classmethod,
    "__class_getitem__": classmethod,
    "__new__": staticmethod,
}


class _Wrapper(wrapt.FunctionWrapper[..., Any]):
    """A wrapped callable."""

    # The call of each wrapper is in a slot, where Python finds it at once; wrapt's own `__call__`
    # would take half a microsecond more.
    __slots__ = ("__call__",)

    def __init__(self, wrapped: Any, before: Before, make_call: MakeCall) -> None:
        super().__init__(wrapped, _not_asked)
        self._self_before = before
        self._self_make_call = make_call
        self._self_inner: Any = None
        self._self_name: str | None = None
        if type(self) is _TypeForFunctions is not _FunctionWrapper:  # pragma: no cover
            set_call(self, wrapped, *in_parts(wrapped, before, make_call))
        else:
            _set_slot(self, named_as(wrapped, make_call(wrapped, before)))

    @property
    def limiter(self) -> Any:
        return self._self_before.limiter

    @property
    def __signature__(self) -> inspect.Signature:
        if inspect.isclass(self.__wrapped__):  # which inspect would ask for its __new__
            return inspect.signature(self.__wrapped__)
        raise AttributeError("__signature__")

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        wrapped: Any = self.__wrapped__
        binds = hasattr(type(self.__wrapped__), "__get__")
        bound: Any = wrapped.__get__(instance, owner) if binds else wrapped
        if bound is wrapped:
            return self
        if type(bound) is MethodType:
            return MethodType(self._wrapped_again(bound.__func__), bound.__self__)
        return _BoundWrapper(self, bound, instance, owner)

    def _wrapped_again(self, func: Any) -> Any:
        """Return the wrapper of a bound function; it is kept for callers that hold it weakly."""
        if func is self.__wrapped__:
            return self
        if self._self_inner is None or self._self_inner.__wrapped__ is not func:
            self._self_inner = _wrap(func, self._self_before)
        return self._self_inner

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._self_name = name
        wrapped: Any = self.__wrapped__
        if hasattr(type(self.__wrapped__), "__set_name__"):
            wrapped.__set_name__(owner, name)

    def __copy__(self) -> Any:
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        name = getattr(self.__wrapped__, "__qualname__", None)
        if name is None:
            raise TypeError(
                f"a limited {type(self.__wrapped__).__name__} has no name to be pickled by, "
                "and its limiter would be a second one; make it anew in each process"
            )
        return name  # as functions are


_set_slot: Callable[[_Wrapper, Callable[..., Any]], None] = vars(_Wrapper)["__call__"].__set__


class _FunctionWrapper(_Wrapper):
    """A wrapped function, which binds as functions do."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __set_name__(self, owner: type[Any], name: str) -> None:
        # A class does this for plain functions only, so it is done here.
        if name in _IMPLICIT:
            setattr(owner, name, _IMPLICIT[name](self))


_TypeForFunctions = function_wrapper(_FunctionWrapper)


class _BoundWrapper(_Wrapper):
    """What binding a wrapped descriptor gives where that is no plain method."""

    __slots__ = ()

    def __init__(
        self, parent: _Wrapper, bound: Any, instance: Any, owner: type[Any] | None
    ) -> None:
        first: Arguments = first_arguments(parent.__wrapped__, instance, owner)
        before = OtherArguments(parent._self_before, lambda args: first + args)
        super().__init__(bound, before, parent._self_make_call)
        self._self_bound = parent, instance, owner

    @property
    def __func__(self) -> Any:
        if hasattr(self.__wrapped__, "__func__"):
            return self._self_bound[0]
        raise AttributeError("__func__")

    def __reduce_ex__(self, protocol: Any) -> Any:
        parent, instance, owner = self._self_bound
        name = parent._self_name or self.__name__
        return getattr, (owner if instance is None else instance, name)

    def __deepcopy__(self, memo: Any) -> Any:
        parent, instance, owner = self._self_bound
        return parent.__get__(deepcopy(instance, memo), owner)


def wrap(func: F, before: Before) -> F:
    """Wrap `func` so that some work is done before each call.

    It is done when a coroutine function is awaited, when iteration over a generator or an async
    generator begins, when an instance of a class is initialized, and otherwise when `func` is
    called.

    Raises:
        TypeError: `func` cannot be called.
    """
    return cast(F, _wrap(func, before))


def _wrap(func: Any, before: Before) -> Any:
    if isinstance(func, type):
        if wrap_class(func, before, _wrap):
            return func
    elif type(func) is classmethod or type(func) is staticmethod:
        return _wrap_binding(func, before)
    elif type(func) is MethodType:
        without_self = OtherArguments(before, lambda args: args[1:])
        return MethodType(_wrap(func.__func__, without_self), func.__self__)
    elif not (callable(func) or isinstance(func, UNBOUND)):
        raise TypeError(
            f"only functions, methods, classes and other callables can be rate limited, "
            f"got {shown(func)} ({type(func).__name__}); for a property, decorate its getter"
        )
    binds_as_function = type(func) is FunctionType or isinstance(func, _FunctionWrapper)
    wrapper = _TypeForFunctions if binds_as_function else _Wrapper
    return wrapper(func, before, call_maker(func))


def _wrap_binding(func: Any, before: Before) -> Any:
    """Return a real classmethod or staticmethod of the wrapped function."""
    binding = type(func)(_wrap(func.__func__, before))
    binding.limiter = before.limiter
    return binding


def _not_asked(*_: Any) -> None:
    """Stand in for the function that wrapt would call; it is never called."""
