"""What shared buckets hold to: one limit, or those of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..admission import Paid, Tokens
from ..exceptions import Label
from ..members import Members
from ..rates import STRICT, Number, shown
from ..units import number_of
from .store import Charges, Limit
from .terms import Terms

__all__ = ["Limits", "OneLimit", "SeveralLimits", "bytes_of", "name_bytes", "restated"]

_LONGEST_NAME = 65_536  # bytes


class Limits(Protocol):
    """What a shared bucket holds to: one limit, or several at once. What is paid goes by keys."""

    @property
    def capacity(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...
    @property
    def labels(self) -> list[Label]: ...

    def label(self, limit: Limit) -> Label:
        """Return the label of the bucket that holds to a limit, or has held to it."""
        ...

    def limit_at(self, key: bytes) -> Limit:
        """Return the limit that holds now for the bucket of a key."""
        ...

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge for tokens, or refuse what is no cost."""
        ...

    def paid(self, tokens: Tokens) -> Paid:
        """Return what tokens are for each key; there may be none."""
        ...

    def everything(self) -> Charges:
        """Return all limits, and no charge."""
        ...

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used for each key, or refuse what does not go with what was taken."""
        ...


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

    @property
    def labels(self) -> list[Label]:
        """The label of a lone bucket."""
        return [None]

    def label(self, limit: Limit) -> Label:
        """Return the label of a lone bucket."""
        return None

    def limit_at(self, key: bytes) -> Limit:
        """Return the limit that holds now."""
        return self.limit

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge for tokens."""
        limit = self.limit  # which another thread may replace meanwhile
        return [(limit, limit.terms.cost(number_of(tokens)))]

    def paid(self, tokens: Tokens) -> Paid:
        """Return what tokens are; there may be none."""
        key, terms = self.limit
        return {key: terms.amount(number_of(tokens))}

    def everything(self) -> Charges:
        """Return the limit, and no charge."""
        return [(self.limit, 0)]

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used; there may be none."""
        return self.paid(actual)

    def change(self, capacity: Number | None, tokens_per_second: Number | None) -> None:
        """Hold to another limit from now on; what is None stays."""
        key, terms = self.limit
        if terms.strict:
            raise ValueError(STRICT)
        terms = Terms(
            terms.capacity if capacity is None else capacity,
            terms.tokens_per_second if tokens_per_second is None else tokens_per_second,
        )
        self.limit = Limit(key, terms)  # a new one, for the old one is part of questions


class SeveralLimits:
    """The limits of a group of buckets."""

    __slots__ = ("_by_key", "_labels", "_members")

    def __init__(self, members: Members[Any]) -> None:
        self._members = members
        keys = [limit.key for limit, _ in self.everything()]
        self._labels: Mapping[bytes, Label] = dict(zip(keys, members.labels, strict=True))
        self._by_key: Mapping[bytes, Limits] = {
            limit.key: bucket._limits
            for bucket in members.all
            for limit, _ in bucket._limits.everything()
        }

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets."""
        return self._members.capacity

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return self._members.tokens_per_second

    @property
    def labels(self) -> list[Label]:
        """The labels of its buckets."""
        return list(self._labels.values())

    def label(self, limit: Limit) -> Label:
        """Return the label of the bucket that holds to a limit, or has held to it."""
        return self._labels[limit.key]

    def limit_at(self, key: bytes) -> Limit:
        """Return the limit that holds now for the bucket of a key."""
        return self._by_key[key].limit_at(key)

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge each of the buckets that tokens are asked of."""
        costs = self._members.costs(tokens)
        return [charge for bucket, cost in costs for charge in bucket._limits.charges(cost)]

    def paid(self, tokens: Tokens) -> Paid:
        """Return what tokens are for each key; there may be none."""
        paid: dict[Any, Any] = {}
        for bucket, cost in self._members.costs(tokens, zeros=True):
            paid.update(bucket._limits.paid(cost))
        return paid

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used for each key, but refuse a number for a mapping."""
        self._members.check_use(actual, taken)
        return self.paid(actual)

    def everything(self) -> Charges:
        """Return all limits, and no charge."""
        return [charge for bucket in self._members.all for charge in bucket._limits.everything()]


def restated(limits: Limits, charges: Charges) -> Charges:
    """Return the same tokens under the limits that hold now.

    A question under a limit that was replaced would bring its rate back, and its capacity: what is
    there beyond that would be lost. What a store could not count under the new limit stays.
    """
    return [_restated(limits.limit_at(limit.key), limit, units) for limit, units in charges]


def _restated(limit: Limit, old: Limit, units: int) -> tuple[Limit, int]:
    if limit is old:
        return old, units
    converted = limit.terms.restated(units, old.terms)
    return (limit, converted) if limit.terms.countable(abs(converted)) else (old, units)


def name_bytes(name: str | bytes) -> bytes:
    """Return the bytes of a bucket's name.

    Raises:
        TypeError: It is neither str nor bytes.
        ValueError: It is empty or longer than 64 KiB.
    """
    encoded = bytes_of(name, "name")
    if not 0 < len(encoded) <= _LONGEST_NAME:
        raise ValueError(f"name must have 1 to {_LONGEST_NAME} bytes, got {len(encoded)}")
    return encoded


def bytes_of(value: str | bytes, what: str) -> bytes:
    """Return a text as bytes.

    Raises:
        TypeError: It is neither str nor bytes.
    """
    if not isinstance(value, str | bytes):
        raise TypeError(f"{what} must be str or bytes, got {shown(type(value).__name__)}")
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
