"""The bucket against a naive one: a level in exact fractions, topped up as time passes."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rate_limiter import RateLimitExceeded, TokenBucket
from rate_limiter.clock import seconds
from rate_limiter.rates import real
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

SECOND = 10**9
NANOSECOND = Fraction(1, SECOND)


class Jar:
    """What a token bucket is, said as simply as possible and without any rounding."""

    def __init__(self, capacity, rate, level):
        self.capacity = capacity
        self.per_nanosecond = rate / SECOND
        self.level = level
        self.now = 0

    def advance(self, nanoseconds):
        self.now += nanoseconds
        self.level = min(self.level + nanoseconds * self.per_nanosecond, self.capacity)

    def allow(self, cost):
        if self.level < cost:
            return False
        self.level -= cost
        return True

    def refund(self, cost):
        self.level = min(self.level + cost, self.capacity)

    def delay(self, cost):
        return max(math.ceil((cost - self.level) / self.per_nanosecond), 0)

    def wait(self, cost, timeout):
        """Wait as long as it takes; return whether that fits the timeout in nanoseconds."""
        delay = self.delay(cost)
        if delay > timeout:
            return False
        self.now += delay
        self.level += delay * self.per_nanosecond - cost
        return True


amounts = st.builds(Fraction, st.integers(1, 600), st.sampled_from([1, 3, 10, 60, 1000]))
times = st.sampled_from([0, 1, SECOND]) | st.integers(0, 100 * SECOND)
steps = st.one_of(
    st.tuples(st.just("advance"), times),
    st.tuples(st.just("allow"), amounts),
    st.tuples(st.just("refund"), amounts),
    st.tuples(st.just("wait"), amounts, times),
)
terms = st.sampled_from(
    [(5, 1), (10, 100 / 60), (0.5, 0.1), (1, 1e9), (100, 1e-3), (2.5, math.pi), (3, 7 / 9)]
) | st.tuples(amounts, amounts)


def do(bucket, clock, step):
    """Do to the bucket what the jar does by that name, and answer as the jar would."""
    match step:
        case ("advance", nanoseconds):
            return clock.advance(nanoseconds * NANOSECOND)
        case ("wait", cost, timeout):
            try:
                return bucket.wait(cost, timeout * NANOSECOND) is None
            except RateLimitExceeded:
                return False
        case (name, cost):
            return getattr(bucket, name)(cost)


def shown_level(level, unit):
    """Return the nearest float, or the one below if what it reads as is more than the level."""
    nearest = float(level)
    fits = math.floor(real(nearest, "level") * unit) <= level * unit
    return nearest if fits else math.nextafter(nearest, 0.0)


@settings(max_examples=300)
@given(terms, st.integers(0, 10), st.lists(steps, max_size=30))
def test_any_steps_do_to_the_bucket_what_they_do_to_a_naive_one(terms, tenths, steps):
    """P3: After any calls in any order the bucket answers as exact arithmetic does."""
    capacity, rate = (real(term, "term") for term in terms)
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(*terms, initial_tokens=capacity * tenths / 10, clock=clock)
    jar = Jar(capacity, rate, capacity * tenths / 10)

    for step in steps:
        assert do(bucket, clock, step) == getattr(jar, step[0])(*step[1:])
        assert clock.now() == jar.now
        assert bucket.available_tokens == shown_level(jar.level, bucket._ledger.limit.unit)
        assert bucket.retry_after(capacity) == seconds(jar.delay(capacity))
