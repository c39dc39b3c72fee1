"""What taking tokens costs and returns, for limiters, permits and buckets alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from .level import Levels
from .rates import Number

__all__ = ["REFUNDED", "Admission", "Paid", "Payer", "Receipt", "Tokens", "copied"]

Tokens: TypeAlias = Number | Mapping[str, Any]
"""A number of tokens, or for a group a number for each of its named buckets."""
Paid: TypeAlias = Mapping[Any, Any]
"""How many tokens were paid, for each ledger or each limit on a server."""

REFUNDED = "refunded"


def copied(tokens: Tokens) -> Tokens:
    """Return a cost that does not change when the caller's mapping does."""
    if isinstance(tokens, Mapping):
        return {name: copied(cost) for name, cost in tokens.items()}
    return tokens


class Receipt(Protocol):
    """What a permit knows of its payment; the bucket that was paid changes it.

    Attributes:
        _tokens: What it was taken for.
        _paid: What it has paid, once that was corrected; None if it has not been, and `REFUNDED`
            once all has been given back.
    """

    _tokens: Tokens
    _paid: Paid | str | None


class Payer(Protocol):
    """A bucket that was charged, or what stands in for it; a permit corrects its payment there."""

    def _levels(self, after: Any) -> Levels:
        """Return the levels by label, from the last part of an `Admission`."""
        ...

    def _settle(self, receipt: Any, actual: Tokens) -> bool:
        """Charge what was used beyond what was paid, or give the rest back.

        Returns:
            Whether the payment was corrected; False if it had been refunded.
        """
        ...

    async def _settle_async(self, receipt: Any, actual: Tokens) -> bool:
        """Do as `_settle` from within a task."""
        ...

    def _give_back(self, receipt: Any) -> None:
        """Give everything back, once."""
        ...

    async def _give_back_async(self, receipt: Any) -> None:
        """Do as `_give_back` from within a task."""
        ...


Admission: TypeAlias = tuple[float, Payer, Any]
"""The seconds waited, the payer, and what its buckets were like, for `Payer._levels` to read."""
