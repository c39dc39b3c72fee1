"""What every bucket does when tokens are taken at once, counted and given back."""

import math
from fractions import Fraction

from each import each


def check_allow(bucket, steps):
    """Go through rows of (seconds to advance, cost, whether it is admitted)."""
    for number, (advance, cost, expected) in enumerate(steps):
        bucket.clock.advance(advance)
        assert bucket.allow(cost) is expected, f"step {number}"


@each(
    ("capacity", "rate", "steps"),
    [
        (3, 1, [(0, 1, True), (0, 1, True), (0, 1, True), (0, 1, False)]),
        (3, 1, [(0, 3, True), (0, 1, False), (1, 1, True), (0, 1, False)]),
        (3, 1, [(0, 2, True), (0, 2, False), (0, 1, True), (0, 0.5, False)]),
        (3, 1, [(0, 4, False), (10**6, 3.5, False), (0, 3, True)]),
        (3, 1, [(0, 3, True), (0.5, 1, False), (0.5, 1, True), (0.5, 0.5, True)]),
        (3, 1, [(0, 3, True), (10**9, 3, True), (0, 0.001, False), (1, 1, True)]),
        (1, 100 / 60, [(0, 1, True), (0.5, 1, False), (0.1, 1, True), (0.6, 1, True)]),
        (0.5, 0.1, [(0, 1, False), (0, 0.5, True), (5, 0.5, True), (4, 0.5, False)]),
        (5, 10, [(0, 5, True), *[(0.1, 1, True)] * 20, (0.05, 1, False), (0.05, 1, True)]),
    ],
)
def test_allow_by_schedule_admits_what_has_accrued(make_bucket, capacity, rate, steps):
    """P1: A cost is admitted when all of its tokens are there, and takes them."""
    check_allow(make_bucket(capacity, rate), steps)


@each(
    ("capacity", "cost", "expected"),
    [(5, 1, 5), (1, 0.1, 10), (1, 1 / 3, 3), (1, 0.01, 100), (2, 2 / 3, 3), (7, 0.7, 10)],
)
def test_allow_on_a_full_bucket_admits_exactly_its_capacity(make_bucket, capacity, cost, expected):
    """P2: At one instant a full bucket serves its capacity, in whatever fractions."""
    bucket = make_bucket(capacity, 1)

    assert [bucket.allow(cost) for _ in range(expected + 2)] == [True] * expected + [False] * 2


def test_try_consume_is_allow_by_another_name(make_bucket):
    """Both names take from the same tokens."""
    bucket = make_bucket(2, 1)

    assert (bucket.try_consume(), bucket.allow(), bucket.try_consume()) == (True, True, False)


@each("idle", [2, 2.5, 3600, 10**9])
def test_idle_bucket_holds_no_more_than_its_capacity(make_bucket, idle):
    """P4: Nothing accrues beyond the capacity."""
    bucket = make_bucket(2, 1, initial_tokens=0)

    bucket.clock.advance(idle)

    assert bucket.available_tokens == 2
    assert [bucket.allow() for _ in range(3)] == [True, True, False]


@each("cost", [2, 2.5, 3, 4, 10**300])
def test_allow_when_refused_changes_nothing(make_bucket, cost):
    """P5: Any number of refusals leaves the level and everybody's wait as they were."""
    bucket = make_bucket(3, 1)
    bucket.allow(1.25)
    before = (bucket.available_tokens, bucket.retry_after(2), bucket.retry_after(3))

    assert not any(bucket.allow(cost) for _ in range(10))

    assert (bucket.available_tokens, bucket.retry_after(2), bucket.retry_after(3)) == before


@each(
    ("advance", "tokens", "expected"),
    [(0, 1, 1.0), (0, 5, 5.0), (0.25, 1, 0.75), (1, 1, 0.0), (2, 1, 0.0), (2, 5, 3.0)],
)
def test_retry_after_is_the_time_until_the_cost_has_accrued(make_bucket, advance, tokens, expected):
    """P6: The time to retry is the missing tokens over the rate, and 0 if none are missing."""
    bucket = make_bucket(5, 1, initial_tokens=0)
    bucket.clock.advance(advance)

    assert bucket.retry_after(tokens) == expected


@each("tokens", [5.001, 6, 10**300])
def test_retry_after_above_the_capacity_is_infinite(make_bucket, tokens):
    """P6: What can never be there has no time to retry."""
    assert make_bucket(5, 1).retry_after(tokens) == math.inf


@each(("capacity", "rate"), [(5, 1), (10, 3), (1, 1 / 3), (100, 1000), (2, 0.7)])
@each("share", [Fraction(1, 10), Fraction(1, 3), 1])
def test_allow_after_retry_after_is_admitted(make_bucket, capacity, rate, share):
    """P6: A caller who comes back when told is served, at once."""
    bucket = make_bucket(capacity, rate, initial_tokens=0)

    bucket.clock.advance(bucket.retry_after(capacity * share))

    assert bucket.allow(capacity * share)


@each(
    ("level", "refund", "expected"),
    [(0, 1, 1), (0, 0.5, 0.5), (2, 1, 3), (2, 3, 5), (2, 4, 5), (5, 1, 5), (2, 10**300, 5)],
)
def test_refund_adds_tokens_up_to_the_capacity(make_bucket, level, refund, expected):
    """P4: What is given back can be taken again; more than the capacity is lost."""
    bucket = make_bucket(5, 1, initial_tokens=level)

    assert bucket.refund(refund) is None

    assert bucket.available_tokens == expected
    assert not bucket.allow(expected + 0.001)
    assert bucket.allow(expected)


@each(("capacity", "rate"), [(1, 1), (5, 0.5), (2.5, 100 / 60), (1000, 1e-6), (1 / 3, 1e9)])
def test_read_properties_gives_the_floats_it_was_made_with(make_bucket, capacity, rate):
    """The capacity and the rate are floats, and those of the caller."""
    bucket = make_bucket(capacity, rate)

    assert (bucket.capacity, bucket.tokens_per_second) == (capacity, rate)
    assert {type(bucket.capacity), type(bucket.tokens_per_second)} == {float}


@each(
    ("advance", "expected"),
    [(0, 0.0), (0.1, 0.25), (1, 2.5), (1.9, 4.75), (2, 5.0), (99, 5.0)],
)
def test_read_available_tokens_is_what_has_accrued(make_bucket, advance, expected):
    """The level is a float that grows evenly and stops at the capacity."""
    bucket = make_bucket(5, 2.5, initial_tokens=0)

    bucket.clock.advance(advance)

    assert bucket.available_tokens == expected
    assert type(bucket.available_tokens) is float
