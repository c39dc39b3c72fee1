"""A limit in the numbers that a store counts with: integers that a double holds exactly.

A token takes `unit / scale` microseconds. An instant or a cost is therefore a number of *units*,
`scale` of which are a microsecond; a script that has doubles alone keeps it as whole microseconds
and a remainder. This is `units.py` with microseconds for nanoseconds, and with bounds.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ..rates import Number, capacity_of, non_negative, per_second, positive, positive_float, shown

__all__ = ["COMMON", "LONGEST", "SECOND", "Terms", "pair", "short"]

SECOND = 10**6  # in microseconds
_EXACT = 2**53 - 1  # the largest integer of the script
# What a token is divided into, if the rate leaves room for it: what people write has no remainder,
# and the text of a remainder stays short.
_TOKENS = (63 * 10**9, 63 * 10**6, 63 * 10**3, 63, 1)
COMMON = _TOKENS[0]  # what nearly every rate has room for, so that a value need not say it
_FASTEST = 10**18  # tokens per second that can be told apart
_SMALLEST = 1000  # units in a capacity, so that it is what was asked for
# Microseconds in a century. 2^53 of them since 1970 end in the year 2255.
LONGEST = 100 * 36_525 * 864 * SECOND


class Terms:
    """The capacity and the rate of a limit, and what costs are under them.

    Args:
        capacity: The most tokens the bucket holds.
        tokens_per_second: How fast they come back.
        strict: Whether a cost above the capacity is refused in every call, waiting or not.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is not positive and finite, or a store cannot count it.
    """

    __slots__ = (
        "capacity",
        "head_start",
        "scale",
        "span",
        "strict",
        "text",
        "tokens_per_second",
        "unit",
        "words",
    )

    def __init__(
        self, capacity: Number, tokens_per_second: Number, *, strict: bool = False
    ) -> None:
        self.strict = strict
        self.capacity = capacity_of(capacity)
        self.tokens_per_second = per_second(tokens_per_second)
        if self.capacity / self.tokens_per_second * SECOND > LONGEST:
            raise ValueError(
                f"capacity must be at most what comes back in 100 years, "
                f"got {shown(capacity)} at {shown(tokens_per_second)} per second"
            )
        if not SECOND <= self.tokens_per_second * LONGEST <= _FASTEST * LONGEST:
            raise ValueError(
                f"tokens_per_second must be at most {_FASTEST:.0e} and at least one in 100 years, "
                f"got {shown(tokens_per_second)}"
            )
        self.unit, self.scale = _divided(self.tokens_per_second / SECOND)
        self.span = int(self.capacity * self.unit)
        if self.span < _SMALLEST:
            raise ValueError(
                f"capacity must be at least {_SMALLEST / self.unit:.3g} at this rate, "
                f"got {shown(capacity)}"
            )
        # How long before it is full a token is there.
        self.head_start = max(self.span - self.unit, 0)
        unit = "" if self.unit == COMMON else short(self.unit)
        self.text = f":{short(self.scale)}:{unit}:{_shortest(self.capacity)}"
        # What a script is told: the text, what a full bucket holds, its remainder, and the scale.
        self.words = (self.text.encode(), *pair(self.span, self.scale), b"%d" % self.scale)

    def cost(self, tokens: Number) -> int:
        """Convert tokens to units, rounded down so that what divides a capacity fits (P2).

        It is never none: nothing is free.

        Raises:
            TypeError: It is not a real number.
            ValueError: It is not positive and finite.
        """
        if type(tokens) is int and 0 < tokens < _EXACT:
            return tokens * self.unit
        number = (
            positive_float(tokens, "tokens")
            if type(tokens) is float
            else positive(tokens, "tokens")
        )
        return number.numerator * self.unit // number.denominator or 1

    def amount(self, tokens: Number) -> Fraction:
        """Read tokens that have been used, of which there may be none.

        Raises:
            TypeError: It is not a real number.
            ValueError: It is negative, NaN or infinite.
        """
        return (
            Fraction(self.cost(tokens), self.unit)
            if non_negative(tokens, "tokens")
            else Fraction(0)
        )

    def restated(self, units: int, old: Terms) -> int:
        """Convert units of another limit as a store does that restates its line: rounded to none.

        A cost is never none; what is given back, below zero, may be.
        """
        if units > 0:
            return units * self.unit // old.unit or 1
        return -(-units * self.unit // old.unit)

    def countable(self, units: int) -> bool:
        """Tell whether a store can count a charge of this many units."""
        return units <= LONGEST * self.scale

    def available(self, lacks: int) -> float:
        """Return the most tokens that can be taken from a bucket that lacks this many units."""
        level = max(self.span - lacks, 0)
        tokens = level / self.unit
        while tokens and self.cost(tokens) > level:  # so that allow(available_tokens) succeeds
            tokens = math.nextafter(tokens, 0.0)
        return tokens


@lru_cache(maxsize=1024)
def pair(units: int, scale: int) -> tuple[bytes, bytes]:
    """Write units as whole microseconds, rounded down, and a remainder."""
    whole, rest = divmod(units, scale)
    return b"%d" % whole, b"%d" % rest


def short(number: int) -> str:
    """Write an integer in the fewest characters, 63000000000 as 63e9."""
    digits = str(number).rstrip("0")
    zeros = len(str(number)) - len(digits)
    return f"{digits}e{zeros}" if zeros > 2 else str(number)  # noqa: PLR2004 - as long as e3 or longer


def _shortest(capacity: Fraction) -> str:
    return short(int(capacity)) if capacity.denominator == 1 else repr(float(capacity))


def _divided(per_microsecond: Fraction) -> tuple[int, int]:
    """Return the units in a token and in a microsecond, whose ratio is the rate.

    It is exact for every rate whose numerator and denominator have 15 digits. Other rates, such as
    the float of pi, come out within one part in 10^20, and most much closer.
    """
    choices = [
        (unit := math.lcm(token, rate.denominator), unit * rate.numerator // rate.denominator)
        for rate in (per_microsecond, _near(per_microsecond))
        for token in _TOKENS
    ]
    return next(choice for choice in choices if max(choice) <= _EXACT)


def _near(rate: Fraction) -> Fraction:
    """Return the fraction of numbers that fit which is nearest."""
    if rate < 1:
        return rate.limit_denominator(_EXACT)
    return 1 / (1 / rate).limit_denominator(_EXACT)
