"""One bucket against the exact rule that it follows, on a clock that steps forth and back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

START = 1_000  # seconds; far enough from zero to step back
halves = st.integers(1, 12).map(lambda n: Fraction(n, 2))
moves = st.integers(-40, 60).map(lambda n: Fraction(n, 4))
calls = st.one_of(
    st.tuples(st.just("advance"), moves),
    st.tuples(st.just("allow"), halves),
    st.tuples(st.just("refund"), halves),
    st.tuples(st.just("settle"), halves, halves),
    st.tuples(st.just("pause"), st.integers(0, 8).map(Fraction)),
    st.tuples(st.just("resume")),
    st.tuples(st.just("configure"), st.integers(1, 6).map(Fraction), st.sampled_from([1, 2, 4])),
)


class Rule:
    """When the bucket is full, and until when it is closed, in exact seconds."""

    def __init__(self, capacity, rate):
        self.capacity, self.rate = Fraction(capacity), Fraction(rate)
        self.now = self.full_at = Fraction(START)
        self.closed_until = None

    @property
    def base(self):
        if self.closed_until is None:
            return self.full_at
        spare = max(self.capacity - 1, 0) / self.rate
        return max(self.full_at, self.closed_until + spare)

    def end_pause(self):
        if self.closed_until is not None and self.closed_until <= self.now:
            self.full_at, self.closed_until = self.base, None

    def due(self, cost):
        there = max(self.base, self.now) + (cost - self.capacity) / self.rate
        return max(there, self.closed_until or self.now, self.now)

    def advance(self, seconds):
        self.now += seconds

    def allow(self, cost):
        if cost > self.capacity or self.due(cost) > self.now:
            return False
        self.end_pause()
        self.full_at = max(self.full_at, self.now) + cost / self.rate
        return True

    def correct(self, tokens):
        self.end_pause()
        if tokens > 0:
            self.full_at = max(self.full_at, self.now) + tokens / self.rate
        else:
            self.full_at = max(self.full_at + tokens / self.rate, min(self.full_at, self.now))

    def refund(self, tokens):
        self.correct(-tokens)

    def settle(self, cost, actual):
        if self.allow(cost):
            self.correct(actual - cost)

    def pause(self, seconds):
        self.end_pause()
        if seconds and (self.closed_until or 0) < self.now + seconds:
            self.closed_until = self.now + seconds

    def resume(self):
        if self.closed_until is not None:
            self.closed_until = min(self.closed_until, self.now)
            self.end_pause()

    def configure(self, capacity, rate):
        self.end_pause()
        level = self.capacity - max(self.full_at - self.now, 0) * self.rate
        self.capacity, self.rate = capacity, Fraction(rate)
        self.full_at = max(self.now + (capacity - level) / rate, self.now)


def do(bucket, clock, call):
    """Do to the bucket what the rule does by that name."""
    match call:
        case ("advance", seconds):
            clock.advance(seconds)
        case ("settle", cost, actual):
            if bucket.retry_after(cost) == 0:
                with RateLimiter(bucket, block=False).acquire(cost) as permit:
                    permit.settle(actual)
        case (name, *args):
            return getattr(bucket, name)(*args)
    return None


@settings(max_examples=300)
@given(st.integers(1, 6), st.sampled_from([1, 2, 4]), st.lists(calls, max_size=40))
def test_follow_the_rule_whatever_the_clock_does(capacity, rate, calls):
    """P8: Refusals, levels, waits and pauses are those of the rule, on a clock that steps too."""
    clock = ManualClock(start=START)
    bucket, rule = TokenBucket(capacity, rate, clock=clock), Rule(capacity, rate)
    for name, *args in calls:
        expected = getattr(rule, name)(*args)
        answer = do(bucket, clock, (name, *args))
        assert answer == expected or name != "allow"
        closed = rule.closed_until is not None and rule.closed_until > rule.now
        for cost in (Fraction(1, 2), rule.capacity):
            assert bucket.retry_after(cost) == float(rule.due(cost) - rule.now)
        level = 0 if closed else max(rule.capacity - max(rule.base - rule.now, 0) * rule.rate, 0)
        assert bucket.available_tokens == float(level)


def test_step_back_under_a_line_tells_all_of_it_when_they_leave():
    """P6, P12: Nobody leaves before what changed last, and what overflows until then is lost."""
    clock = ManualClock(start=START)
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=clock)
    first, second = bucket.reserve(10), bucket.reserve(10)
    clock.advance(5)
    bucket.refund(1)
    clock.advance(-100)
    bucket.refund(200)
    told = first.delay, second.delay, bucket.retry_after(1), bucket.level.full_in
    assert told == (100, 110, 111, 120)
    clock.advance(100)
    told = first.delay, second.delay, bucket.retry_after(1), bucket.level.full_in
    assert told == (0, 10, 11, 20)
