"""Decorators around the reference, written as one writes them by hand."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from reference import ReferenceBucket


def by_hand(reference: ReferenceBucket) -> Callable[[Callable], Callable]:
    """Return a decorator that is a closure around the bucket."""

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        def limited(*args: object, **kwargs: object) -> object:
            if not reference.allow():
                raise RuntimeError
            return func(*args, **kwargs)

        return limited

    return decorate


def by_hand_async(reference: ReferenceBucket) -> Callable[[Callable], Callable]:
    """Return a decorator for coroutine functions that is an async closure around the bucket."""

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        async def limited(*args: object, **kwargs: object) -> object:
            if not reference.allow():
                raise RuntimeError
            return await func(*args, **kwargs)

        return limited

    return decorate


def by_hand_for_keys(
    make: Callable[[], ReferenceBucket], key: Callable[..., object]
) -> Callable[[Callable], Callable]:
    """Return a decorator that is a closure around a dict of buckets, one for each key."""

    def decorate(func: Callable) -> Callable:
        buckets: dict[object, ReferenceBucket] = {}

        @functools.wraps(func)
        def limited(*args: object, **kwargs: object) -> object:
            found = key(*args, **kwargs)
            if found not in buckets:
                buckets[found] = make()
            if not buckets[found].allow():
                raise RuntimeError
            return func(*args, **kwargs)

        return limited

    return decorate


def by_hand_awaited(reference: ReferenceBucket) -> Callable[[], Awaitable[bool]]:
    """Return an async function that asks the bucket and never suspends: the least await there is.

    It neither waits nor can be cancelled, and so is less than what `wait_async` does.
    """

    async def allow() -> bool:
        return reference.allow()

    return allow
