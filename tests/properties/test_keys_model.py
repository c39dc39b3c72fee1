"""Keys at rest against a bucket for each key that is never dropped: nobody can tell them apart."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from rate_limiter import (
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from rate_limiter.memory import at_rest
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

CAPACITY = 4
STEPS = settings(
    max_examples=50,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Own(str):
    """A key that equals a string, by code of the user's."""

    __slots__ = ()

    def __hash__(self):
        return str.__hash__(self)

    def __eq__(self, other):
        return str.__eq__(self, other)


KEYS = st.sampled_from(["ada", "bob", Own("ada"), Own("bob"), ("ada", 1), ("ada", 1.0), None, 7])
COSTS = st.sampled_from([1, 2, 0.5, 3, 5])


def answer_of(call):
    """Return what a call answers, refusals included."""
    try:
        return call()
    except (RateLimitExceeded, CostExceedsCapacity) as error:
        return str(error), error.tokens, dict(error.levels)


class Keys(RuleBasedStateMachine):
    """The same calls of a keyed limiter, and of limiters that are kept for ever."""

    @initialize(start=st.sampled_from([0, 2**62 / 10**9]))
    def begin(self, start):
        self.clock = ManualClock(start=start)
        self.pay = self.decorated(lambda key, cost: cost)
        self.limiters = self.pay.limiter
        self.buckets = {}
        self.permits, self.reservations, self.held = [], [], []
        self.new = 0

    def decorated(self, cost):
        decorate = rate_limited(
            CAPACITY, 1, cost, block=False, key=lambda key, _: key, clock=self.clock
        )
        return decorate(lambda key, cost: True)

    def model(self, key):
        if key not in self.buckets:
            self.buckets[key] = TokenBucket(CAPACITY, 1, clock=self.clock)
        return self.buckets[key]

    def both(self, key, call):
        """Make a call of the bucket of a key, in both worlds, and compare the answers."""
        mine = answer_of(lambda: call(self.limiters[key].bucket))
        assert mine == answer_of(lambda: call(self.model(key)))

    @rule(key=KEYS, cost=COSTS)
    def call(self, key, cost):
        """A decorated call, which pays at rest wherever it can."""
        refusing = RateLimiter(self.model(key), block=False)
        paid = answer_of(lambda: self.pay(key, cost))
        assert paid == answer_of(lambda: refusing.acquire(cost).__enter__() and True)

    @rule(key=KEYS, cost=COSTS)
    def allow(self, key, cost):
        self.both(key, lambda bucket: bucket.allow(cost))

    @rule(key=KEYS)
    def look(self, key):
        self.both(key, lambda bucket: bucket.level)

    @rule(key=KEYS, cost=COSTS)
    def refund(self, key, cost):
        self.both(key, lambda bucket: bucket.refund(cost))

    @rule(key=KEYS, seconds=st.integers(0, 3))
    def pause(self, key, seconds):
        self.both(key, lambda bucket: bucket.pause(seconds))

    @rule(key=KEYS)
    def resume(self, key):
        self.both(key, lambda bucket: bucket.resume())

    @rule(key=KEYS)
    def reset(self, key):
        self.limiters.reset(key)
        self.model(key)._reset()

    @rule(key=KEYS, cost=COSTS)
    def reserve(self, key, cost):
        pair = self.limiters[key].bucket.reserve(cost), self.model(key).reserve(cost)
        assert pair[0].delay == pair[1].delay
        self.reservations.append(pair)

    @rule(pick=st.integers(0, 99), used=st.integers(0, 6), cancelled=st.booleans())
    def end_reservation(self, pick, used, cancelled):
        if self.reservations:
            for one in self.reservations.pop(pick % len(self.reservations)):
                one.cancel() if cancelled else one.settle(used)

    @rule(key=KEYS, cost=COSTS)
    def enter(self, key, cost):
        limiters = self.limiters[key], RateLimiter(self.model(key), block=False)
        with suppress(RateLimitExceeded, CostExceedsCapacity):
            self.permits.append([limiter.acquire(cost).__enter__() for limiter in limiters])

    @rule(pick=st.integers(0, 99), used=st.integers(0, 9))
    def settle(self, pick, used):
        """What was used is corrected, however long ago the tokens were taken."""
        if self.permits:
            for permit in self.permits.pop(pick % len(self.permits)):
                permit.settle(used)

    @rule(key=KEYS)
    def hold(self, key):
        self.held.append(self.limiters[key].bucket)

    @rule()
    def let_go(self):
        self.held.clear()
        gc.collect(0)

    @rule(seconds=st.sampled_from([0.25, 1, 2, 9]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(cost=st.sampled_from([1, 4]), count=st.sampled_from([1, 20, 60]), rests=st.booleans())
    def flood(self, cost, count, rests):
        """New keys have others looked at, dropped and laid to rest."""
        for _ in range(count):
            self.new += 1
            if rests:
                self.pay(self.new + 100, cost)
            else:
                assert self.limiters[self.new + 100].bucket.allow(cost)

    @invariant()
    def counts(self):
        keys, limiters = self.limiters._keys, self.limiters
        in_use = [entry.key for entry in limiters._all()]
        assert len(limiters) == len(in_use) + len(keys.full_at)
        assert not set(map(str, in_use)) & set(map(str, keys.full_at))


@pytest.mark.parametrize("traced", [False, True])
def test_keys_at_rest_are_as_buckets_that_are_never_dropped(monkeypatch, traced):
    """P24: Whatever is done through a key, at rest or in use, it is as if it kept one bucket."""
    monkeypatch.setattr(at_rest, "gettrace", lambda: print if traced else None)
    run_state_machine_as_test(Keys, settings=STEPS)


def test_flood_lays_to_rest_what_nobody_holds():
    """P24: Of keys that were all given a bucket, few have one after others have come."""
    limiters = KeyedRateLimiter.from_rate("5/hour", clock=ManualClock())
    for key in range(1_000):
        assert limiters[key].bucket.allow()
    assert (len(limiters), len(limiters._all()) < 20) == (1_000, True)
