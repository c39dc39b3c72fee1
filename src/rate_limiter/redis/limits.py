"""What buckets on a server hold to: one limit, or those of a group."""

from __future__ import annotations

from typing import Any

from ..bucket import Paid, Tokens
from ..members import Members
from ..rates import Number, shown
from ..units import number_of
from .base import RedisBucket
from .script import Charges, Limit
from .terms import Terms

__all__ = ["OneLimit", "SeveralLimits", "new_limit"]

_LONGEST_NAME = 65_536  # bytes


class OneLimit:
    """The limit of one bucket."""

    __slots__ = ("limit",)

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    @property
    def capacity(self) -> float:
        """The most tokens the bucket holds."""
        return float(self.limit.terms.capacity)

    @property
    def tokens_per_second(self) -> float:
        """How fast they come back."""
        return float(self.limit.terms.tokens_per_second)

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge for so many tokens."""
        return [(self.limit, self.limit.terms.cost(number_of(tokens)))]

    def paid(self, tokens: Tokens) -> Paid:
        """Return what so many tokens are; there may be none."""
        return {self.limit: self.limit.terms.amount(number_of(tokens))}

    def everything(self) -> Charges:
        """Return the limit, and no charge."""
        return [(self.limit, 0)]

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used; there may be none."""
        return self.paid(actual)

    def change(self, capacity: Number | None, tokens_per_second: Number | None) -> None:
        """Hold to another limit from now on; what is None stays."""
        terms = self.limit.terms
        self.limit.terms = Terms(
            terms.capacity if capacity is None else capacity,
            terms.tokens_per_second if tokens_per_second is None else tokens_per_second,
        )


class SeveralLimits:
    """The limits of a group of buckets."""

    __slots__ = ("_members",)

    def __init__(self, members: Members[RedisBucket]) -> None:
        self._members = members

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets."""
        return self._members.capacity

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return self._members.tokens_per_second

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge each of the buckets that so many tokens are asked of."""
        costs = self._members.costs(tokens)
        return [charge for bucket, cost in costs for charge in bucket._limits.charges(cost)]

    def paid(self, tokens: Tokens) -> Paid:
        """Return what so many tokens are under each limit; there may be none."""
        paid: dict[Any, Any] = {}
        for bucket, cost in self._members.costs(tokens, zeros=True):
            paid.update(bucket._limits.paid(cost))
        return paid

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used under each limit, but refuse a number for a mapping."""
        self._members.check_use(actual, taken)
        return self.paid(actual)

    def everything(self) -> Charges:
        """Return all limits, and no charge."""
        return [charge for bucket in self._members.all for charge in bucket._limits.everything()]


def new_limit(
    name: str | bytes, prefix: str | bytes, capacity: Number, tokens_per_second: Number
) -> OneLimit:
    """Return the limit of a bucket by its name; see `RedisTokenBucket` for what is raised."""
    return OneLimit(Limit(_key_of(name, prefix), Terms(capacity, tokens_per_second)))


def _key_of(name: str | bytes, prefix: str | bytes) -> bytes:
    """Return the key of a bucket on the server.

    Raises:
        TypeError: An argument is neither str nor bytes.
        ValueError: The name is empty or longer than 64 KiB.
    """
    for value, what in ((name, "name"), (prefix, "prefix")):
        if not isinstance(value, str | bytes):
            raise TypeError(f"{what} must be str or bytes, got {shown(type(value).__name__)}")
    encoded, before = _bytes(name), _bytes(prefix)
    if not 0 < len(encoded) <= _LONGEST_NAME:
        raise ValueError(f"name must have 1 to {_LONGEST_NAME} bytes, got {len(encoded)}")
    return before + b":" + encoded if before else encoded


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
