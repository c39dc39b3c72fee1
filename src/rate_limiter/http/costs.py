"""Read the cost that a client or a service is given, or refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..keyed import KeyedRateLimiter
from ..limiter import RateLimiter
from ..rates import positive
from .functions import check_functions, is_free

__all__ = ["read_cost"]


def read_cost(cost: Any, limiter: KeyedRateLimiter[Any] | RateLimiter[Any], *, awaits: bool) -> Any:
    """Return a cost, or refuse one that no request could pay.

    Of limiters by key only those made `from_rate` can tell; others have no bucket yet.

    Args:
        cost: Tokens, or a function that returns them.
        limiter: Whom requests ask.
        awaits: Whether what a function returns may be awaited.

    Raises:
        CostExceedsCapacity: It is a number above the capacity, and the limiter does not wait.
        TypeError: It is neither a number, nor a mapping that the bucket understands, nor a
            function.
        ValueError: It is a number that is not above 0, or a mapping that names no bucket.
    """
    if callable(cost):
        check_functions(awaits=awaits, cost=cost)
        return cost
    amount = _read_amount(cost)
    limiter._check_payable(amount)
    return amount


def _read_amount(cost: Any) -> Any:
    """Return a cost without the mapping that it came in, which the caller may change."""
    if isinstance(cost, Mapping):
        costs: dict[Any, Any] = {**cost}
        return {name: part if is_free(part) else _read_amount(part) for name, part in costs.items()}
    positive(cost, "cost")
    return cost
