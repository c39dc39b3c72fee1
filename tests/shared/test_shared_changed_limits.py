"""Limits that are changed in code, while others go on with the old ones."""

import math
from fractions import Fraction

import pytest

RATES = [5, 3, 100, 0.1, Fraction(100, 60), 7e5, math.pi, 1e9, 1e-3]


@pytest.mark.parametrize("old", RATES)
@pytest.mark.parametrize("new", RATES)
def test_change_rate_keeps_the_tokens(make_bucket, old, new):
    """P9: With another rate the same tokens are there, and come back at the new rate."""
    assert make_bucket(10, old).allow(7.5)

    bucket = make_bucket(10, new)

    precision = new * 1e-6 + 1e-9
    assert bucket.available_tokens == pytest.approx(2.5, abs=precision)
    assert bucket.retry_after(10) == pytest.approx(7.5 / new, abs=2e-6, rel=1e-12)
    assert not bucket.allow(2.6 + precision)


@pytest.mark.parametrize("old", RATES)
def test_change_rate_back_and_forth_mints_nothing(make_bucket, old):
    """P9: Two processes with different limits share one bucket; neither resets it."""
    buckets = [make_bucket(10, old), make_bucket(10, 2 * old)]

    taken = sum(buckets[turn % 2].allow() for turn in range(30))

    assert taken in {9, 10}  # restating rounds up to a tick, which may be what the last one lacks


@pytest.mark.parametrize(("capacity", "expected"), [(20, 2), (10, 2), (8, 2), (2, 2), (1, 1)])
def test_change_capacity_keeps_the_level(make_bucket, capacity, expected):
    """P9: The tokens that are there stay, up to the new capacity."""
    assert make_bucket(10, 1).allow(8)

    bucket = make_bucket(capacity, 1)

    assert bucket.available_tokens == expected
    assert bucket.retry_after(capacity) == capacity - expected


@pytest.mark.parametrize(
    ("old", "taken", "new", "wait"),
    [
        ((600, 10), 600, (6, 0.1), (1, 10)),
        ((5, Fraction(5, 3600)), 5, (100, Fraction(100, 3600)), (1, 36)),
        ((100, 1), 40, (20, 0.1), (20, 0)),
        ((1000, Fraction(1000, 3600)), 1000, (10, Fraction(10, 3600)), (1, 360)),
    ],
)
def test_change_both_waits_as_long_as_the_level_needs(make_bucket, old, taken, new, wait):
    """P9: 1000 an hour used up and cut to 10 an hour wait 6 minutes, not 99 hours."""
    assert make_bucket(*old).allow(taken)
    tokens, seconds = wait
    assert make_bucket(*new).retry_after(tokens) == seconds


@pytest.mark.parametrize("rate", [2, 3, Fraction(1, 3)])
def test_change_rate_with_a_line_keeps_its_places(make_bucket, clock, rate):
    """P10: Who waits keeps its time, and nobody passes, whatever the new limit is."""
    old = make_bucket(1, 1)
    assert old.allow()
    waiting = [old.reserve(), old.reserve()]

    new = make_bucket(1, rate)

    assert [place.delay for place in waiting] == [1, 2]
    assert new.retry_after() >= 2
    waiting[1].cancel()
    waiting[0].cancel()
    assert new.retry_after() == pytest.approx(1 / rate, abs=2e-6)


def test_configure_applies_from_the_next_call_on(make_bucket):
    """P9: A bucket can be given another limit; the level stays."""
    bucket = make_bucket(10, 1)
    assert bucket.allow(8)

    bucket.configure(capacity=20, tokens_per_second=5)

    assert (bucket.capacity, bucket.tokens_per_second) == (20, 5)
    assert bucket.available_tokens == 2
    assert bucket.retry_after(7) == 1


@pytest.mark.parametrize(
    ("terms", "error"),
    [({"capacity": 0}, ValueError), ({"tokens_per_second": "5"}, TypeError)],
)
def test_configure_with_what_is_no_limit_changes_nothing(make_bucket, terms, error):
    """P22: A refused change leaves the limit as it was."""
    bucket = make_bucket(10, 1)

    with pytest.raises(error):
        bucket.configure(**terms)

    assert (bucket.capacity, bucket.tokens_per_second) == (10, 1)


def test_cancel_under_another_limit_leaves_a_value_that_can_be_read(make_bucket):
    """P9: A place that was taken under a limit of finer parts is given back under another."""
    bucket = make_bucket(1, 3)
    assert bucket.allow()
    places = [bucket.reserve(Fraction(1, 7)) for _ in range(4)]

    bucket.configure(tokens_per_second=1e-6)
    for place in (places[1], places[3], places[2]):
        place.cancel()

    assert bucket.retry_after(Fraction(1, 7)) > 0
