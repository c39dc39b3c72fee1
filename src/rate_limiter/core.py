"""The compiled core, where there is one: the hottest calls once more, in C.

`_core.c` is built with the package if there is a compiler. Each of its functions is the twin of one
in Python, which stands where it is used and is marked so:

    @twin("allow")
    def allow(self, tokens=1): ...

The Python function is the specification. It serves without a compiled core, and with one it is
asked whatever the twin cannot say for sure, with the same arguments. So both give the same answers,
and every error is Python's own (P46).

`RATE_LIMITER_PURE=1` in the environment keeps the compiled core away.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = [
    "LedgerFields",
    "LimitFields",
    "PermitFields",
    "compiled",
    "function_wrapper",
    "layout",
    "load",
    "set_call",
    "twin",
    "watch",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_INTERFACE = 4  # what is asked of `_core.c`, which has the same number; for checkouts that move on


def load() -> Any:
    """Return the module of the compiled core; None if there is none, or if it is to stay away."""
    if os.environ.get("RATE_LIMITER_PURE", "0") not in {"", "0"}:
        return None
    try:
        from . import _core
    except ImportError:  # it was not built
        return None
    if getattr(_core, "INTERFACE", None) != _INTERFACE:
        warnings.warn(
            "the compiled core was built for other code than this and stays away; build it again, "
            "with pip install",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return _core  # pragma: no cover - coverage is measured where Python serves


_core_module = load()
compiled = _core_module is not None
"""Whether the compiled core serves; False means that Python does, with the same answers."""

if TYPE_CHECKING or _core_module is None:

    class LimitFields:
        """What `Limit` is based on; compiled, it keeps its numbers in 64 bits as well."""

        __slots__ = ()

    class LedgerFields:
        """What `Ledger` is based on: its attributes; compiled, `full_at` is two 64-bit integers."""

        __slots__ = ("closed_until", "fast", "full_at", "limit", "line")

    class PermitFields:
        """What `BasePermit` is based on: its attributes."""

        __slots__ = ("_after", "_door", "_paid", "_payer", "_state", "_tokens", "_waited")

else:  # pragma: no cover - as above
    LimitFields, LedgerFields = _core_module.LimitFields, _core_module.LedgerFields
    PermitFields = _core_module.PermitFields


def _as_it_is(given: T) -> T:
    return given


def twin(name: str) -> Callable[[F], F]:
    """Return a decorator that puts the compiled twin of this name before a function."""
    return partial(_core_module.twin, name) if compiled else _as_it_is


def layout(kind: str, *marks: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator for a class whose slots the compiled core reads.

    Args:
        kind: Its name there.
        marks: The objects, known by their identity, that mark the states of an instance.
    """
    return partial(_note, kind, marks) if compiled else _as_it_is


def _note(kind: str, marks: tuple[str, ...], owner: type[T]) -> type[T]:  # pragma: no cover
    return _core_module.layout(kind, owner, *marks)  # type: ignore[no-any-return]


def function_wrapper(python: type[T]) -> type[T]:
    """Return a class derived from a wrapper of functions, with calls in C.

    An instance of it gets its call by `set_call`. Without a compiled core it is the wrapper itself,
    and so where wrapt serves in Python: then the wrapper has a metaclass, which C cannot ask.
    """
    return _core_module.function_wrapper(python) if compiled and type(python) is type else python


def set_call(wrapper: object, *call: Any) -> None:  # pragma: no cover - as above
    """Say what a wrapper of the derived class calls.

    Args:
        wrapper: The wrapper.
        call: The function, and what `calls.in_parts` returns for it.
    """
    _core_module.set_call(wrapper, *call)


def watch(journal: object) -> None:
    """Keep the compiled core away while this journal says that a step is under way."""
    (_core_module.watch if compiled else _as_it_is)(journal)
