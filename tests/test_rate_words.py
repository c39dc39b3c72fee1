"""Rates in words: which are read, how exactly, and which are refused."""

from fractions import Fraction

import pytest

from rate_limiter.rates import parse_rate, shown


@pytest.mark.parametrize(
    ("text", "count", "per_second"),
    [
        ("10/second", 10, Fraction(10)),
        ("10/s", 10, Fraction(10)),
        ("10/sec", 10, Fraction(10)),
        ("10/seconds", 10, Fraction(10)),
        ("100/minute", 100, Fraction(5, 3)),
        ("100/min", 100, Fraction(5, 3)),
        ("100/minutes", 100, Fraction(5, 3)),
        ("1000/hour", 1000, Fraction(5, 18)),
        ("1000/h", 1000, Fraction(5, 18)),
        ("1000/hours", 1000, Fraction(5, 18)),
        ("1/day", 1, Fraction(1, 86_400)),
        ("1/d", 1, Fraction(1, 86_400)),
        ("1/days", 1, Fraction(1, 86_400)),
        ("100 per minute", 100, Fraction(5, 3)),
        ("100 PER Minute", 100, Fraction(5, 3)),
        ("100 / MINUTE", 100, Fraction(5, 3)),
        ("5 per 10 seconds", 5, Fraction(1, 2)),
        ("5/10 seconds", 5, Fraction(1, 2)),
        ("5/10s", 5, Fraction(1, 2)),
        ("0.5/second", Fraction(1, 2), Fraction(1, 2)),
        ("2.5 per 0.5 minutes", Fraction(5, 2), Fraction(1, 12)),
        ("0.1/second", Fraction(1, 10), Fraction(1, 10)),
        ("007/second", 7, Fraction(7)),
        ("  10\t/  second \n", 10, Fraction(10)),
        ("9" * 30 + "/s", 10**30 - 1, Fraction(10**30 - 1)),
    ],
)
def test_parse_rate_when_well_formed_gives_count_and_rate(text, count, per_second):
    """P23: A count per time is read exactly, in either notation and any case."""
    assert parse_rate(text) == (count, per_second)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n", "10", "second", "/second", "10/", "10 per", "10 second", "10:second"),
        *("10/fortnight", "10/week", "10/ms", "10/m", "10/secondss", "10/month", "10/year"),
        *("-10/second", "+10/second", "10/-5 seconds", "10/+5 seconds", "--/second"),
        *("1e3/second", "10/1e1 seconds", "inf/second", "nan/second", "0x10/second", "1j/second"),
        *("\u0661\u0660/second", "\uff11\uff10/second", "\u00bd/second", "10/\u017fecond"),
        *("1_000/second", "1,000/second", "1.000.000/second", "1/3/second", "1 0/second"),
        *(".5/second", "10./second", "10//second", "10 per per second", "10persecond"),
        *("10/second/second", "10/second 5", "10/second\n10/second", "10/second\0", "10/sec ond"),
        *("10/second;", "'10/second'", "10\u00a0/second", "ten per second", "%d/second"),
        *("9" * 31 + "/second", "9" * 5000 + "/second", "10/" + "9" * 5000 + " seconds"),
        *("10/" + "s" * 10**5, " " * 10**4, "0." + "0" * 31 + "1/second"),
        *("0/second", "0.0/minute", "10/0 seconds", "10/0.00 seconds", "0/0 seconds"),
    ],
)
def test_parse_rate_when_malformed_shows_the_accepted_forms(text):
    """P23: Anything else gets a short ValueError with an example of every accepted form."""
    with pytest.raises(ValueError, match=r"^a rate must ") as caught:
        parse_rate(text)

    message = str(caught.value)
    assert "'10/second', '100 per minute' or '5 per 10 seconds'" in message
    assert "(second, minute, hour, day)" in message
    assert message.endswith(f"got {shown(text)}")
    assert len(message) < 200


@pytest.mark.parametrize("value", [None, 10, 1.5, True, b"10/second", ["10/second"], object()])
def test_parse_rate_when_no_string_raises_type_error(value):
    """P23: A rate in words is a str, and the error shows what one looks like."""
    with pytest.raises(TypeError, match=r"^a rate must be a string like '10/second'"):
        parse_rate(value)
