"""Rates in words: which are read, how exactly, and which are refused; and strict ones."""

from fractions import Fraction

import pytest

from each import each
from rate_limiter import TokenBucket
from rate_limiter.rates import parse_rate, parse_rates, shown, strict_terms
from rate_limiter.testing import ManualClock

FORMS = (
    "'10/second', '100 per minute' or '5 per 10 seconds' "
    "(ms, second, minute, hour, day, week; 90000, 90_000 or 90,000)"
)


def refused(parse, text):
    """Return the message of the error, which has all forms in it and ends with what was given."""
    with pytest.raises(ValueError, match=r"^a rate must ") as caught:
        parse(text)
    message = str(caught.value)
    assert FORMS in message
    assert message.endswith(f"got {shown(text)}")
    return message


@each(
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
        ("100/m", 100, Fraction(5, 3)),
        ("100/mins", 100, Fraction(5, 3)),
        ("7/hr", 7, Fraction(7, 3600)),
        ("7/hrs", 7, Fraction(7, 3600)),
        ("7/secs", 7, Fraction(7)),
        ("5/week", 5, Fraction(5, 604_800)),
        ("5/weeks", 5, Fraction(5, 604_800)),
        ("5/w", 5, Fraction(5, 604_800)),
        ("5/ms", 5, Fraction(5000)),
        ("5 per 250 ms", 5, Fraction(20)),
        ("5 per 250 milliseconds", 5, Fraction(20)),
        ("5/millisecond", 5, Fraction(5000)),
        ("90_000/minute", 90_000, Fraction(1500)),
        ("90,000/minute", 90_000, Fraction(1500)),
        ("1,000,000 per 1_000 s", 10**6, Fraction(1000)),
        ("1,000.5/s", Fraction(2001, 2), Fraction(2001, 2)),
        ("100,000/s", 100_000, Fraction(100_000)),
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
    assert parse_rates(text) == [(text.strip(), count, per_second)]


@each(
    "text",
    [
        *("", " ", "\n", "10", "second", "/second", "10/", "10 per", "10 second", "10:second"),
        *("10/fortnight", "10/us", "10/mi", "10/hrss", "10/secondss", "10/month", "10/year"),
        *("-10/second", "+10/second", "10/-5 seconds", "10/+5 seconds", "--/second"),
        *("1e3/second", "10/1e1 seconds", "inf/second", "nan/second", "0x10/second", "1j/second"),
        *("\u0661\u0660/second", "\uff11\uff10/second", "\u00bd/second", "10/\u017fecond"),
        *(
            "9,0/minute",
            "1__0/s",
            ",5/s",
            "5,/s",
            "_5/s",
            "5_/s",
            "1,0000/s",
            "1000,000/s",
            "1,,000/s",
        ),
        *("1,000_000/s", "0,500/s", "0_500/s", "1_00/s", "1,000,00/s", "1.000,5/s", "5/1,0 s"),
        *("1" + ",000" * 10 + "/s", "1.000.000/second", "1/3/second", "1 0/second"),
        *(".5/second", "10./second", "10//second", "10 per per second", "10persecond"),
        *(
            "10/second/second",
            "10/second 5",
            "10/second, 5/s",
            "10/second\n10/second",
            "10/second\0",
            "10/sec ond",
        ),
        *("'10/second'", "10\u00a0/second", "ten per second", "%d/second"),
        *("9" * 31 + "/second", "9" * 5000 + "/second", "10/" + "9" * 5000 + " seconds"),
        *("10/" + "s" * 10**5, " " * 10**4, "0." + "0" * 31 + "1/second"),
        *("0/second", "0.0/minute", "10/0 seconds", "10/0.00 seconds", "0/0 seconds"),
    ],
)
def test_parse_rate_when_malformed_shows_the_accepted_forms(text):
    """P23: Anything else gets a short ValueError with an example of every accepted form."""
    assert len(refused(parse_rate, text)) < 250
    with pytest.raises(ValueError, match=r"^a rate must "):
        parse_rates(text)


@each("value", [None, 10, 1.5, True, b"10/second", ["10/second"], object()])
def test_parse_rate_when_no_string_raises_type_error(value):
    """P23: A rate in words is a str, and the error shows what one looks like."""
    with pytest.raises(TypeError, match=r"^a rate must be a string like '10/second'"):
        parse_rate(value)
    with pytest.raises(TypeError, match=r"^a rate must be a string like '10/second'"):
        parse_rates(value)


TEN, THOUSAND = ("10/second", 10, Fraction(10)), ("1000/hour", 1000, Fraction(5, 18))


@each(
    ("text", "expected"),
    [
        ("10/second; 1000/hour", [TEN, THOUSAND]),
        ("1000/hour;10/second", [THOUSAND, TEN]),
        (" 10/second ;\n1000/hour\n", [TEN, THOUSAND]),
        (
            "10/second; 5 per 250 ms; 90,000 PER Day",
            [
                TEN,
                ("5 per 250 ms", 5, Fraction(20)),
                ("90,000 PER Day", 90_000, Fraction(90_000, 86_400)),
            ],
        ),
    ],
)
def test_parse_several_rates_gives_each_with_its_words(text, expected):
    """P23: Limits with ';' between them are read one by one, each under its own words."""
    assert parse_rates(text) == expected


@each(
    "text",
    [
        *(";", "10/second;", ";10/second", "10/second;;1000/hour", "10/second; ;1000/hour"),
        *("10/second; 10/second", "10/second;10/second ", "10/second; 1000/fortnight"),
        *("10/second; 0/hour", "10/second, 1000/hour", "10/second\n1000/hour", "10/s & 5/m"),
        ";" * 10**5,
    ],
)
def test_parse_several_rates_when_malformed_shows_the_accepted_forms(text):
    """P23: A part that is empty, malformed or there twice gets a ValueError with every form."""
    assert "with ';' between several" in refused(parse_rates, text)


@each("text", ["10/second; 1000/hour", "10/second;", ";", "a;b"])
def test_parse_one_rate_of_several_says_what_takes_several(text):
    """P23: Several limits where one belongs get a ValueError that says where they do."""
    with pytest.raises(ValueError, match=r"^a rate must be a single one here") as caught:
        parse_rate(text)

    message = str(caught.value)
    assert FORMS in message
    assert "BucketGroup.from_rate" in message


@each(
    ("count", "capacity", "expected"),
    [
        (60, 6, (6, 54)),
        (60, None, (6, 54)),
        (600, None, (60, 540)),
        (19, None, (1, 18)),
        (2, None, (1, 1)),
        (60, 59, (59, 1)),
        (60, Fraction(1, 2), (Fraction(1, 2), Fraction(119, 2))),
        (Fraction(5, 2), None, (1, Fraction(3, 2))),
    ],
)
def test_strict_terms_are_the_capacity_and_the_rest_spread(count, capacity, expected):
    """P1: What is there at once and what comes back within the window make the count."""
    capacity = None if capacity is None else Fraction(capacity)
    at_once, per_second = strict_terms(Fraction(count), Fraction(count, 60), capacity)

    assert (at_once, per_second * 60) == expected
    assert type(at_once) is type(per_second) is Fraction


@each(
    ("count", "capacity", "message"),
    [
        (60, 60, "capacity must be below the 60 of a strict rate, .*, got 60; leave it out for 6$"),
        (60, 99, "capacity must be below the 60 .*, got 99; leave it out for 6$"),
        (9_000_001, 10**7, "capacity must be below the 9000001 .* leave it out for 900000$"),
        (1, None, "a strict rate must count more than 1, got 1; say it over a longer time"),
        (1, Fraction(1, 2), "a strict rate must count more than 1, got 1"),
        (Fraction(1, 2), None, "a strict rate must count more than 1, got 0.5"),
    ],
)
def test_strict_terms_that_leave_nothing_to_spread_raise(count, capacity, message):
    """P1: What could not be strict gets a ValueError that says what would be right."""
    capacity = None if capacity is None else Fraction(capacity)
    with pytest.raises(ValueError, match=f"^{message}"):
        strict_terms(Fraction(count), Fraction(count), capacity)


@each(("count", "capacity"), [(60, 6), (60, 1), (60, 59), (7, 2), (10, None)])
@each("rest", [0, 1, 30, 61, 1000])
def test_bucket_of_strict_terms_admits_the_count_in_no_window_more(count, capacity, rest):
    """P1: Whoever takes all there is, after any rest, gets no more than the count in any minute."""
    clock = ManualClock()
    capacity = None if capacity is None else Fraction(capacity)
    terms = strict_terms(Fraction(count), Fraction(count, 60), capacity)
    bucket = TokenBucket(*terms, clock=clock)
    admitted = []
    for _ in range(3):
        for _ in range(2 * count):
            clock.advance(bucket.retry_after())
            assert bucket.allow()
            admitted.append(clock.now())
        clock.advance(rest)
    most = max(sum(t <= s <= t + 60 * 10**9 for s in admitted) for t in admitted)
    assert count - 1 <= most <= count  # one less where a nanosecond is not enough
