"""Decorators around the reference, as one writes them by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable

from reference import Reference


def by_hand(reference: Reference) -> Callable[[Callable], Callable]:
    """Decorate as one does by hand."""

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        def limited(*args: object, **kwargs: object) -> object:
            if not reference.allow():
                raise RuntimeError
            return func(*args, **kwargs)

        return limited

    return decorate


def by_hand_async(reference: Reference) -> Callable[[Callable], Callable]:
    """Decorate a coroutine function as one does by hand."""

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        async def limited(*args: object, **kwargs: object) -> object:
            if not reference.allow():
                raise RuntimeError
            return await func(*args, **kwargs)

        return limited

    return decorate


def by_hand_for_keys(make: Callable[[], Reference]) -> Callable[[Callable], Callable]:
    """Decorate as one does by hand, with a bucket for each first argument."""

    def decorate(func: Callable) -> Callable:
        buckets: dict[str, Reference] = {}

        @functools.wraps(func)
        def limited(*args: object, **kwargs: object) -> object:
            key = str(*args, **kwargs)
            if key not in buckets:
                buckets[key] = make()
            if not buckets[key].allow():
                raise RuntimeError
            return func(*args, **kwargs)

        return limited

    return decorate
