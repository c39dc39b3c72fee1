"""Numbers in: those whose digits would take minutes to write out."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from each import each
from rate_limiter.rates import exact, nearest, non_negative, positive, real


def kind(value):
    """Name a row of a table without printing the value, which may have thousands of digits."""
    return type(value).__name__


class Weighed(Decimal):
    """A Decimal whose digits nobody may ask for."""

    def as_integer_ratio(self):
        raise AssertionError("this takes minutes")


@each("read", [positive, non_negative, real, exact])
@each("sign", ["", "-"])
@each("text", ["1e2000000", "1e40000000", "1e-2000000", "9.9e-999999999"])
def test_read_decimal_of_huge_exponent_is_refused_without_its_digits(read, sign, text):
    """P38: An exponent of millions is refused at once, in a message that is short."""
    with pytest.raises(ValueError, match=r"^cost must be ") as caught:
        read(Weighed(sign + text), "cost")

    assert len(str(caught.value)) < 100


@each(
    ("value", "expected"),
    [
        (1, 1.0),
        (Fraction(1, 3), 1 / 3),
        (Weighed("1e2000000"), math.inf),
        (Weighed("-1e2000000"), -math.inf),
        (Weighed("1e-2000000"), 0.0),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (Fraction(1, 10**400), 0.0),
        (-math.inf, -math.inf),
        (Decimal("-Infinity"), -math.inf),
        (np.float32("inf"), math.inf),
    ],
)
def test_find_nearest_float_of_any_number(value, expected):
    """P22: Any real number is compared by its float, if need be an infinite one."""
    assert nearest(value, "timeout") == expected


@each("value", [math.nan, Decimal("NaN"), Decimal("sNaN"), np.float16("nan")])
def test_find_nearest_float_of_no_number_is_nan(value):
    """P22: A NaN of every numeric type is one, the signalling kind too."""
    assert math.isnan(nearest(value, "timeout"))


DIGITS = 10**6


@each(
    "value",
    [
        Decimal("0." + "3" * DIGITS),
        Fraction((1 << 4 * DIGITS) // 3, 1 << 4 * DIGITS),
        -Fraction((1 << 4 * DIGITS) // 3, 1 << 4 * DIGITS),
    ],
)
def test_read_number_of_a_million_digits_keeps_enough_of_them(value):
    """P38: Beyond a thousand digits a number is rounded, instead of its fraction being reduced."""
    number = real(value, "cost")

    assert abs(abs(number) - Fraction(1, 3)) < Fraction(1, 10**1000)
    assert number.denominator.bit_length() < 5_000
