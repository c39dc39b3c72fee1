"""Numbers in: validation, exact fractions, rate strings.

Whatever a caller hands over becomes an exact `Fraction` here, once, or is refused with an
error that names the value. Everything further in trusts what it gets.
"""

from __future__ import annotations

import math
import re
import reprlib
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from numbers import Rational, Real
from typing import TypeAlias

__all__ = [
    "Number",
    "exact",
    "nearest",
    "non_negative",
    "parse_rate",
    "per_second",
    "positive",
    "positive_float",
    "real",
    "shown",
]

Number: TypeAlias = float | Fraction | Decimal
"""A real number as callers write it: int, float, Fraction, Decimal (and numpy's scalars)."""

_FORMS = "'10/second', '100 per minute' or '5 per 10 seconds' (second, minute, hour, day)"
_LONGEST_SHOWN = 128  # bits of an int that an error message spells out
_EASY = 2**53  # below it the fraction of an int or a float is found without further questions
_DIGITS = Context(prec=1_200, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])  # any float has fewer
_BITS = 4_000  # as many as these digits
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}
_DECIMAL = r"[0-9]{1,30}(?:\.[0-9]{1,30})?"
_RATE = re.compile(
    rf"\s*(?P<count>{_DECIMAL})\s*(?:/|\bper\b)\s*(?:(?P<every>{_DECIMAL})\s*)?(?P<unit>[a-z]+)\s*",
    re.IGNORECASE | re.ASCII,
)


def positive(value: Number, name: str) -> Fraction:
    """Read a number that must be above zero.

    Args:
        value: The number as given.
        name: What it is called in the error.

    Returns:
        The number, exactly.

    Raises:
        TypeError: It is not a real number (bool included).
        ValueError: It is zero, negative, NaN, infinite, or outside the range of a float.
    """
    kind = type(value)
    if (kind is int or kind is float) and 0 < value < _EASY:  # nearly every limit and cost
        return _simplest(value)
    number = real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be above 0, got {shown(value)}")
    return number


# Callers repeat a few costs, and finding the fraction takes microseconds. For floats only: to a
# cache, 1 and True are the same.
positive_float = lru_cache(maxsize=1024)(positive)


def per_second(value: Number) -> Fraction:
    """Read a rate in tokens per second; see `positive` for what is raised."""
    if isinstance(value, str):
        raise TypeError(
            f"tokens_per_second must be a real number, got {shown(value)}; "
            "for a rate in words use from_rate() of the same class"
        )
    return positive(value, "tokens_per_second")


def non_negative(value: Number, name: str) -> Fraction:
    """Read a number that may be zero but not below; otherwise as `positive`."""
    number = real(value, name)
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, got {shown(value)}")
    return number


def real(value: Number, name: str) -> Fraction:
    """Read any finite real number as it is meant: the float 100/60 is 5/3, and 0.1 is 1/10.

    See `positive` for what is raised.
    """
    if isinstance(value, float) and math.isfinite(value):
        return _simplest(float(value))
    return exact(value, name)


def exact(value: Number, name: str) -> Fraction:
    """Read any finite real number as it is; see `positive` for what is raised."""
    near = nearest(value, name)
    if math.isnan(near) or (math.isinf(near) and value == near):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    if math.isinf(near):
        raise ValueError(f"{name} must be at most 1.8e308, got {shown(value)}")
    if near == 0 and value != 0:
        raise ValueError(f"{name} must be at least 5e-324 if it is above 0, got a smaller number")
    return _fraction(value, near)


def nearest(value: Number, name: str) -> float:
    """Return the float nearest to a real number, infinite for one beyond all floats.

    It takes no time, however large the exponent of a Decimal is.

    Raises:
        TypeError: It is not a real number (bool included).
    """
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise TypeError(
            f"{name} must be a real number such as 2, 0.5 or Fraction(1, 3), "
            f"got {shown(value)} ({type(value).__name__})"
        )
    try:
        return float(value)
    except OverflowError:  # an int or a fraction
        return math.inf if value > 0 else -math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _fraction(value: Number, near: float) -> Fraction:
    """Return a number within the range of a float, whose nearest one is `near`, as a fraction.

    Beyond any digits that people write it is rounded, so that the greatest common divisor of
    millions of digits is never sought.
    """
    if isinstance(value, Rational):
        numerator, denominator = int(value.numerator), int(value.denominator)
    else:
        number = _DIGITS.plus(value) if isinstance(value, Decimal) else value
        ratio = getattr(number, "as_integer_ratio", near.as_integer_ratio)()
        numerator, denominator = map(int, ratio)
    spare = max(min(numerator.bit_length(), denominator.bit_length()) - _BITS, 0)
    return Fraction(numerator >> spare, denominator >> spare)


@lru_cache(maxsize=1024)
def _simplest(value: float) -> Fraction:
    """Return the simplest fraction that is the same number as a float, or else its exact value.

    An int is what it is; to the cache an int and a float that are equal are the same, and so are
    their fractions.
    """
    simple = Fraction(value).limit_denominator(10**6)
    return simple if float(simple) == value else Fraction(value)


def parse_rate(text: str) -> tuple[Fraction, Fraction]:
    """Read a rate such as "100/minute" or "5 per 10 seconds".

    Args:
        text: A count, "/" or "per", an optional number of units, and a unit of time.

    Returns:
        The count, and the rate in tokens per second.

    Raises:
        TypeError: It is not a string.
        ValueError: It does not have this form, or a number in it is zero.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"a rate must be a string like {_FORMS}, got {shown(text)} ({type(text).__name__})"
        )
    match = _RATE.fullmatch(text)
    seconds = _SECONDS.get(match["unit"].lower()) if match else None
    if match is None or seconds is None:
        raise ValueError(f"a rate must look like {_FORMS}, got {shown(text)}")
    count, every = Fraction(match["count"]), Fraction(match["every"] or 1)
    if count == 0 or every == 0:
        raise ValueError(f"a rate must be above 0 and look like {_FORMS}, got {shown(text)}")
    return count, count / (every * seconds)


def shown(value: object) -> str:
    """Render a value for an error message: one short line, whatever it is."""
    try:
        if isinstance(value, int) and int.bit_length(value) > _LONGEST_SHOWN:
            return f"an int of {int.bit_length(value)} bits"
        return " ".join(_RENDERED.repr(value).splitlines())
    except Exception:  # noqa: BLE001 - a repr of the user's may raise anything
        return f"a {type(value).__name__}"


class _Renderer(reprlib.Repr):
    """A repr that is short, and lets what a repr of the user's raises pass."""

    def repr_instance(self, x: object, level: int) -> str:
        text = repr(x)
        if len(text) > self.maxother:
            text = f"{text[:13]}...{text[-14:]}"
        return text


_RENDERED = _Renderer()
