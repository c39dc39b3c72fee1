"""A limit in integers, and tokens in its units: one place for memory and for stores.

At `r` tokens per second a token is worth `1/r` seconds. Tokens and instants are therefore both
counted in *units*: `unit` of them make a token and `scale` of them a nanosecond, so that
`scale / unit` is the rate in tokens per nanosecond, exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from .clock import CENTURY, NANO
from .core import LimitFields, layout
from .rates import Number, capacity_of, non_negative, per_second, positive, positive_float, shown

__all__ = [
    "LARGE",
    "Exact",
    "Limit",
    "exact_tokens",
    "number_of",
    "read_cost",
    "read_limit",
    "read_use",
    "shared_limit",
    "units_of",
]

Exact: TypeAlias = int | Fraction
"""A number of tokens, validated and exact; a whole number is an int, which is much quicker."""

# A token divides exactly by 2 to 10, 60, 3600 and 10**12: the costs people write have no remainder.
_TOKEN = 63 * 10**12
_FEW = 128  # tokens, up to which two floats are mostly closer to each other than units are
_PLAIN = (int, float, Fraction)
LARGE = 2**53  # below it, a whole number of tokens needs no second look


@layout("limit")
class Limit(LimitFields):
    """A capacity and a rate in integers; it never changes, so that it is known by its identity.

    Args:
        capacity: The most tokens a bucket holds.
        tokens_per_second: How fast they come back.
        multiple: What `unit` must be a multiple of.
        strict: Whether a cost above the capacity is refused in every call, waiting or not.

    Raises:
        ValueError: A bucket of this limit would take more than 100 years to fill.
    """

    __slots__ = ("head_start", "recent", "scale", "slack", "span", "strict", "unit")

    def __init__(
        self,
        capacity: Fraction,
        tokens_per_second: Fraction,
        *,
        multiple: int = 1,
        strict: bool = False,
    ) -> None:
        per_nanosecond = tokens_per_second / NANO
        unit = math.lcm(_TOKEN, capacity.denominator, per_nanosecond.denominator, multiple)
        self.unit = unit
        self.scale = int(per_nanosecond * unit)
        self.span = int(capacity * unit)  # what a full bucket holds
        self.slack = self.span - unit  # what a full bucket holds beyond one token
        self.head_start = max(self.slack, 0)  # how long before it is full a token is there
        self.strict = strict
        self.recent: tuple[Any, int] = (self, 0)  # the last cost as it was given, and its units
        if self.span > CENTURY * self.scale:
            raise ValueError(
                f"capacity must be at most what comes back in 100 years, got "
                f"{float(capacity):g} at {float(tokens_per_second):g} tokens per second"
            )

    @property
    def capacity(self) -> float:
        """The most tokens a bucket holds."""
        return self.span / self.unit

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self.scale * NANO / self.unit

    def changed(
        self, capacity: Fraction | None, tokens_per_second: Fraction | None, multiple: int = 1
    ) -> Limit:
        """Return the limit with another capacity or rate; None leaves it as it is."""
        return Limit(
            capacity or Fraction(self.span, self.unit),
            tokens_per_second or Fraction(self.scale * NANO, self.unit),
            multiple=multiple,
        )

    def cost(self, tokens: Number | Mapping[str, Any]) -> int:
        """Convert a cost to units; see `read_cost` for what is raised, `units_of` for rounding."""
        recent = self.recent
        if recent[0] is tokens:  # by identity, for True == 1
            return recent[1]
        units = units_of(read_cost(tokens), self)
        if type(tokens) is float:
            self.recent = tokens, units
        return units

    def available(self, level: int) -> float:
        """Return the most tokens, as a float, that can be taken from a level of this many units."""
        level = max(level, 0)
        whole, rest = divmod(level, self.unit)
        if not rest and whole < LARGE:
            return float(whole)
        tokens = level / self.unit
        if tokens < _FEW:
            above, parts = math.nextafter(tokens, math.inf).as_integer_ratio()
            if above * self.unit < (level + 1) * parts:  # whichever fraction the float is read as
                return tokens
        while tokens and units_of(read_cost(tokens), self) > level:
            tokens = math.nextafter(tokens, 0.0)
        return tokens


def read_limit(capacity: Number, tokens_per_second: Number) -> Limit:
    """Validate a capacity and a rate, and return their limit.

    Raises:
        TypeError: One is not a real number (bool included).
        ValueError: One is not positive and finite, or they take more than 100 years to fill.
    """
    if type(capacity) in _PLAIN and type(tokens_per_second) in _PLAIN:
        return _plain_limit(capacity, tokens_per_second)
    return shared_limit(capacity_of(capacity), per_second(tokens_per_second))


@functools.lru_cache(maxsize=1024, typed=True)  # 0.1 is not the fraction it equals
def _plain_limit(capacity: Number, tokens_per_second: Number) -> Limit:
    return shared_limit(capacity_of(capacity), per_second(tokens_per_second))


@functools.lru_cache(maxsize=1024)
def shared_limit(capacity: Fraction, tokens_per_second: Fraction, *, strict: bool = False) -> Limit:
    """Return the limit that all buckets of these terms share; see `Limit`.

    So making a bucket for a key takes no arithmetic.
    """
    return Limit(capacity, tokens_per_second, strict=strict)


def read_cost(tokens: Number | Mapping[str, Any]) -> Exact:
    """Validate the cost of a single bucket.

    Raises:
        TypeError: It is a mapping, or not a real number (bool included).
        ValueError: It is not positive and finite.
    """
    if type(tokens) is int and 0 < tokens < LARGE:
        return tokens
    if type(tokens) is float:
        return _whole(positive_float(tokens, "tokens"))
    return _whole(positive(number_of(tokens), "tokens"))


def read_use(tokens: Number | Mapping[str, Any]) -> Exact:
    """Validate an amount that has been used, which may be 0; otherwise as `read_cost`."""
    if type(tokens) is int and 0 <= tokens < LARGE:
        return tokens
    return read_cost(tokens) if non_negative(number_of(tokens), "tokens") else 0


def units_of(tokens: Exact, limit: Limit) -> int:
    """Convert tokens to units, rounded down so that a cost that divides a capacity fits (P2).

    A cost above zero is at least one unit.
    """
    if type(tokens) is int:
        return tokens * limit.unit
    return tokens.numerator * limit.unit // tokens.denominator or int(tokens > 0)


def exact_tokens(units: int, limit: Limit) -> Exact:
    """Convert units to tokens, exactly."""
    tokens, rest = divmod(units, limit.unit)
    return Fraction(units, limit.unit) if rest else tokens


def _whole(number: Fraction) -> Exact:
    return number.numerator if number.denominator == 1 else number


def number_of(tokens: Number | Mapping[str, Any]) -> Number:
    """Return the cost of a single bucket.

    Raises:
        TypeError: It is a mapping.
    """
    if isinstance(tokens, Mapping):
        raise TypeError(
            f"a TokenBucket takes a number of tokens, got {shown(tokens)}; "
            "a cost for each of several named buckets needs a BucketGroup"
        )
    return tokens
