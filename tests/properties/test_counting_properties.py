"""How much is admitted, when, and that nothing but time and tokens matters."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rate_limiter import TokenBucket
from rate_limiter.rates import real
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

SECOND = 10**9
NANOSECOND = Fraction(1, SECOND)

bases = st.sampled_from([0, 2**31, 2**53 - 1, 2**53 + 1, 2**62]) | st.integers(0, 2**62)
rates = st.sampled_from([1, 100 / 60, 0.7, math.pi, 1e-6, 1e9]) | st.floats(1e-6, 1e9)
shares = st.fractions(Fraction(1, 1000), 1, max_denominator=1000)
CENTURY = 36_525 * 86_400  # seconds; no bucket may take longer to fill
capacities = st.sampled_from([1, 5, 2.5, 100]) | st.floats(0.01, 10**6)


def make(capacity, rate, *, base=0, auto_advance=False, **kwargs):
    """Make a bucket and its clock, which starts at `base` nanoseconds."""
    assume(real(capacity, "capacity") <= real(rate, "rate") * CENTURY)
    clock = ManualClock(auto_advance=auto_advance, start=base * NANOSECOND)
    return TokenBucket(capacity, rate, clock=clock, **kwargs), clock


@given(
    cost=st.sampled_from([0.1, 1 / 3, 0.01, 2 / 3, 0.7])
    | st.builds(lambda p, q: p / q, st.integers(1, 100), st.integers(1, 100)),
    count=st.integers(1, 300),
    rate=rates,
)
@example(cost=0.1, count=10, rate=1)
@example(cost=1 / 3, count=3, rate=1)
@example(cost=0.01, count=100, rate=1)
@example(cost=1 / 17, count=17, rate=1)
def test_allow_on_a_full_bucket_admits_exactly_capacity_over_cost(cost, count, rate):
    """P2: A capacity of so many times the cost is exactly so many calls, for any fraction."""
    bucket, _ = make(real(cost, "cost") * count, rate)

    assert sum(bucket.allow(cost) for _ in range(count + 2)) == count


@given(rates, st.integers(1, 1_000))
@example(1e-6, 1_000)
@example(1e9, 1_000)
@example(100 / 60, 100)
def test_wait_steadily_loses_no_fraction(rate, count):
    """P3: So many tokens take their time at the rate, and less than a nanosecond more."""
    bucket, clock = make(1, rate, auto_advance=True, initial_tokens=0)

    for _ in range(count):
        bucket.wait()

    exact = count / real(rate, "rate")
    assert exact <= clock.now() * NANOSECOND < exact + NANOSECOND


@settings(max_examples=50)
@given(rates, shares, bases)
@example(10, Fraction(1, 10), 0)
@example(1e-6, Fraction(1, 1000), 0)
@example(1e9, Fraction(1), 2**62)
def test_allow_polled_steadily_loses_no_fraction(rate, share, base):
    """P3: A caller who asks every so often has been given all whole tokens of the time gone by."""
    bucket, clock = make(3, rate, base=base, initial_tokens=0)
    step = math.ceil(share * SECOND / real(rate, "rate"))  # about a share of a token's time
    admitted = 0

    for _ in range(300):
        clock.advance(step * NANOSECOND)
        while bucket.allow():
            admitted += 1

    assert admitted == math.floor(real(rate, "rate") * (300 * step) * NANOSECOND)


@given(capacities, rates, shares, st.integers(0, 10**18), bases)
def test_idle_bucket_never_holds_more_than_its_capacity(capacity, rate, share, idle, base):
    """P4: After any time and any refund a bucket has its capacity at most."""
    bucket, clock = make(capacity, rate, base=base)
    bucket.allow(real(capacity, "capacity") * share)

    clock.advance(idle * NANOSECOND)
    bucket.refund(real(capacity, "capacity") * share)

    assert bucket.available_tokens <= capacity
    assert bucket.allow(capacity)
    assert not bucket.allow(real(capacity, "capacity") / 1000 + real(rate, "rate") * NANOSECOND)


@given(capacities, rates, shares, shares, st.integers(1, 20))
def test_allow_when_refused_changes_nothing(capacity, rate, level, more, count):
    """P5: Any number of refusals leaves the level and every wait exactly as they were."""
    whole = real(capacity, "capacity")
    bucket, _ = make(capacity, rate, initial_tokens=whole * level)
    cost = whole * (level + more)
    before = (bucket.available_tokens, bucket.retry_after(capacity), bucket._ledger.full_at)

    assert not any(bucket.allow(cost) for _ in range(count))

    assert (bucket.available_tokens, bucket.retry_after(capacity), bucket._ledger.full_at) == before


@settings(max_examples=300)
@given(capacities, rates, shares, shares, bases)
@example(5, 1e-6, Fraction(1, 1000), Fraction(1, 3), 2**62)
@example(5, 1e9, Fraction(1, 3), Fraction(1, 1000), 2**62)
def test_retry_after_is_sufficient_and_tight_to_a_nanosecond(capacity, rate, share, lack, base):
    """P6: At the time to retry the cost is admitted, and one nanosecond earlier it is not."""
    cost = real(capacity, "capacity") * share
    bucket, clock = make(capacity, rate, base=base, initial_tokens=cost * (1 - lack))
    delay = bucket.retry_after(cost)
    assume(delay < 10**6)  # beyond, a float is coarser than a nanosecond

    clock.advance(delay)
    clock.advance(-NANOSECOND)

    assert not bucket.allow(cost)
    clock.advance(NANOSECOND)
    assert bucket.allow(cost)


@given(rates, shares, st.integers(1, 10**9))
def test_retry_after_of_any_length_is_sufficient(rate, share, capacity):
    """P6: A time to retry of years, as a float, is still no less than it takes."""
    bucket, clock = make(capacity, rate, initial_tokens=0)

    clock.advance(bucket.retry_after(capacity * share))

    assert bucket.allow(capacity * share)


@given(capacities, rates, shares, st.integers(0, 10**12), bases)
def test_allow_what_is_available_is_admitted(capacity, rate, taken, idle, base):
    """P6: The level that a bucket reports can be taken, although it is a float."""
    bucket, clock = make(capacity, rate, base=base)
    bucket.allow(real(capacity, "capacity") * taken)
    clock.advance(idle * NANOSECOND)
    available = bucket.available_tokens
    assume(available > 0)

    assert bucket.allow(available)


@given(capacities, rates, bases, st.lists(st.tuples(shares, st.integers(0, 10**12)), max_size=20))
def test_call_on_a_clock_with_any_base_gives_the_same_results(capacity, rate, base, steps):
    """P8: Only differences of the clock matter, never its value."""

    def results(base):
        bucket, clock = make(capacity, rate, base=base)
        for share, advance in steps:
            clock.advance(advance * NANOSECOND)
            cost = real(capacity, "capacity") * share
            yield bucket.allow(cost), bucket.available_tokens, bucket.retry_after(cost)

    assert list(results(base)) == list(results(0))


@given(st.lists(st.integers(-(10**10), 10**10), max_size=40), rates)
def test_allow_on_a_clock_that_steps_back_mints_nothing(steps, rate):
    """P8: However the clock goes back and forth, only the farthest it has come counts."""
    bucket, clock = make(3, rate, base=10**12)
    start = farthest = clock.now()
    admitted = 0

    for step in steps:
        clock.advance(step * NANOSECOND)
        farthest = max(farthest, clock.now())
        while admitted < 1_000 and bucket.allow():
            admitted += 1

    assert admitted <= 3 + real(rate, "rate") * (farthest - start) * NANOSECOND
