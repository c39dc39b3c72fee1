"""What every bucket does when its callers wait."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from each import each
from rate_limiter import RateLimitExceeded


@each(
    ("costs", "expected"),
    [
        ([5], 0.0),
        ([5, 1], 0.1),
        ([5, 1, 1, 1], 0.3),
        ([1] * 15, 1.0),
        ([4, 2], 0.1),
        ([10], 0.5),  # more than the capacity: served once all ten have accrued
        ([10, 1], 0.6),
        ([5, 12.5], 1.25),
        ([5, 0.25], 0.025),
        ([5, Fraction(1, 3)], Fraction(1, 30)),
    ],
)
def test_wait_by_schedule_takes_as_long_as_the_tokens_do(kind, make_bucket, costs, expected):
    """P3: Callers who wait get the capacity at once and then the rate, to a tick of the clock."""
    running_clock = kind.make_clock(auto_advance=True)
    bucket = make_bucket(5, 10, clock=running_clock)

    assert [bucket.wait(cost) for cost in costs] == [None] * len(costs)

    ticks = math.ceil(Fraction(str(expected)) / kind.resolution)
    assert running_clock.elapsed == float(ticks * kind.resolution)
    assert bucket.available_tokens <= 10 * kind.resolution


@each(
    ("tokens", "timeout"),
    [
        (1, 0.1),
        (1, Fraction(1, 10)),
        (1, Decimal("0.1")),
        (1, 0.5),
        (1, 10**300),
        (1, math.inf),
        (1, None),
        (10, 1),
        (0.5, 0.05),
    ],
)
def test_wait_when_it_fits_the_timeout_waits(kind, make_bucket, tokens, timeout):
    """P12: A wait that takes exactly the timeout, or less, is waited."""
    running_clock = kind.make_clock(auto_advance=True)
    bucket = make_bucket(5, 10, clock=running_clock, initial_tokens=0)

    assert bucket.wait(tokens, timeout) is None

    assert running_clock.elapsed == tokens / 10


@each(
    ("tokens", "timeout", "retry_after"),
    [
        (1, 0, 0.1),
        (1, 0.0, 0.1),
        (1, 1e-300, 0.1),
        (1, 0.099999999, 0.1),
        (5, 0.499999999, 0.5),
        (10, 0.999999999, 1.0),
        (10**6, 3600, 10**5),
    ],
)
def test_wait_when_it_exceeds_the_timeout_raises_at_once(
    kind, make_bucket, tokens, timeout, retry_after
):
    """P12: A wait one nanosecond too long is refused without waiting, and takes nothing."""
    running_clock = kind.make_clock(auto_advance=True)
    bucket = make_bucket(5, 10, clock=running_clock, initial_tokens=0)

    with pytest.raises(RateLimitExceeded) as caught:
        bucket.wait(tokens, timeout=timeout)

    assert (caught.value.retry_after, caught.value.tokens) == (retry_after, tokens)
    assert running_clock.elapsed == 0
    assert (bucket.available_tokens, bucket.retry_after(1)) == (0, 0.1)


@each("timeout", [0, 0.0, 1e-300, 1, math.inf, None])
def test_wait_when_the_tokens_are_there_takes_them_whatever_the_timeout(make_bucket, timeout):
    """P12: A timeout of 0 tries once."""
    bucket = make_bucket(5, 10)

    bucket.wait(5, timeout)

    assert bucket.available_tokens == 0


@each("timeout", [-1, -1e-9, -(10**30), -math.inf, Fraction(-1, 3)])
def test_wait_past_its_deadline_tries_once(kind, make_bucket, timeout):
    """P12: What is left of a deadline that has passed is below zero, and counts as 0."""
    running_clock = kind.make_clock(auto_advance=True)
    bucket = make_bucket(5, 10, clock=running_clock)

    bucket.wait(5, timeout)
    with pytest.raises(RateLimitExceeded) as caught:
        bucket.wait(1, timeout)

    assert caught.value.retry_after == 0.1
    assert (running_clock.elapsed, bucket.retry_after(1)) == (0, 0.1)


@each(
    ("timeout", "error"),
    [
        (math.nan, ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("1", TypeError),
    ],
)
def test_wait_with_a_meaningless_timeout_raises_and_takes_nothing(make_bucket, timeout, error):
    """P12: What is no length of time is refused even when the tokens are there."""
    bucket = make_bucket(5, 10)

    with pytest.raises(error, match=r"^timeout must be "):
        bucket.wait(1, timeout)

    assert bucket.available_tokens == 5


@each(
    ("tokens", "timeout", "message"),
    [
        (3, 0.1, "a cost of 3 can be paid in 0.3 s, but the timeout is 0.1 s"),
        (0.5, 0, "a cost of 0.5 can be paid in 0.05 s, but the timeout is 0 s"),
    ],
)
def test_wait_when_refused_says_cost_time_and_timeout(kind, make_bucket, tokens, timeout, message):
    """P12: The message has what a caller needs to choose another timeout."""
    running_clock = kind.make_clock(auto_advance=True)
    bucket = make_bucket(5, 10, clock=running_clock, initial_tokens=0)

    with pytest.raises(RateLimitExceeded) as caught:
        bucket.wait(tokens, timeout)

    text, _, label = str(caught.value).partition("; it is held up by bucket ")
    assert text == f"rate limit exceeded: {message}"
    assert label in ("", "'narrow'")


@pytest.mark.parametrize(
    ("costs", "instants"),
    [
        ([1, 1, 1], [1, 2, 3]),
        ([5, 1, 1], [5, 6, 7]),
        ([1, 8, 0.5], [1, 9, Fraction(19, 2)]),
        ([3, Fraction(1, 4), 3], [3, Fraction(13, 4), Fraction(25, 4)]),
    ],
)
def test_wait_in_a_queue_is_served_in_order(make_bucket, costs, instants):
    """P10: Whoever came first leaves first, on time, and no newcomer's `allow` overtakes."""
    bucket = make_bucket(5, 1, initial_tokens=0)

    assert bucket.serve(costs, instants) == [True] * len(costs)


@each(("level", "tokens"), [(0, 1), (0, 5), (1, 3), (0.5, 12)])
def test_wait_when_abandoned_gives_its_tokens_back(make_bucket, level, tokens):
    """P11: A caller who is cancelled or interrupted while waiting has cost nothing."""
    bucket = make_bucket(5, 1, initial_tokens=level)

    bucket.abandon(tokens)

    assert bucket.available_tokens == level
    assert bucket.retry_after(5) == 5 - level


def test_wait_when_abandoned_a_thousand_times_leaves_nothing_behind(make_bucket):
    """P14: Waits that come to nothing do not add up."""
    bucket = make_bucket(5, 1, initial_tokens=0)

    bucket.abandon(2, times=1_000)

    assert bucket.retry_after(1) == 1
    assert bucket.clock.sleepers == 0


def test_wait_above_the_capacity_leaves_no_debt_behind(make_bucket, running_clock):
    """P1: When a wait for more than the capacity is over, all its tokens have accrued."""
    bucket = make_bucket(1, 1, clock=running_clock)

    bucket.wait(3)

    assert running_clock.elapsed == 2
    assert not bucket.allow()
    running_clock.advance(1)
    assert bucket.allow()
