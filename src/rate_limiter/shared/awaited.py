"""Answers that have to be awaited, and say so to code that takes them for the answer."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["Answer", "answering"]

M = TypeVar("M", bound=Callable[..., Coroutine[Any, Any, Any]])
T_co = TypeVar("T_co", covariant=True)


class Answer(Coroutine[Any, Any, T_co]):
    """A coroutine that is no truth value: `if bucket.allow():` would admit everybody."""

    __slots__ = ("__weakref__", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T_co]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Go on with a value."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End it where it is."""
        self._coroutine.close()

    def __bool__(self) -> bool:
        asker = sys._getframe(1).f_globals.get("__name__")
        if asker == "asyncio.base_tasks":  # pragma: no cover - the repr of a task, from 3.12 on
            return True
        name: str = self.__name__
        raise TypeError(f"the answer has to be awaited: write 'await bucket.{name}(...)'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # what tasks and debuggers show of a coroutine

    def __repr__(self) -> str:
        return repr(self._coroutine)


def answering(method: M) -> M:
    """Make a coroutine method return an `Answer`."""

    @wraps(method)
    def answer(*args: Any, **kwargs: Any) -> Answer[Any]:
        return Answer(method(*args, **kwargs))

    mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", _leave)  # from 3.12
    return cast(M, mark(answer))


def _leave(function: Any) -> Any:
    return function
