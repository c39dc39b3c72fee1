"""The decorator that makes its own limiter."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, TypeVar

from .admission import Tokens
from .base_bucket import BaseBucket
from .callables import name_of, takes, takes_self
from .charges import Cost, charging
from .clock import Clock
from .instances import InstanceRateLimiter, per_instance
from .keyed import KeyedRateLimiter
from .limiter import RateLimiter
from .many_limiters import bucket_maker
from .rates import Number, parse_rate, positive, shown
from .token_bucket import Alike, TokenBucket

__all__ = ["rate_limited"]

F = TypeVar("F")


def rate_limited(
    capacity: Number | None = None,
    rate: Number | str | None = None,
    cost: Cost = 1,
    block: bool = True,
    *,
    timeout: Number | None = None,
    key: Callable[..., Hashable] | None = None,
    clock: Clock | None = None,
    make_bucket: Callable[..., BaseBucket] | None = None,
    dry_run: bool = False,
    name: str | None = None,
) -> Callable[[F], F]:
    """Make a decorator that limits how often something is called.

        @rate_limited(capacity=10, rate=5)
        def fetch(url): ...

        @rate_limited(100, "100/minute", cost=lambda self, ids: len(ids), key=per_instance)
        async def fetch_all(self, ids): ...

    It decorates functions, methods, classmethods and staticmethods (above or below them), classes,
    coroutine functions, generators, async generators, partials and callable objects, and leaves
    each what it was. The result has the limiter as its `.limiter`. The decorator goes directly
    above the function, below decorators that register it, such as those for routes and tasks.

    A class stays that very class: its `__init__` is limited, so that a new instance pays once, also
    one of a subclass that calls `super().__init__`. Instances that are unpickled or copied pay
    nothing. The limiter goes above or below `@dataclass`. Classes that cannot be changed, such as
    `list` and enumerations, are wrapped.

    Some clients of web services have plain functions that return what a coroutine function returns.
    Such a function is called at once if the tokens are there. If not, the call blocks where no
    event loop runs. In a task it returns an awaitable, which waits for the tokens and then awaits
    the result.

    Args:
        capacity: The most tokens the bucket holds. It may be left out where `rate` is in words.
        rate: Tokens per second, or a rate in words such as "100/minute", or without a capacity
            several, such as "10/second; 1000/hour".
        cost: Tokens per call, or a callable that gets the call's arguments, `self` included unless
            it was bound before, and returns them. A call for which it returns 0 is free.
        block: Whether a call waits for missing tokens; if not, it raises `RateLimitExceeded`.
        timeout: The most seconds a call waits; None waits as long as it takes.
        key: A callable that gets the call's arguments and returns a hashable: one bucket for each.
            `per_instance`: one bucket for each `self`, which makes it one for methods.
        clock: Where time comes from; the machine's monotonic clock if None.
        make_bucket: A callable that gets `capacity` and tokens per second, and if there is a `key`,
            what it returned for the call, and returns a bucket; a `TokenBucket` if None.
        dry_run: Whether only to count, and let every call pass; see `RateLimiter`.
        name: What events, logs and metrics call the limiter; if None, the qualified name of what
            is decorated first.

    Raises:
        CostExceedsCapacity: `cost` is a number above `capacity`, and calls do not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, `rate` is not in a form that can be read, or `name` is
            empty.
    """
    _check_limit(capacity, rate)
    if make_bucket is not None and clock is not None:
        raise ValueError("clock is for the default bucket; give it to what make_bucket makes")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a callable that gets the call's arguments, got {shown(key)}")
    policy: dict[str, Any] = {"block": block, "timeout": timeout, "dry_run": dry_run, "name": name}
    local = _local_maker(capacity, rate, clock)
    limiter: RateLimiter[Any] = RateLimiter(local(), **policy)
    if not callable(cost):
        _check_cost(limiter, cost)
    make = local if make_bucket is None else _own_maker(make_bucket, capacity, rate, key)
    if key is None:
        return _charging(limiter if make is local else RateLimiter(make(), **policy), cost)
    if key is per_instance:
        return _charging(InstanceRateLimiter(make, **policy), cost, key, _check_takes_self)
    return _charging(KeyedRateLimiter(make, **policy), cost, key)


def _charging(
    limiter: Any, cost: Cost, key: Any = None, check: Callable[[Any], None] | None = None
) -> Callable[[F], F]:
    """Make the decorator; what it decorates first gives its name to a limiter without one."""
    charge: Callable[[F], F] = charging(limiter, cost, key, partial(_name_after, limiter, check))
    return charge


def _name_after(limiter: Any, check: Callable[[Any], None] | None, func: Any) -> None:
    if check is not None:
        check(func)
    if limiter.name is None:
        limiter._source.name = name_of(func)


def _local_maker(capacity: Any, rate: Any, clock: Clock | None) -> Callable[[], Any]:
    """Return a function that makes buckets in memory."""
    if capacity is None or (isinstance(rate, str) and ";" in rate):
        return bucket_maker(rate, capacity, clock=clock)
    per_second = parse_rate(rate)[1] if isinstance(rate, str) else rate
    return Alike(TokenBucket(capacity, per_second, clock=clock))


def _own_maker(
    make_bucket: Callable[..., BaseBucket], capacity: Any, rate: Any, key: Any
) -> Callable[..., Any]:
    """Return a function that makes buckets through the caller's `make_bucket`."""
    count, per_second = parse_rate(rate) if isinstance(rate, str) else (capacity, rate)
    terms = count if capacity is None else capacity, per_second
    return partial(make_bucket, *terms) if key is None else _for_keys(make_bucket, *terms)


