"""Numbers in: which are read, how exactly, and which are refused."""

import math
import sys
from decimal import Decimal
from fractions import Fraction
from numbers import Real

import numpy as np
import pytest

from each import each
from rate_limiter.rates import non_negative, per_second, positive, real


class OddInt(int):
    """An int that misbehaves wherever it can be overridden."""

    def __mul__(self, other):
        return "nonsense"

    __rmul__ = __add__ = __truediv__ = __mul__

    def __repr__(self):
        return "odd"


class OddFloat(float):
    """A float that misbehaves wherever it can be overridden."""

    def __mul__(self, other):
        return "nonsense"

    __rmul__ = __add__ = __truediv__ = __mul__

    def __repr__(self):
        return "odd"


def kind(value):
    """Name a row of a table without printing the value, which may have thousands of digits."""
    return type(value).__name__


READ = [
    (1, Fraction(1)),
    (10**300, Fraction(10**300)),
    (int(sys.float_info.max), Fraction(sys.float_info.max)),
    (0.5, Fraction(1, 2)),
    (0.1, Fraction(1, 10)),
    (1 / 3, Fraction(1, 3)),
    (2 / 3, Fraction(2, 3)),
    (100 / 60, Fraction(5, 3)),
    (1000 / 3600, Fraction(5, 18)),
    (1e-6, Fraction(1, 10**6)),
    (1e9, Fraction(10**9)),
    (math.pi, Fraction(math.pi)),
    (1e-7, Fraction(1e-7)),
    (0.1 + 0.2, Fraction(0.1 + 0.2)),
    (5e-324, Fraction(5e-324)),
    (sys.float_info.max, Fraction(sys.float_info.max)),
    (Fraction(1, 3), Fraction(1, 3)),
    (Fraction(1, 10**300), Fraction(1, 10**300)),
    (Decimal("0.1"), Fraction(1, 10)),
    (Decimal("1e-30"), Fraction(1, 10**30)),
    (np.float16(0.1), Fraction(1638, 2**14)),
    (np.float32(0.1), Fraction(13421773, 2**27)),
    (np.float64(0.1), Fraction(1, 10)),
    (np.longdouble(0.5), Fraction(1, 2)),
    (np.int64(3), Fraction(3)),
    (np.uint8(255), Fraction(255)),
    (OddInt(7), Fraction(7)),
    (OddFloat(0.1), Fraction(1, 10)),
]
NO_NUMBERS = [
    *(True, False, "1", "", None, 1j, b"1", [1], (1,), {}, object(), float, range(3)),
    *(np.bool_(True), np.complex64(1), np.array([1.0]), np.str_("1")),
]
NOT_FINITE = [
    *(math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")),
    *(np.float16("nan"), np.float32("inf"), np.float64("-inf"), OddFloat("nan")),
]
TOO_LARGE = [10**400, -(10**400), 10**5000, OddInt(10**5000), 2**1024, Fraction(10**400)]
NEGATIVE = [-1, -0.5, -1e-300, Fraction(-1, 3), Decimal("-0.1"), np.int64(-1), OddInt(-1)]
ZERO = [0, 0.0, -0.0, Fraction(0), Decimal(0), Decimal("-0"), np.float32(0), OddFloat(0)]
TOO_SMALL = [Fraction(1, 10**400), Decimal("1e-400")]


@each("read", [positive, non_negative, real])
@each(("value", "expected"), READ)
def test_read_number_of_any_kind_gives_its_exact_fraction(read, value, expected):
    """P22: Every real number is read exactly, a float as the fraction it was meant as."""
    number = read(value, "cost")

    assert type(number) is Fraction
    assert number == expected
    assert {type(number.numerator), type(number.denominator)} == {int}


@each("value", ZERO)
def test_read_zero_is_refused_only_where_it_means_nothing(value):
    """P22: A level or a timeout may be 0; a capacity, a rate or a cost may not."""
    assert (non_negative(value, "level"), real(value, "step")) == (0, 0)
    with pytest.raises(ValueError, match=r"^cost must be above 0, got "):
        positive(value, "cost")


@each("value", NEGATIVE)
def test_read_negative_number_is_refused_where_it_means_nothing(value):
    """P22: Only a step of a test's clock may be negative, and is read exactly."""
    assert real(value, "step") == Fraction(value)
    with pytest.raises(ValueError, match=r"^cost must be above 0, got "):
        positive(value, "cost")
    with pytest.raises(ValueError, match=r"^level must be 0 or more, got "):
        non_negative(value, "level")


@each("read", [positive, non_negative, real])
@each("value", NO_NUMBERS)
def test_read_what_is_no_number_raises_type_error(read, value):
    """P22: What is no real number, bool included, gets a TypeError that names kind and remedy."""
    with pytest.raises(TypeError, match=r"^cost must be a real number such as 2, 0\.5") as caught:
        read(value, "cost")

    assert str(caught.value).endswith(f" ({type(value).__name__})")


@each("read", [positive, non_negative, real])
@each("value", NOT_FINITE)
def test_read_number_that_is_not_finite_raises_value_error(read, value):
    """P22: NaN and the infinities of every numeric type get a ValueError."""
    with pytest.raises(ValueError, match=r"^cost must be finite, got "):
        read(value, "cost")


@each("read", [positive, non_negative, real])
@each("value", [Decimal("sNaN"), Decimal("1e400")])
def test_read_decimal_no_float_can_hold_raises_value_error(read, value):
    """P22: A Decimal that cannot be compared or converted is refused like any other."""
    with pytest.raises(ValueError):
        read(value, "cost")


@each("value", TOO_LARGE)
def test_read_number_beyond_floats_raises_a_short_value_error(value):
    """P22: An int of any length is refused with a message that does not print it."""
    with pytest.raises(ValueError, match=r"^step must be at most 1\.8e308, got ") as caught:
        real(value, "step")

    assert len(str(caught.value)) < 100


@each("read", [positive, non_negative, real])
@each("value", TOO_SMALL)
def test_read_number_below_the_smallest_float_raises_value_error(read, value):
    """P22: A positive number whose float would be 0 is told so."""
    with pytest.raises(ValueError, match=r"^cost must be at least 5e-324 if it is above 0"):
        read(value, "cost")


class Exact:
    """A real number of a library that knows no fractions of its own."""

    def __float__(self):
        return 0.1

    def __eq__(self, other):
        return False

    __hash__ = None


Real.register(Exact)


def test_read_number_of_a_foreign_kind_goes_by_its_float():
    """P22: A real number that has no ratio of integers is read as its float."""
    assert positive(Exact(), "cost") == Fraction(0.1)


@each("value", [1, 2**53 - 1, 2**53, 2**53 + 1, 0.5, 1.0, float(2**53), 1e300])
def test_read_plain_number_is_the_same_by_every_way(value):
    """P22: What is read quickly is read as it is otherwise, and an int as the float it equals."""
    assert positive(value, "cost") == real(value, "cost") == Fraction(value)
    assert type(positive(value, "cost").numerator) is int


@each(
    ("value", "message"),
    [
        (-1, "capacity must be above 0, got -1"),
        (Fraction(-1, 2), "capacity must be above 0, got Fraction(-1, 2)"),
        (math.nan, "capacity must be finite, got nan"),
        (10**400, "capacity must be at most 1.8e308, got an int of 1329 bits"),
    ],
)
def test_refuse_number_names_it_and_its_value(value, message):
    """P22: The message says which argument is wrong, how, and what was given."""
    with pytest.raises(ValueError) as caught:
        positive(value, "capacity")

    assert str(caught.value) == message


@each("value", [[10**5000], {1: 10**5000}])
def test_read_container_of_a_huge_int_raises_type_error(value):
    """P22: A value that Python itself refuses to print is refused for what it is."""
    with pytest.raises(TypeError, match=r"^cost must be a real number"):
        positive(value, "cost")


def test_read_rate_per_second_given_in_words_names_from_rate():
    """P23: A rate in words where a number belongs gets a TypeError that says what takes it."""
    assert per_second(2) == 2
    with pytest.raises(TypeError, match=r"for a rate in words use from_rate\(\)"):
        per_second("10/second")
