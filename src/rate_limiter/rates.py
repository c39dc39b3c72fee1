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
    "STRICT",
    "Number",
    "capacity_of",
    "exact",
    "nearest",
    "non_negative",
    "parse_rate",
    "parse_rates",
    "per_second",
    "positive",
    "positive_float",
    "real",
    "shown",
    "strict_terms",
    "terms_of",
]

STRICT = (
    "a strict rate cannot be changed, for its capacity and its rate make its count together; make "
    "a new bucket with from_rate(..., strict=True)"
)

Number: TypeAlias = float | Fraction | Decimal
"""A real number as callers write it: int, float, Fraction, Decimal (and numpy's scalars)."""

_FORMS = (
    "'10/second', '100 per minute' or '5 per 10 seconds' "
    "(ms, second, minute, hour, day, week; 90000, 90_000 or 90,000)"
)
_LONGEST_SHOWN = 128  # bits of an int that an error message spells out
_EASY = 2**53  # below it an int or a float needs no further check
_DIGITS = Context(prec=1_200, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])  # any float has fewer
_BITS = 4_000  # as many as these digits
_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Fraction(1, 1_000)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Fraction(1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Fraction(3_600)),
    **dict.fromkeys(("d", "day", "days"), Fraction(86_400)),
    **dict.fromkeys(("w", "week", "weeks"), Fraction(604_800)),
}
# Digits in threes do not begin with 0: "0,500" may be meant as a half.
_GROUPED = r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3}){1,9}|(?:_[0-9]{3}){1,9})"
_DECIMAL = rf"(?:{_GROUPED}|[0-9]{{1,30}})(?:\.[0-9]{{1,30}})?"
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


def capacity_of(value: Number) -> Fraction:
    """Read a capacity; see `positive` for what is raised."""
    return _positive_or_words(value, "capacity")


def per_second(value: Number) -> Fraction:
    """Read a rate in tokens per second; see `positive` for what is raised."""
    return _positive_or_words(value, "tokens_per_second")


def _positive_or_words(value: Number, name: str) -> Fraction:
    """Read a number above zero; of words say where they belong."""
    if isinstance(value, str):
        raise TypeError(
            f"{name} must be a real number, got {shown(value)}; for a rate in words use "
            "from_rate() of the same class, as in TokenBucket.from_rate('10/second')"
        )
    return positive(value, name)


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
    """Read a single rate such as "100/minute" or "5 per 10 seconds".

    Args:
        text: A count, "/" or "per", an optional number of units, and a unit of time.

    Returns:
        The count, and the rate in tokens per second.

    Raises:
        TypeError: It is not a string.
        ValueError: It does not have this form, or a number in it is zero.
    """
    _check_words(text)
    if ";" in text:
        raise ValueError(
            f"a rate must be a single one here, and look like {_FORMS}; for several make a "
            "BucketGroup with a bucket for each, which in memory BucketGroup.from_rate does; "
            f"got {shown(text)}"
        )
    return _read_rate(text, text, _FORMS)


def parse_rates(text: str) -> list[tuple[str, Fraction, Fraction]]:
    """Read one rate or several, such as "10/second; 1000/hour".

    Args:
        text: Rates as `parse_rate` takes them, with ";" between them.

    Returns:
        For each its own words, its count, and its rate in tokens per second.

    Raises:
        TypeError: It is not a string.
        ValueError: One of them does not have this form, is missing, or is there twice.
    """
    _check_words(text)
    forms = f"{_FORMS}, with ';' between several"
    rates = {part.strip(): _read_rate(part, text, forms) for part in text.split(";")}
    if len(rates) <= text.count(";"):
        raise ValueError(f"a rate must be there once, and look like {forms}, got {shown(text)}")
    return [(label, count, per_second) for label, (count, per_second) in rates.items()]


def _check_words(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(
            f"a rate must be a string like {_FORMS}, got {shown(text)} ({type(text).__name__})"
        )


@lru_cache(maxsize=1024)  # the buckets of all keys are made from the same words
def _read_rate(part: str, text: str, forms: str) -> tuple[Fraction, Fraction]:
    """Read a rate that is all or a part of a text; see `parse_rate`."""
    match = _RATE.fullmatch(part)
    seconds = _SECONDS.get(match["unit"].lower()) if match else None
    if match is None or seconds is None:
        raise ValueError(f"a rate must look like {forms}, got {shown(text)}")
    count, every = _read_digits(match["count"]), _read_digits(match["every"] or "1")
    if count == 0 or every == 0:
        raise ValueError(f"a rate must be above 0 and look like {forms}, got {shown(text)}")
    return count, count / (every * seconds)


def _read_digits(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace("_", ""))


def terms_of(rate: str, capacity: Number | None, *, strict: bool) -> tuple[Number, Fraction]:
    """Return the capacity and the rate that `from_rate` makes a bucket of.

    Args:
        rate: As for `parse_rate`.
        capacity: The most tokens; None for the count in `rate`, or of a strict rate a tenth of it.
        strict: Whether at most the count is admitted in any window; see `strict_terms`.

    Raises:
        TypeError: `rate` is not a string, `strict` no bool, or `capacity` not a real number.
        ValueError: `rate` does not have its form, or a strict one leaves nothing to spread.
    """
    count, tokens_per_second = parse_rate(rate)
    if not isinstance(strict, bool):
        raise TypeError(f"strict must be True or False, got {shown(strict)}")
    if not strict:
        return count if capacity is None else capacity, tokens_per_second
    wanted = None if capacity is None else positive(capacity, "capacity")
    return strict_terms(count, tokens_per_second, wanted)


def strict_terms(
    count: Fraction, tokens_per_second: Fraction, capacity: Fraction | None
) -> tuple[Fraction, Fraction]:
    """Return the terms under which never more than `count` are admitted in any window.

    A bucket admits up to `capacity + period * rate` in a window of its period. So what is not
    there at once is spread over the period, and both together are the count.

    Args:
        count: The most tokens in a window.
        tokens_per_second: The count divided by the length of the window in seconds.
        capacity: The tokens that are there at once; a tenth of the count, at least 1, if None.

    Returns:
        The capacity, and the rate in tokens per second.

    Raises:
        ValueError: The capacity leaves nothing to spread.
    """
    if capacity is None:
        capacity = Fraction(max(1, count // 10))
    if count <= 1:
        raise ValueError(
            f"a strict rate must count more than 1, got {float(count):.12g}; "
            "say it over a longer time, such as '60/minute' for '1/second'"
        )
    if capacity >= count:
        raise ValueError(
            f"capacity must be below the {float(count):.12g} of a strict rate, so that some are "
            f"left to spread, got {float(capacity):.12g}; leave it out for {max(1, count // 10)}"
        )
    return capacity, (count - capacity) / count * tokens_per_second


def shown(value: object) -> str:
    """Render a value for an error message: one short line, whatever it is."""
    try:
        if isinstance(value, int) and int.bit_length(value) > _LONGEST_SHOWN:
            return f"an int of {int.bit_length(value)} bits"
        return " ".join(_RENDERED.repr(value).splitlines())
    except Exception:  # noqa: BLE001 - a repr of the user's may raise anything
        return f"a {type(value).__name__}"


class _Renderer(reprlib.Repr):
    """A short repr that lets the errors of a user's repr pass, for `shown` to catch."""

    def repr_instance(self, x: object, level: int) -> str:
        text = repr(x)
        if len(text) > self.maxother:
            text = f"{text[:13]}...{text[-14:]}"
        return text


_RENDERED = _Renderer()
