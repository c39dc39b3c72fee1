"""What a limit is in the numbers of the script: integers that a double holds exactly.

A token takes `unit / scale` microseconds, so that a cost is whole microseconds and a remainder of
so many parts of `scale`. This is `ledger.py` with microseconds for nanoseconds, and bounds.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from ..rates import Number, non_negative, per_second, positive, positive_float, shown

__all__ = ["LONGEST", "Terms"]

_MICRO = 10**6
_EXACT = 2**53 - 1  # the largest integer of the script
# What a token is divided into, if the rate leaves room for it: what people write has no remainder,
# and the text of a remainder stays short.
_TOKENS = (63 * 10**9, 63 * 10**6, 63 * 10**3, 63, 1)
_FASTEST = 10**18  # tokens per second that can be told apart
_SMALLEST = 1000  # units in a capacity, so that it is what was asked for
_PERIODS = (1, 60, 3_600, 86_400)  # seconds
_LARGEST = 10**10  # tokens per period whose exponent is one digit
_NO_NUMBER = b"-"
_PACK = struct.Struct("<7d").pack
LONGEST = (
    100 * 36_525 * 864 * _MICRO
)  # microseconds in a century: 2^53 of them end in the year 2255


class Terms:
    """The capacity and the rate of a limit, and what costs are under them.

    Args:
        capacity: The most tokens the bucket holds.
        tokens_per_second: How fast they come back.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is not positive and finite, or the script cannot count it.
    """

    __slots__ = ("_terms", "capacity", "codes", "scale", "span", "tokens_per_second", "unit")

    def __init__(self, capacity: Number, tokens_per_second: Number) -> None:
        self.capacity = positive(capacity, "capacity")
        self.tokens_per_second = per_second(tokens_per_second)
        if self.capacity / self.tokens_per_second * _MICRO > LONGEST:
            raise ValueError(
                f"capacity must be at most what comes back in 100 years, "
                f"got {shown(capacity)} at {shown(tokens_per_second)} per second"
            )
        if not _MICRO <= self.tokens_per_second * LONGEST <= _FASTEST * LONGEST:
            raise ValueError(
                f"tokens_per_second must be at most {_FASTEST:.0e} and at least one in 100 years, "
                f"got {shown(tokens_per_second)}"
            )
        self.unit, self.scale = _divided(self.tokens_per_second / _MICRO)
        self.span = int(self.capacity * self.unit)
        if self.span < _SMALLEST:
            raise ValueError(
                f"capacity must be at least {_SMALLEST / self.unit:.3g} at this rate, "
                f"got {shown(capacity)}"
            )
        parts = Fraction(self.unit, self.scale).denominator
        self.codes = _number(self.tokens_per_second, parts), b":%d:%d" % (self.scale, self.unit)
        whole, rest = divmod(self.span, self.scale)
        self._terms = whole, rest, self.scale, self.scale // parts, self.unit

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

    def packed(self, units: int) -> bytes:
        """Return a charge and the terms as the script reads them; below zero it is given back."""
        whole, rest = divmod(abs(units), self.scale)
        if units < 0:
            whole, rest = -min(whole, LONGEST), -rest
        return _PACK(whole, rest, *self._terms)

    def countable(self, units: int) -> bool:
        """Tell whether the script can count a charge of so many units."""
        return units <= LONGEST * self.scale

    def level(self, lacks: int, rest: int) -> float:
        """Return the tokens in a bucket that lacks so many microseconds and a remainder."""
        level = max(self.span - lacks * self.scale - rest, 0)
        tokens = level / self.unit
        while tokens and self.cost(tokens) > level:  # so that allow(available_tokens) succeeds
            tokens = math.nextafter(tokens, 0.0)
        return tokens


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


def _number(rate: Fraction, parts: int) -> bytes:
    """Return what numbers that keep a bucket of this rate begin with, or a dash if none can.

    They can if it is up to three digits and zeros per second, minute, hour or day. 90000/minute is
    `2490`: in the second of these periods, ten to the 4th times 9.0. 3.33/second is `50333`.

    Args:
        rate: Tokens per second.
        parts: What a microsecond is divided into, whose number takes as many digits.
    """
    for digits, first in ((2, 1), (3, 5)):
        for period, seconds in enumerate(_PERIODS, first):
            count = rate * seconds
            if parts <= 10**digits and 1 <= count < _LARGEST:
                exponent = len(str(int(count))) - 1
                mantissa = count * 10 ** (digits - 1) / 10**exponent
                if mantissa.denominator == 1:
                    return b"%d%d%d" % (period, exponent, mantissa)
    return _NO_NUMBER
