"""What header fields say about a limit, read back by a parser of structured fields."""

from __future__ import annotations

import math
from fractions import Fraction

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter import BucketGroup, Level, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.http.headers.writing import (
    legacy_fields,
    policy_name,
    rate_limit,
    rate_limit_policy,
    whole_seconds,
)
from rate_limiter.testing import ManualClock


def level(*, capacity=10.0, rate=5.0, available=8.0, full_in=0.4, paused_for=0.0):
    return Level(capacity, rate, available, full_in, paused_for, waiting=0)


def parsed(value):
    """Return the names and parameters of a list of structured fields."""
    items = http_sf.parse(value.encode(), tltype="list")
    return [(name, dict(parameters)) for name, parameters in items]


@pytest.mark.parametrize(
    ("seconds", "whole"),
    [
        (None, 1),
        (0.0, 1),
        (1e-9, 1),
        (0.999, 1),
        (1.0, 1),
        (1.000000001, 2),
        (4.800000000000001, 5),
        (59.2, 60),
        (math.inf, 1),
        (math.nan, 1),
        (1e300, 999_999_999_999_999),
    ],
)
def test_write_retry_after_rounds_up_to_whole_seconds(seconds, whole):
    """P44: A Retry-After is whole seconds, rounded up, and at least 1."""
    assert whole_seconds(seconds) == whole


@pytest.mark.parametrize(
    ("state", "left", "reset"),
    [
        (level(), 8, 1),
        (level(available=10.0, full_in=0.0), 10, 0),
        (level(available=7.9, full_in=2.1), 7, 3),
        (level(available=1.0, full_in=1.8), 1, 2),
        (level(available=0.5, full_in=1.9), 0, 1),
        (level(rate=0.1, available=0.0, full_in=100.0), 0, 10),
        (level(rate=0.1, available=0.9, full_in=91.0), 0, 1),
        (level(rate=0.1, available=0.0, full_in=130.0), 0, 40),
        (level(rate=0.1, available=0.0, full_in=150.0, paused_for=60.0), 0, 60),
        (level(capacity=0.5, rate=0.1, available=0.0, full_in=5.0), 0, 5),
        (level(capacity=1e18, available=1e18, full_in=1e18), 10**15 - 1, 10**15 - 1),
    ],
)
def test_write_rate_limit_tells_what_is_left_and_when_there_is_more(state, left, reset):
    """What is left is rounded down; the time is until full, or if nothing is left until a token."""
    assert parsed(rate_limit({None: state})) == [("default", {"r": left, "t": reset})]


@pytest.mark.parametrize(
    ("words", "quota", "window"),
    [
        ("100/minute", 100, 60),
        ("7/minute", 7, 60),
        ("1000/hour", 1000, 3600),
        ("3/day", 3, 86_400),
        ("10/second", 10, 1),
        ("1000 per 10 ms", 1000, 1),
        ("2.5/second", 2, 1),
        ("0.5/second", 1, 1),
        ("1/week", 1, 604_800),
    ],
)
def test_write_policy_tells_quota_and_window(words, quota, window):
    """A policy is the capacity, rounded down, and the time in which it comes back, rounded up."""
    levels = {None: TokenBucket.from_rate(words).level}
    assert parsed(rate_limit_policy(levels)) == [("default", {"q": quota, "w": window})]


@given(st.integers(1, 10**6), st.sampled_from([1, 60, 3600, 86_400]))
def test_write_policy_of_any_rate_in_words_tells_those_words(count, seconds):
    """Floats make no rate's window a second longer than it is."""
    state = level(capacity=float(count), rate=float(Fraction(count, seconds)))
    assert parsed(rate_limit_policy({None: state})) == [("default", {"q": count, "w": seconds})]


def test_write_groups_has_a_member_for_each_limit():
    """A group gives one member for each of its limits, with the limit's own numbers."""
    group = BucketGroup.from_rate("10/second; 1000/hour", clock=ManualClock())
    with RateLimiter(group).acquire(8) as permit:
        pass
    assert rate_limit(permit.levels) == '"10/second";r=2;t=1, "1000/hour";r=992;t=29'
    assert rate_limit_policy(permit.levels) == '"10/second";q=10;w=1, "1000/hour";q=1000;w=3600'


