"""Times and numbers of logs are read exactly, or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter.simulate.numbers import Unreadable, read_cost, read_number
from rate_limiter.simulate.times import read_access_time, read_seconds, read_time

NANO = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1.5", 1_500_000_000),
        (".25", 250_000_000),
        ("-3", -3 * NANO),
        ("+2e3", 2_000 * NANO),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
    ],
)
def test_read_seconds_keeps_every_nanosecond(text, nanoseconds):
    """Seconds are decimal numbers, of which no digit is lost to a float."""
    assert read_seconds(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "one", "nan", "inf", "1e999999999", "1e11", "-1e12", "0x10", "1_000", "٣", "1" * 50],
)
def test_read_seconds_that_are_none_is_refused(text):
    """What is not a number of seconds, or none that could be an instant, is unreadable."""
    with pytest.raises(Unreadable):
        read_seconds(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (Decimal("1700000000.5"), Decimal("1700000000.5")),
        ("1700000000", 1_700_000_000),
        (1_700_000_000_123, Decimal("1700000000.123")),
        (1_700_000_000_123_456, Decimal("1700000000.123456")),
        (1_700_000_000_123_456_789, Decimal("1700000000.123456789")),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T23:13:20.5+01:00", Decimal("1700000000.5")),
        ("2023-11-14 22:13:20", 1_700_000_000),
        ("14/Nov/2023:22:13:20 +0000", 1_700_000_000),
        (12.5, Decimal("12.5")),
    ],
)
def test_read_time_of_json_in_any_form(value, seconds):
    """A time is a number of seconds or of smaller units, ISO 8601, or as in access logs."""
    assert read_time(value) == seconds * NANO


@pytest.mark.parametrize(
    "value",
    [None, True, [], {}, "", "soon", 10**21, "2023-13-01T00:00:00Z", "9999-12-31T23:59:59-23:59"],
)
def test_read_time_that_is_none_is_refused(value):
    """Anything else is unreadable, and the text says what it was."""
    with pytest.raises(Unreadable, match="is not a time"):
        read_time(value)


@given(st.integers(0, 4 * 10**9), st.integers(-12, 12))
def test_read_access_time_as_servers_write_it(seconds, hours):
    """Days, zones and seconds are read as the calendar has them."""
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(hours=hours)))
    assert read_access_time(f"{moment:%d/%b/%Y:%H:%M:%S %z}") == seconds * NANO


def test_read_access_time_with_a_part_of_a_second():
    """Some servers are made to write parts of a second; a leap second is the next one."""
    assert read_access_time("01/Jan/1970:01:00:01.25 +0100") == 1_250_000_000
    assert read_access_time("01/Jan/1970:00:00:60 +0000") == 60 * NANO


@pytest.mark.parametrize(
    "text",
    [
        "32/Jan/2020:00:00:00 +0000",
        "01/Foo/2020:00:00:00 +0000",
        "01/Jan/2020:24:00:00 +0000",
        "01/Jan/2020:00:60:00 +0000",
        "01/Jan/2020:00:00:61 +0000",
        "01/Jan/2020 00:00:00",
        "17/Nov/5138:00:00:00 +0000",
        "31/Dec/9999:23:59:59 -2359",
    ],
)
def test_read_access_time_that_is_none_is_refused(text):
    """A day or a time that does not exist is unreadable."""
    with pytest.raises(Unreadable):
        read_access_time(text)


def test_read_cost_as_number_or_text():
    """A whole cost is an int, another a Decimal; 0 is a cost."""
    assert [read_cost(value) for value in ("3", 4, Decimal("2.50"), "0", "1e3")] == [
        3,
        4,
        Decimal("2.5"),
        0,
        1000,
    ]


@pytest.mark.parametrize("value", ["-1", "1e-10", "1e16", "many", True, None, "nan"])
def test_read_cost_that_is_none_is_refused(value):
    """A cost that no bucket counts is unreadable."""
    with pytest.raises(Unreadable):
        read_cost(value)


def test_read_number_shows_only_the_beginning_of_a_long_one():
    """The text about a number stays short, whatever its length."""
    with pytest.raises(Unreadable) as caught:
        read_number("9" * 10_000)
    assert len(str(caught.value)) < 60
