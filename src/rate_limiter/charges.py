"""What a call of a limited callable pays, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .bucket import Tokens

if TYPE_CHECKING:
    from .limiter import RateLimiter

__all__ = ["Arguments", "Charge", "Cost", "FixedCharge", "Keywords", "charging"]

F = TypeVar("F")
Arguments: TypeAlias = tuple[Any, ...]
Keywords: TypeAlias = dict[str, Any]
Cost: TypeAlias = Tokens | Callable[..., Tokens]
"""Tokens, or a callable that is given a call's arguments and returns them."""


class FixedCharge:
    """Every call pays the same number of tokens to the same limiter.

    Raises:
        CostExceedsCapacity: No call could ever pay that much, and the limiter does not wait.
        TypeError: `tokens` is not a real number.
        ValueError: `tokens` is not positive and finite.
    """

    def __init__(self, limiter: RateLimiter[Any], tokens: Tokens) -> None:
        limiter._check_payable(tokens)
        self.limiter = limiter
        self.take = limiter.bucket._taker(tokens)
        self._tokens = tokens

    def pay(self, instance: Any, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens, or wait for them, or raise."""
        self.limiter._take(self._tokens)

    async def pay_async(self, instance: Any, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens as `pay` does, from within a task."""
        await self.limiter._take_async(self._tokens)


class CallCharge:
    """Every call pays what its arguments say, to whom they say.

    Args:
        limiter: The limiter to pay, or with a key what to look it up in.
        cost: Tokens, or a callable that gets the call's arguments, `self` included.
        key: A callable that gets the same arguments and returns what to look `limiter` up by.
    """

    def __init__(self, limiter: Any, cost: Cost, key: Callable[..., Hashable] | None) -> None:
        self.limiter = limiter
        self._cost = cost
        self._key = key

    def pay(self, instance: Any, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens of this call, or wait for them, or raise."""
        limiter, tokens = self._settle_on(instance, args, kwargs)
        limiter._take(tokens)

    async def pay_async(self, instance: Any, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens of this call as `pay` does, from within a task."""
        limiter, tokens = self._settle_on(instance, args, kwargs)
        await limiter._take_async(tokens)

    def _settle_on(
        self, instance: Any, args: Arguments, kwargs: Keywords
    ) -> tuple[RateLimiter[Any], Tokens]:
        if instance is not None:
            args = (instance, *args)
        cost = self._cost
        tokens = cost(*args, **kwargs) if callable(cost) else cost
        if self._key is None:
            return self.limiter, tokens
        return self.limiter[self._key(*args, **kwargs)], tokens


Charge: TypeAlias = FixedCharge | CallCharge


def charging(
    limiter: Any, cost: Cost = 1, key: Callable[..., Hashable] | None = None
) -> Callable[[F], F]:
    """Make a decorator that charges each call.

    Args:
        limiter: The limiter to pay, or with a key what to look it up in.
        cost: A number of tokens, or a callable that gets the call's arguments and returns one.
        key: A callable that gets the call's arguments and returns what to look `limiter` up by.

    Raises:
        CostExceedsCapacity: No call could ever pay this number, and the limiter does not wait.
        TypeError: `cost` is neither a real number nor a callable.
        ValueError: `cost` is a number that is not positive and finite.
    """
    charge: Charge
    if key is None and not callable(cost):
        charge = FixedCharge(limiter, cost)
    else:
        charge = CallCharge(limiter, cost, key)

    def decorate(func: F) -> F:
        from .wrapping import wrap  # wrapt imports asyncio, which only who decorates has to pay for

        return wrap(func, charge)

    return decorate
