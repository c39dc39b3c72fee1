"""Time: conversions that never lose a nanosecond, and durations within bounds."""

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from each import each
from rate_limiter.clock import (
    CENTURY,
    instant,
    nanoseconds,
    seconds,
    timeout_nanoseconds,
)

SECOND = 10**9
DAY = 86_400 * SECOND
YEAR = 31_557_600  # seconds
DURATIONS = sorted(
    {2**power + step for power in range(64) for step in (-1, 0, 1)}
    | {10**power + step for power in range(19) for step in (-1, 0, 1)}
    | {333_333_333, 1_234_567_891, 8_589_934_591_999_999_046}
)


@each(
    ("duration", "expected"),
    [
        (0, 0.0),
        (1, 1e-9),
        (SECOND, 1.0),
        (1_500_000_000, 1.5),
        (2**53 + 1, math.nextafter(2**53 / SECOND, math.inf)),
        (10**400, math.inf),
    ],
)
def test_convert_nanoseconds_to_seconds_gives_a_float(duration, expected):
    """P6: Any duration becomes a float of seconds; one beyond all floats becomes infinity."""
    assert seconds(duration) == expected


@each("duration", DURATIONS)
def test_convert_nanoseconds_to_seconds_rounds_up_to_the_next_float(duration):
    """P6: The float is not less than the duration, and the float below it would be."""
    exact = Fraction(duration, SECOND)
    value = seconds(duration)

    assert Fraction(value) >= exact
    assert value == 0 or Fraction(math.nextafter(value, -math.inf)) < exact


@each("duration", DURATIONS)
def test_convert_seconds_back_to_nanoseconds_is_never_less(duration):
    """P6: There and back again keeps a duration as long as floats can, and never shortens it."""
    back = instant(seconds(duration), "instant")

    assert back >= duration
    assert back == duration or duration > 2**52
    assert back - duration < math.ulp(seconds(duration)) * SECOND + 1


def test_convert_growing_durations_keeps_their_order():
    """P6: A longer duration is never a smaller float."""
    assert all(seconds(short) <= seconds(long) for short, long in pairwise(DURATIONS))


@each(
    ("value", "expected"),
    [
        (0, 0),
        (0.1, 100_000_000),
        (1, SECOND),
        (1e-9, 1),
        (0.4e-9, 0),
        (0.6e-9, 1),
        (Fraction(1, 3), 333_333_333),
        (Decimal("0.000000001"), 1),
        (100 * YEAR, CENTURY),
        (Fraction(CENTURY, SECOND) + Fraction(1, 3 * SECOND), CENTURY),
    ],
)
def test_convert_seconds_of_any_kind_gives_the_nearest_nanosecond(value, expected):
    """P22: A duration may be any real number."""
    assert nanoseconds(value) == expected


@each(
    ("value", "error", "message"),
    [
        (-1, ValueError, "pause must be 0 or more, got -1"),
        (math.nan, ValueError, "pause must be finite, got nan"),
        (math.inf, ValueError, "pause must be finite, got inf"),
        (True, TypeError, "pause must be a real number"),
        ("1", TypeError, "pause must be a real number"),
        (100 * YEAR + 1, ValueError, "pause must be at most 100 years, got 3155760001"),
        (
            Fraction(CENTURY + 1, SECOND),
            ValueError,
            "pause must be at most 100 years, got Fraction",
        ),
        (1e300, ValueError, "pause must be at most 100 years, got 1e\\+300"),
        (10**300, ValueError, "pause must be at most 100 years, got an int of 997 bits"),
        (Decimal("1e2000000"), ValueError, r"pause must be at most 1.8e308, got Decimal"),
    ],
)
def test_convert_what_is_no_duration_names_it(value, error, message):
    """P22: What cannot be a duration is refused under the name it was given."""
    with pytest.raises(error, match=f"^{message}"):
        nanoseconds(value, "pause")


@each(
    ("timeout", "expected"),
    [
        (None, None),
        (math.inf, None),
        (Decimal("Infinity"), None),
        (np.float32("inf"), None),
        (0, 0),
        (0.0, 0),
        (-0.0, 0),
        (1.5, 1_500_000_000),
        (np.float64(0.1), 100_000_000),
        (Fraction(1, 4), 250_000_000),
        (100 * YEAR, CENTURY),
        (Fraction(CENTURY, SECOND) + Fraction(1, SECOND), None),
        (100 * YEAR + 1, None),
        (1e300, None),
        (10**300, None),
        (-1, 0),
        (-0.1, 0),
        (-1e-300, 0),
        (-math.inf, 0),
        (-1e300, 0),
        (-(10**400), 0),
        (Fraction(-1, 3), 0),
        (Decimal("-Infinity"), 0),
        (Decimal("-1e2000000"), 0),
        (Decimal("1e-2000000"), 0),
        (np.float32("-inf"), 0),
        (np.int8(-1), 0),
    ],
)
def test_read_timeout_gives_nanoseconds_or_none(timeout, expected):
    """P12: A timeout below zero is 0; None, infinity and more than a century set no limit."""
    assert timeout_nanoseconds(timeout) == expected


@each(
    ("timeout", "error"),
    [
        (math.nan, ValueError),
        (np.float64("nan"), ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("-NaN"), ValueError),
        (Decimal("sNaN"), ValueError),
        (10**400, ValueError),
        (Decimal("1e2000000"), ValueError),
        (True, TypeError),
        ("1", TypeError),
        (1j, TypeError),
    ],
)
def test_read_timeout_when_meaningless_raises(timeout, error):
    """P12: What is no length of time is an error that names the timeout."""
    with pytest.raises(error, match="timeout"):
        timeout_nanoseconds(timeout)


@each(
    ("value", "expected"),
    [(0, 0), (99, 99 * SECOND), (200 * YEAR, 2 * CENTURY), (1e300, int(1e300) * SECOND)],
)
def test_convert_instant_has_no_bound(value, expected):
    """P8: An instant, unlike a duration, may be any number of seconds from 0 on."""
    assert instant(value, "start") == expected
