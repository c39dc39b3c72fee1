"""In no window of time is more admitted than capacity plus rate times its length."""

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rate_limiter import RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

SECOND = 10**9
NANOSECOND = Fraction(1, SECOND)

capacities = st.integers(1, 30).map(lambda thirds: Fraction(thirds, 3))
rates = st.sampled_from([Fraction(1), Fraction(100, 60), Fraction(7, 10), Fraction(10**6)]) | (
    st.fractions(Fraction(1, 1000), 1000, max_denominator=1000)
)
advances = st.sampled_from([0, 1, SECOND // 10, SECOND]) | st.integers(0, 20 * SECOND)
costs = st.builds(Fraction, st.integers(1, 120), st.sampled_from([1, 3, 10, 60, 100]))
calls = st.sampled_from(["allow", "wait", "wait up to a second"])
schedules = st.lists(st.tuples(advances, calls, costs), min_size=1, max_size=30)


def ask(bucket, call, cost):
    """Ask in one of the ways there are; return whether the cost was admitted."""
    if call == "allow":
        return bucket.allow(cost)
    try:
        bucket.wait(cost, None if call == "wait" else 1)
    except RateLimitExceeded:
        return False
    return True


def run(capacity, rate, schedule):
    """Go through a schedule; return the instants and the costs of what was admitted."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(capacity, rate, clock=clock)
    admitted = []
    for advance, call, cost in schedule:
        clock.advance(advance * NANOSECOND)
        if ask(bucket, call, cost):
            admitted.append((clock.now(), cost))
    return admitted


def worst_excess(admitted, capacity, rate):
    """Return by how much the worst of all windows is above what it may admit, exactly."""
    sums = [0, *accumulate(cost for _, cost in admitted)]
    return max(
        sums[last + 1] - sums[first] - capacity - rate * (end - begin) * NANOSECOND
        for first, (begin, _) in enumerate(admitted)
        for last, (end, _) in enumerate(admitted)
        if first <= last
    )


@given(capacities, rates, schedules)
@example(Fraction(10), Fraction(5, 3), [(0, "allow", Fraction(10)), (0, "allow", Fraction(1, 100))])
@example(Fraction(1), Fraction(1), [(SECOND, "allow", Fraction(1))] * 9)
@example(Fraction(1, 3), Fraction(10**6), [(1, "allow", Fraction(1, 10))] * 30)
def test_allow_by_any_schedule_keeps_every_window(capacity, rate, schedule):
    """P1: No window, however chosen, admits more than capacity + rate x length."""
    schedule = [(advance, "allow", min(cost, capacity)) for advance, _, cost in schedule]

    assert worst_excess(run(capacity, rate, schedule), capacity, rate) <= 0


@given(capacities, rates, schedules)
@example(Fraction(1, 3), Fraction(1), [(0, "wait", Fraction(1, 3))] * 30)
def test_wait_by_any_schedule_keeps_every_window_to_a_tick(capacity, rate, schedule):
    """P1: Nor with callers who wait, each of whom leaves within a nanosecond of the due time."""
    schedule = [(advance, call, min(cost, capacity)) for advance, call, cost in schedule]

    assert worst_excess(run(capacity, rate, schedule), capacity, rate) < rate * NANOSECOND


@given(capacities, rates, st.lists(costs, min_size=1, max_size=15))
def test_wait_for_costs_above_capacity_admits_each_when_it_has_accrued(capacity, rate, above):
    """P1: A wait for more than the capacity ends when capacity + rate x time covers all so far."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(capacity, rate, clock=clock)
    spent = 0

    for cost in above:
        bucket.wait(capacity + cost)
        spent += capacity + cost
        accrued = capacity + rate * clock.now() * NANOSECOND
        assert spent <= accrued < spent + rate * NANOSECOND
