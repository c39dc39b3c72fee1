"""The decorator that makes its own limiter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from .bucket import BaseBucket
from .charges import Cost, charging
from .clock import Clock
from .keyed import InstanceRateLimiter, KeyedRateLimiter, per_instance
from .limiter import RateLimiter
from .rates import Number, parse_rate, shown
from .token_bucket import TokenBucket

__all__ = ["rate_limited"]

F = TypeVar("F")


def rate_limited(
    capacity: Number,
    rate: Number | str,
    cost: Cost = 1,
    block: bool = True,
    *,
    timeout: Number | None = None,
    key: Callable[..., Hashable] | None = None,
    clock: Clock | None = None,
    make_bucket: Callable[..., BaseBucket] | None = None,
) -> Callable[[F], F]:
    """Make a decorator that limits how often something is called.

        @rate_limited(capacity=10, rate=5)
        def fetch(url): ...

        @rate_limited(100, "100/minute", cost=lambda self, ids: len(ids), key=per_instance)
        async def fetch_all(self, ids): ...

    It decorates functions, methods, classmethods and staticmethods (above or below them), classes,
    coroutine functions, generators, async generators, partials and callable objects, and leaves
    each what it was. The limiter is found as `.limiter` on the result.

    Args:
        capacity: The most tokens the bucket holds.
        rate: Tokens per second, or a rate in words such as "100/minute".
        cost: Tokens per call, or a callable that gets the call's arguments, `self` included, and
            returns them.
        block: Whether a call waits for missing tokens; if not, it raises `RateLimitExceeded`.
        timeout: The most seconds a call waits; None waits as long as it takes.
        key: A callable that gets the call's arguments and returns a hashable: one bucket for each.
            `per_instance`: one bucket for each `self`.
        clock: Where time comes from; the machine's monotonic clock if None.
        make_bucket: A callable that gets `capacity` and tokens per second, and if there is a `key`,
            what it returned for the call, and returns a bucket; a `TokenBucket` if None.

    Raises:
        CostExceedsCapacity: `cost` is a number above `capacity`, and calls do not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, or `rate` is not in a form that can be read.
    """
    tokens_per_second = parse_rate(rate)[1] if isinstance(rate, str) else rate
    if make_bucket is not None and clock is not None:
        raise ValueError("clock is for the default bucket; give it to what make_bucket makes")
    terms = (capacity, tokens_per_second)
    local = partial(TokenBucket, *terms, clock=clock)
    limiter: RateLimiter[Any] = RateLimiter(local(), block=block, timeout=timeout)
    if not callable(cost):
        limiter._check_payable(cost)
    if key is None:
        if make_bucket is not None:
            limiter = RateLimiter(make_bucket(*terms), block=block, timeout=timeout)
        return charging(limiter, cost)
    if not callable(key):
        raise TypeError(f"key must be a callable that gets the call's arguments, got {shown(key)}")
    make = local if make_bucket is None else _for_keys(make_bucket, *terms)
    if key is per_instance:
        return charging(InstanceRateLimiter(make, block, timeout), cost, key)
    return charging(KeyedRateLimiter(make, block=block, timeout=timeout), cost, key)


def _for_keys(make_bucket: Callable[..., BaseBucket], *terms: Any) -> Callable[[Any], BaseBucket]:
    """Return what makes the bucket of a key; one that ignores keys would share it among all."""
    try:
        inspect.signature(make_bucket).bind(*terms, None)
    except TypeError:
        raise TypeError(
            "with a key, make_bucket must take it as well: "
            "make_bucket(capacity, tokens_per_second, key)"
        ) from None
    except ValueError:  # written in C, it does not say
        pass
    return lambda key: make_bucket(*terms, key)
