"""Read what a service is given: limiters, keys, costs, names; or refuse it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from ..keyed import KeyedRateLimiter
from ..limiter import RateLimiter
from ..rates import shown

__all__ = ["Limiters", "check_limiters", "check_name", "check_switch", "finder"]

Limiters: TypeAlias = KeyedRateLimiter[Any] | RateLimiter[Any]


def check_limiters(limiters: Limiters, *, block: bool) -> None:
    """Refuse what is no limiter, and one that waits where requests are to be refused.

    Raises:
        TypeError: `limiters` is no limiter, or `block` no bool.
        ValueError: `limiters` and `block` do not go together.
    """
    if not isinstance(limiters, KeyedRateLimiter | RateLimiter):
        raise TypeError(
            "limiters must be a KeyedRateLimiter or a RateLimiter, such as "
            "KeyedRateLimiter.from_rate('100/minute', block=False), "
            f"got {shown(limiters)} ({type(limiters).__name__})"
        )
    check_switch("block", block)
    if limiters.block and not block:
        raise ValueError(
            "these limiters wait, so requests would pile up instead of getting a 429; make them "
            "with block=False, or say block=True here if requests are to wait"
        )
    if block and not limiters.block:
        raise ValueError(
            "block=True lets requests wait, but these limiters refuse; make them with block=True"
        )


def finder(limiters: Limiters, *, dry_run: bool) -> Callable[[Any], RateLimiter[Any]]:
    """Return a function that finds the limiter of a key; for a single limiter, of any.

    Raises:
        TypeError: `dry_run` is no bool.
    """
    check_switch("dry_run", dry_run)
    pretends = dry_run and not limiters.dry_run
    if isinstance(limiters, RateLimiter):
        limiter = _pretending(limiters) if pretends else limiters
        return lambda _: limiter
    return partial(_find_pretending, limiters) if pretends else limiters.__getitem__


def _find_pretending(limiters: KeyedRateLimiter[Any], key: Any) -> RateLimiter[Any]:
    return _pretending(limiters[key])


def _pretending(limiter: RateLimiter[Any]) -> RateLimiter[Any]:
    return RateLimiter(
        limiter.bucket,
        block=limiter.block,
        timeout=limiter.timeout,
        dry_run=True,
        name=limiter.name,
    )


def check_switch(name: str, value: Any) -> None:
    """Refuse a switch that is neither on nor off.

    Raises:
        TypeError: It is no bool.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")


def check_name(name: str) -> str:
    """Return the name of a policy, or refuse one that header fields cannot hold.

    Raises:
        TypeError: It is no string.
        ValueError: It is empty or not printable ASCII.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {shown(name)}")
    if not (name and name.isascii() and name.isprintable()):
        raise ValueError(f"name must be printable ASCII, as header fields are, got {shown(name)}")
    return name
