"""The script counts as the ledger does, to a tick of its clock."""

import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server_clock import ServerClock, put_on_clock

from rate_limiter import RateLimitExceeded, TokenBucket
from rate_limiter.redis import RedisTokenBucket

MICROSECOND = 1e-6
LIMITS = [
    *((5, 1), (10, 3), (1, Fraction(1, 3)), (7, Fraction(100, 60)), (100, 1000), (2, 0.7)),
    *((1, 1e-6), (10**9, 10**9), (3 * 10**8, 3 * 10**8), (0.5, 0.1), (60, Fraction(1234567, 60))),
    *((1, Fraction(1, 86_400)), (1000, math.pi), (10, 2**52 + 1), (2.5, 7e5)),
    *((5, 97), (3, Fraction(43, 86_400)), (9, Fraction(89_000, 3_600)), (10, 3.33), (7, 0.123)),
]
costs = st.one_of(
    st.integers(1, 12),
    st.sampled_from([Fraction(1, 3), Fraction(1, 7), 0.1, 0.5, 2.5, Fraction(10, 3)]),
)
steps = st.one_of(
    st.tuples(st.just("advance"), st.floats(0, 3)),
    st.tuples(st.just("allow"), costs),
    st.tuples(st.just("reserve"), costs),
    st.tuples(st.just("wait"), costs),
    st.tuples(st.just("refund"), costs),  # no "pause", which the server still keeps as a debt
)


class Twins:
    """A bucket on the server and one in memory, on one clock, that must not be told apart."""

    def __init__(self, client, name, limit, start):
        self.capacity, self.rate = Fraction(limit[0]), Fraction(limit[1])
        self.clock = ServerClock(client, start=Fraction(start, 10**6))
        self.remote = RedisTokenBucket(client, name, *limit)
        self.remote._now = self.clock.now
        self.local = TokenBucket(*limit, clock=self.clock)
        self.lined_up_until = start * 1000

    def take(self, step, amount):
        """Take a step with both, scaled to what the limit is about; compare what they answer."""
        getattr(self, step)(amount * (1 if step == "advance" else self.capacity / 10))
        self.compare(self.capacity / 4)

    def advance(self, share):
        span = self.capacity / self.rate
        self.clock.advance(Fraction(math.floor(Fraction(share) * span * 10**6), 10**6))

    def allow(self, tokens):
        assert self.remote.allow(tokens) is self.local.allow(tokens)

    def reserve(self, tokens):
        delays = [bucket.reserve(tokens).delay for bucket in (self.remote, self.local)]
        assert same_time(*delays)
        self.lined_up_until = self.clock.now() + round(delays[0] * 10**9)

    def wait(self, tokens):
        """Refuse a wait that does not fit, with the same time to retry."""
        told = []
        for bucket in (self.remote, self.local):
            try:
                bucket.wait(tokens, timeout=0)
                told.append(None)
            except RateLimitExceeded as error:
                told.append(error.retry_after)
        assert told == [None, None] or same_time(*told)

    def refund(self, tokens):
        if self.clock.now() >= self.lined_up_until:  # else only the local line moves up
            self.remote.refund(tokens)
            self.local.refund(tokens)

    def compare(self, tokens):
        assert same_time(self.remote.retry_after(tokens), self.local.retry_after(tokens))
        levels = self.remote.available_tokens, self.local.available_tokens
        assert levels[0] == pytest.approx(levels[1], rel=1e-12, abs=MICROSECOND * float(self.rate))


def same_time(remote, local):
    """Tell whether the server's time is the local one, rounded up to its ticks."""
    return -1e-9 * max(1, local * 1e-6) <= remote - local <= MICROSECOND + local * 1e-12


@pytest.fixture
def run_twins(client, name, monkeypatch):
    """Run steps with a pair of buckets that nobody has used."""
    put_on_clock(monkeypatch)

    def run(limit, start, steps):
        client.delete(f"rate_limiter:{name}")
        twins = Twins(client, name, limit, start)
        for step in steps:
            twins.take(*step)

    return run


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_run_steps_agrees_with_the_bucket_in_memory(run_twins, limit):
    """P35: Any sequence of steps gives the same answers and the same times, to a microsecond."""

    @settings(max_examples=20)
    @example(start=0, steps=[("reserve", 11), ("reserve", 1)])  # within a microsecond, if fast
    @given(start=st.integers(0, 2**62 // 1000), steps=st.lists(steps, max_size=25))
    def check(start, steps):
        run_twins(limit, start, steps)

    check()


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_run_many_steps_does_not_drift(run_twins, limit):
    """P3: A steady caller at any rate is served as exactly after 100 calls as after the first."""
    run_twins(limit, 1_790_000_000_123_457, [("allow", 10), ("advance", 0.1), ("allow", 1)] * 50)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("cost", [1, 3, Fraction(1, 3)])
def test_retry_after_is_sufficient_and_tight_to_a_microsecond(
    client, name, monkeypatch, limit, cost
):
    """P6: Who comes back when told is served, and a microsecond earlier is not."""
    put_on_clock(monkeypatch)
    clock = ServerClock(client, start=1_790_000_000)
    bucket = RedisTokenBucket(client, name, *limit)
    bucket.allow(Fraction(limit[0]))
    cost = cost * Fraction(limit[0]) / 10

    delay = bucket.retry_after(cost)
    if delay > MICROSECOND:
        clock.advance(Fraction(round(delay * 10**6) - 1, 10**6))
        assert not bucket.allow(cost)
        clock.advance(Fraction(1, 10**6))
    else:
        clock.advance(delay)

    assert bucket.allow(cost)


@pytest.mark.parametrize(
    "case", [(5, 1, 5), (1, 0.1, 10), (1, 1 / 3, 3), (1, 0.01, 100), (2, 2 / 3, 3), (7, 0.7, 10)]
)
@pytest.mark.parametrize("rate", [1, 3, 1e-6, 1e9, math.pi, 1234567 / 60])
def test_allow_on_a_full_bucket_admits_exactly_its_capacity(client, name, monkeypatch, rate, case):
    """P2: At one instant a full bucket serves its capacity, in whatever fractions."""
    capacity, cost, expected = case
    put_on_clock(monkeypatch)
    ServerClock(client, start=1_790_000_000)
    bucket = RedisTokenBucket(client, name, capacity, rate)

    assert [bucket.allow(cost) for _ in range(expected + 2)] == [True] * expected + [False] * 2


@pytest.mark.parametrize("limit", [(10, 5), (10, 3)], ids=str)
@pytest.mark.parametrize("second", [8_999_999_899, 8_999_999_999, 99_999_999, 999, 0])
def test_write_and_read_any_instant_keeps_it(client, name, monkeypatch, limit, second):
    """P8: A value says to the microsecond when the bucket is full, in any year that it can."""
    put_on_clock(monkeypatch)
    clock = ServerClock(client, start=Fraction(second * 10**6 + 999_999, 10**6))
    bucket = RedisTokenBucket(client, name, *limit)

    assert bucket.allow(10)
    assert (bucket.available_tokens, bucket.allow()) == (0, False)

    clock.advance(Fraction(10, limit[1]) + Fraction(1, 10**6))
    assert bucket.available_tokens == 10