def _check_limit(capacity: Any, rate: Any) -> None:
    """Refuse a limit that is missing or incomplete, and say how to write one."""
    if capacity is None and rate is not None and not isinstance(rate, str):
        raise TypeError(
            f"without a capacity the rate is in words such as '10/second', got {shown(rate)}: "
            "write @rate_limited(capacity=10, rate=5) or @rate_limited(rate='10/second')"
        )
    if callable(capacity) or (capacity is None and rate is None):
        given = _name(capacity) if callable(capacity) else "nothing"
        raise TypeError(
            f"a limit needs 'capacity' and 'rate', got {given}: "
            "write @rate_limited(capacity=10, rate=5) above what it limits"
        )
    if rate is None:
        if isinstance(capacity, str):
            raise TypeError(f"a rate in words is the rate: write @rate_limited(rate={capacity!r})")
        raise TypeError(
            "rate must be a real number such as 5, or words such as '5/second', "
            f"got None: write @rate_limited(capacity={shown(capacity)}, rate=5)"
        )
    if not isinstance(rate, str):
        positive(rate, "rate")


def _check_cost(limiter: RateLimiter[Any], cost: Any) -> None:
    """Refuse a cost that is no number of tokens, or that no call could ever pay."""
    tokens: Tokens = cost
    if not isinstance(tokens, Mapping):
        positive(tokens, "cost")
    limiter._check_payable(tokens)


def _check_takes_self(func: Any) -> None:
    """Refuse a callable that has no instance to keep a bucket for."""
    if not takes_self(func):
        raise TypeError(
            f"key=per_instance is for methods, whose first parameter is self, and {_name(func)} is "
            "none; leave the key out, or give a function that returns what to tell calls apart by"
        )


def _name(func: Any) -> str:
    return getattr(func, "__name__", None) or type(func).__name__


def _for_keys(make_bucket: Callable[..., BaseBucket], *terms: Any) -> Callable[[Any], BaseBucket]:
    """Return a function that makes the bucket of a key, and refuse a `make_bucket` without one."""
    if not takes(make_bucket, *terms, None):
        raise TypeError(
            "with a key, make_bucket must take it as well: "
            "make_bucket(capacity, tokens_per_second, key)"
        )
    return lambda key: make_bucket(*terms, key)