def test_write_refusal_tells_the_retry_after_of_the_limit_that_refused():
    """Of a refusal the reset of the limit that refused is its Retry-After; others keep theirs."""
    levels = {
        "one": level(rate=0.1, available=0.0, full_in=100.0),
        "two": level(rate=0.1, available=0.0, full_in=130.0),
    }
    value = rate_limit(levels, refused_by="one", retry_after=30)
    assert value == '"one";r=0;t=30, "two";r=0;t=40'


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (None, "default"),
        (0, "0"),
        ("requests", "requests"),
        ("outer.inner", "outer.inner"),
        ('a "b" \\c', 'a "b" \\c'),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("a\r\nb: c", "a%0D%0Ab: c"),
        ("50%", "50%25"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_write_name_reads_back_as_the_policys_name(label, name):
    """P44: Whatever a bucket is called, its name is one string of printable characters."""
    assert policy_name(label) == name
    value = rate_limit({label: level()})
    assert value.isprintable()
    assert parsed(value) == [(name, {"r": 8, "t": 1})]
    assert parsed(rate_limit_policy({label: level()}))[0][0] == name


def test_write_name_of_a_lone_bucket_is_the_one_given():
    """A bucket that is alone has the name that the service gives it."""
    assert rate_limit({None: level()}, "search") == '"search";r=8;t=1'
    assert rate_limit_policy({None: level()}, "search") == '"search";q=10;w=2'


def test_write_legacy_fields_tells_of_the_scarcest_limit():
    """The old fields have room for one limit: the one with the least left."""
    levels = {
        "a": level(available=5.0),
        "b": level(capacity=100.5, available=2.0, full_in=50.0),
        "c": level(capacity=7.0, available=2.5, full_in=60.2),
    }
    assert legacy_fields(levels) == [
        ("X-RateLimit-Limit", "7"),
        ("X-RateLimit-Remaining", "2"),
        ("X-RateLimit-Reset", "61"),
    ]


def test_write_legacy_fields_of_a_refusal_tells_of_the_limit_that_refused():
    """Of a refusal the old fields tell of the limit that refused, and its Retry-After."""
    levels = {"a": level(available=0.0), "b": level(capacity=20.0, available=0.0)}
    assert legacy_fields(levels, refused_by="b", retry_after=9) == [
        ("X-RateLimit-Limit", "20"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", "9"),
    ]
    of_unknown = legacy_fields(levels, refused_by="gone", retry_after=9)
    assert of_unknown[0] == ("X-RateLimit-Limit", "10")


@given(
    st.integers(1, 50),
    st.floats(1e-3, 1e3),
    st.lists(st.floats(0, 20), max_size=8),
    st.floats(0, 100),
)
def test_wait_as_long_as_told_finds_a_token(capacity, rate, advances, pause):
    """P44: Who waits for `t` where nothing is left finds a token, and no second earlier."""
    clock = ManualClock()
    bucket = TokenBucket(capacity, rate, clock=clock)
    limiter = RateLimiter(bucket, block=False)
    for seconds in [*advances, 0.0]:
        while bucket.allow():
            pass
        clock.advance(seconds)
    if pause > 50:
        bucket.pause(pause)
    try:
        with limiter.acquire() as permit:
            levels = permit.levels
    except RateLimitExceeded as error:
        levels = error.levels
    ((_, told),) = parsed(rate_limit(levels))
    if told["r"] == 0:
        clock.advance(told["t"] - 1)
        if told["t"] > 1:
            assert bucket.retry_after() > 0
        clock.advance(1.000001)
        assert bucket.allow()


@given(
    st.dictionaries(
        st.text(max_size=20) | st.integers(0, 9),
        st.builds(
            level,
            capacity=st.floats(1e-9, 1e18),
            rate=st.floats(1e-9, 1e12),
            available=st.floats(0, 1e18),
            full_in=st.floats(0, 1e12),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_write_any_levels_parses_as_structured_fields(levels):
    """P44: Whatever the levels and labels are, the fields are lists of strings and integers."""
    for value in (rate_limit(levels), rate_limit_policy(levels)):
        items = parsed(value)
        assert len(items) == len(levels)
        assert all(isinstance(number, int) for _, own in items for number in own.values())
    assert all(number.isdigit() for _, number in legacy_fields(levels))
