"""One limiter for each instance of a class."""

from __future__ import annotations

import weakref
from typing import Any

from .limiter import RateLimiter
from .many_limiters import ManyLimiters

__all__ = ["InstanceRateLimiter", "per_instance"]


class InstanceRateLimiter(ManyLimiters["tuple[weakref.ref[Any], RateLimiter[Any]]"]):
    """Keep one limiter for each instance, told apart by identity, for as long as it lives."""

    def __getitem__(self, instance: Any) -> RateLimiter[Any]:
        """Return the limiter of an instance.

        Raises:
            TypeError: The instance cannot be referenced weakly.
        """
        entry: tuple[Any, RateLimiter[Any]] | None = self._entries.get(id(instance))
        return (self._add(instance) if entry is None else entry)[1]

    def _add(self, instance: Any) -> tuple[weakref.ref[Any], RateLimiter[Any]]:
        key = id(instance)
        entries: dict[int, tuple[weakref.ref[Any], RateLimiter[Any]]] = self._entries
        try:
            life = weakref.ref(instance, lambda _: entries.pop(key, None))
        except TypeError:
            raise TypeError(
                f"key=per_instance needs instances that can be referenced weakly, which "
                f"{type(instance).__name__} does not allow; add '__weakref__' to its __slots__, "
                "or use a key function"
            ) from None
        mine: tuple[weakref.ref[Any], RateLimiter[Any]] = life, self._make_limiter(instance)
        return entries.setdefault(key, mine)


def per_instance(*args: Any, **_: Any) -> Any:
    """Use as `key=per_instance` to give each instance of a class a bucket of its own.

    The instance is held weakly and told apart by identity: it may be unhashable or equal to others.

    Raises:
        TypeError: The call has no instance.
    """
    if not args:
        raise TypeError("key=per_instance is for methods, and this call has no self")
    return args[0]
