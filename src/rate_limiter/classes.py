"""Do some work before a class makes an instance, without putting anything in its place."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import MethodType
from typing import Any

from .calls import Arguments, Before, Keywords, OtherArguments

__all__ = ["wrap_class"]

_remade: ContextVar[type[Any] | None] = ContextVar("_remade", default=None)
_OBJECT_INIT: Any = vars(object)["__init__"]
_OBJECT_NEW: Any = object.__new__
_REDUCING = ("__reduce__", "__reduce_ex__")


def wrap_class(cls: type[Any], before: Before, wrap: Callable[[Any, Before], Any]) -> bool:
    """Wrap the `__init__` of a class in place, so that the work is done once for each new instance.

    An instance that is unpickled or copied is not new: nothing is done for it.

    Args:
        cls: The class.
        before: The work; it gets `self` and the arguments of `__init__`.
        wrap: Wraps a callable.

    Returns:
        Whether that was possible. A class written in C cannot be changed, and calling an
        enumeration or a TypedDict initializes no instance.
    """
    if isinstance(cls, enum.EnumMeta) or isinstance(type(cls).__call__, type):
        return False
    changed: Any = cls  # to type checkers, whose classes do not change
    own = vars(cls).get("__init__")
    remade = any(getattr(changed, name) is not getattr(object, name) for name in _REDUCING)
    if remade:
        before = _UnlessRemade(before)
    init = wrap(_Inherited(cls) if own is None else own, before)
    try:
        changed.__init__ = init
    except (AttributeError, TypeError):
        return False
    if remade:
        changed.__reduce_ex__ = _reducing(cls)
    shown = inspect.getattr_static(cls, "limiter", None)
    # Of a protocol it would be a member, which whatever implements the protocol would have to have.
    if isinstance(shown, _ShownLimiter | None) and not vars(cls).get("_is_protocol", False):
        changed.limiter = _ShownLimiter(before.limiter)
    return True


class _ShownLimiter:
    """The `.limiter` of a class, which its instances do not have."""

    def __init__(self, limiter: Any) -> None:
        self._limiter = limiter

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is None:
            return self._limiter
        raise AttributeError(f"{owner.__name__!r} object has no attribute 'limiter'")


class _Inherited:
    """An `__init__` for a class without one; it does what would be done if it were not there."""

    __name__ = "__init__"

    def __init__(self, cls: type[Any]) -> None:
        self.__module__ = cls.__module__
        self.__qualname__ = f"{cls.__qualname__}.__init__"
        self.__doc__ = cls.__init__.__doc__
        self._cls = cls
        self._generated: dict[type[Any], Callable[..., None]] = {}
        try:
            self._signature: inspect.Signature | None = _with_self(inspect.signature(cls))
        except ValueError:  # some built-in classes do not say
            self._signature = None

    def __set_name__(self, owner: type[Any], name: str) -> None:
        if owner.__qualname__ == self._cls.__qualname__:  # made anew, to have slots
            self._cls = owner

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, instance: Any, /, *args: Any, **kwargs: Any) -> None:
        bases = iter(type(instance).__mro__)
        owners = (base for base in bases if self in _layers(vars(base).get("__init__")))
        generated = self._generated_for(next(owners, self._cls))
        if generated is not None:
            generated(instance, *args, **kwargs)
            return
        inits = (vars(base).get("__init__") for base in bases)
        init: Any = next(init for init in inits if init is not None)
        if init is not _OBJECT_INIT:
            init.__get__(instance, type(instance))(*args, **kwargs)
        elif (args or kwargs) and type(instance).__new__ is _OBJECT_NEW:
            raise TypeError(f"{type(instance).__name__}() takes no arguments")

    @property
    def __signature__(self) -> inspect.Signature:
        generated = self._generated_for(self._cls)
        if generated is not None:
            return inspect.signature(generated)
        if self._signature is None:
            raise AttributeError("__signature__")
        return self._signature

    def _generated_for(self, owner: type[Any]) -> Callable[..., None] | None:
        """Return the `__init__` that a decorator above would have made if this one were not there.

        dataclass and attrs leave an `__init__` alone that they find. attrs then gives its own
        another name; dataclass is asked again, for a class of the same fields.
        """
        attributes = vars(owner)
        if owner in self._generated or "__attrs_init__" in attributes:
            return self._generated.get(owner) or attributes["__attrs_init__"]
        params = attributes.get("__dataclass_params__")
        if params is None or not params.init:
            return None
        shared = ("__dataclass_fields__", "__dataclass_params__", "__post_init__")
        fields = {name: getattr(owner, name) for name in shared if hasattr(owner, name)}
        twin: Any = type(owner.__name__, (type("Fields", (), fields),), {})
        make = dataclasses.dataclass(frozen=params.frozen, eq=False, repr=False)
        self._generated[owner] = make(twin).__init__
        return self._generated[owner]


def _layers(init: Any) -> Iterator[Any]:
    """Yield a wrapped callable, what it wraps, what that wraps, and so on."""
    while init is not None:
        yield init
        init = getattr(init, "__wrapped__", None)


def _with_self(signature: inspect.Signature) -> inspect.Signature:
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return signature.replace(parameters=[itself, *signature.parameters.values()])


# Exceptions, and other classes with a `__reduce__`, are unpickled by a call of the class.


class _UnlessRemade(OtherArguments):
    """Do the work before an instance is made, unless it is being unpickled or copied."""

    def __init__(self, before: Before) -> None:
        super().__init__(before, lambda args: args)
        self.quick = lambda: _remade.get() is None and before.quick()

    def run(self, args: Arguments, kwargs: Keywords) -> None:
        """Do the work, or raise."""
        if type(args[0]) is not _remade.get():
            super().run(args, kwargs)


def _reducing(cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Return a `__reduce_ex__` that makes copies through `_remake`."""
    own = vars(cls).get("__reduce_ex__")

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807 - it becomes that method
        reduce = super(cls, self).__reduce_ex__ if own is None else MethodType(own, self)
        reduced: Any = reduce(protocol)
        if isinstance(reduced, str):  # by its name
            return reduced
        make, args, *state = reduced
        return _remake, (type(self), make, *args), *state

    return __reduce_ex__


def _remake(cls: type[Any], make: Callable[..., Any], *args: Any) -> Any:
    """Make an instance of `cls` that is being unpickled or copied."""
    token = _remade.set(cls)
    try:
        return make(*args)
    finally:
        _remade.reset(token)
