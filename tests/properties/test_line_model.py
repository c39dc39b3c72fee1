"""TokenBucket and BucketGroup against a slow model that anyone can check by reading it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rate_limiter import BucketGroup, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.no_cover  # thousands of steps; what lines they pass is for others to say

STEPS = settings(
    max_examples=100,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
PICK = st.integers(0, 10**6)
HALVES = st.integers(1, 8).map(lambda n: Fraction(n, 2))
RATES = st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(2)])
SHARES = st.lists(st.integers(1, 6), min_size=3, max_size=3)
STARTS = st.sampled_from([Fraction(10**4), Fraction(2**62, 10**9)])  # both may step back
NEVER = -math.inf
JUMPS = st.sampled_from([Fraction(n) for n in (-40, -8, -3, -1, 10**6)])


@dataclass
class Claim:
    """What somebody wants of each bucket."""

    number: int
    costs: dict[str, Fraction]
    granted: bool = False


class Model:
    """When each bucket is full, and one queue; whoever is first in all its buckets is served.

    Instants are exact, in seconds. A clock that moves, forth or back, changes none but `now`.
    """

    def __init__(self, capacity, rate, now):
        self.capacity, self.rate, self.now = dict(capacity), dict(rate), now
        self.full = dict.fromkeys(capacity, now)  # by what was granted, and by nothing else
        self.closed = dict.fromkeys(capacity, NEVER)  # until when a pause goes on
        self.left = dict.fromkeys(capacity, now)  # before it nobody in line is served
        self.queue: list[Claim] = []

    def fork(self):
        twin = Model(self.capacity, self.rate, self.now)
        twin.full, twin.closed, twin.left = dict(self.full), dict(self.closed), dict(self.left)
        twin.queue = [Claim(claim.number, dict(claim.costs)) for claim in self.queue]
        return twin

    def first(self, claim):
        return next(c for c in self.queue if c is claim or c.costs.keys() & claim.costs.keys())

    def head(self, name):
        return next((claim for claim in self.queue if name in claim.costs), None)

    def base(self, name):
        """When a bucket is full, if nobody is served; a pause leaves one token at most."""
        lacks = self.capacity[name] - min(Fraction(1), self.capacity[name])
        return max(self.full[name], self.closed[name] + lacks / self.rate[name])

    def due(self, claim):
        """When a claim that is first in all its buckets is served."""
        return max(self.due_in(name, cost) for name, cost in claim.costs.items())

    def due_in(self, name, cost):
        there = self.base(name) + (cost - self.capacity[name]) / self.rate[name]
        return max(there, self.left[name], self.closed[name])

    def beyond(self, name, cost):
        """How long a cost above the capacity has its tokens come in after a bucket is full."""
        return max(cost - self.capacity[name], Fraction(0)) / self.rate[name]

    def floor(self, name):
        """When a bucket that holds all that it can was full: all that its head needs, too."""
        head = self.head(name)
        return self.now - (self.beyond(name, head.costs[name]) if head else 0)

    def level(self, name):
        """What can be taken from a bucket."""
        if self.head(name) or self.closed[name] > self.now:
            return Fraction(0)
        lacks = max(self.base(name) - self.now, Fraction(0)) * self.rate[name]
        return max(self.capacity[name] - lacks, Fraction(0))

    def stand(self, claim):
        """Put a claim at the end of its lines; what came in before a line begins may overflow."""
        for name in claim.costs:
            if self.head(name) is None:
                self.end_pause(name)
                self.full[name] = max(self.full[name], self.now)
                self.left[name] = self.now
        self.queue.append(claim)

    def serve(self, until=None):
        """Serve whose time has come, each as of then; return when that was."""
        until, dues = self.now if until is None else until, {}
        while True:
            firsts = [claim for claim in self.queue if self.first(claim) is claim]
            ready = [claim for claim in firsts if self.due(claim) <= until]
            if not ready:
                return dues
            for claim in ready:
                dues[claim.number] = due = self.due(claim)
                self.queue.remove(claim)
                claim.granted = True
                for name, cost in claim.costs.items():
                    self.take(name, cost, due)

    def take(self, name, cost, due):
        """Take a cost at an instant; what overflowed until then is lost."""
        start = max(self.base(name), due - self.beyond(name, cost))
        self.full[name] = start + cost / self.rate[name]
        self.closed[name], self.left[name] = NEVER, due

    def delays(self):
        """Return how long it is until each claim is served if nothing happens meanwhile."""
        dues = self.fork().serve(until=math.inf)
        return {number: float(due - self.now) for number, due in dues.items()}

    def end_pause(self, name):
        if self.closed[name] <= self.now:
            self.full[name], self.closed[name] = self.base(name), NEVER

    def change(self, name):
        """Begin any change: a pause that is over is forgotten, and nobody is served before now."""
        self.end_pause(name)
        self.left[name] = max(self.left[name], self.now)

    def charge(self, name, tokens):
        """Charge tokens, or give them back if they are below zero; what overflows is lost."""
        self.change(name)
        full, floor, span = self.full[name], self.floor(name), tokens / self.rate[name]
        self.full[name] = (
            max(full, floor) + span if span > 0 else max(full + span, min(full, floor))
        )

    def remove(self, claim):
        heads = [name for name in claim.costs if self.head(name) is claim]
        self.queue.remove(claim)
        for name in claim.costs:
            self.change(name)
        for name in heads:
            self.full[name] = max(self.full[name], self.now)

    def pause(self, name, seconds):
        if seconds:
            self.change(name)
            self.closed[name] = max(self.closed[name], self.now + seconds)

    def resume(self, name):
        if self.closed[name] != NEVER:
            self.closed[name] = min(self.closed[name], self.now)
            self.change(name)

    def configure(self, name, capacity, rate):
        self.change(name)
        lacks = (max(self.full[name], self.floor(name)) - self.now) * self.rate[name]
        lacks += capacity - self.capacity[name]
        self.capacity[name], self.rate[name] = capacity, rate
        self.full[name] = max(self.now + lacks / rate, self.floor(name))


class LineMachine(RuleBasedStateMachine):
    """Run the same calls on buckets and model; `subsets` are the buckets that callers use."""

    subsets: tuple[str, ...] = ("a",)
    beyond = 3  # the largest cost, in capacities

    @initialize(shares=SHARES, rates=st.lists(RATES, min_size=3, max_size=3), start=STARTS)
    def fill(self, shares, rates, start):
        self.clock = ManualClock(start=start)
        names = sorted({name for subset in self.subsets for name in subset})
        capacity = {name: Fraction(share) for name, share in zip(names, shares, strict=False)}
        rate = dict(zip(names, rates, strict=False))
        self.model = Model(capacity, rate, start)
        self.single = {n: TokenBucket(capacity[n], rate[n], clock=self.clock) for n in names}
        self.buckets = {subset: self.bucket_of(subset) for subset in self.subsets}
        self.live: list[tuple[Claim, object]] = []
        self.numbers = 0

    def bucket_of(self, subset):
        if len(subset) == 1:
            return self.single[subset]
        return BucketGroup(**{name: self.single[name] for name in subset})

    def choose(self, pick, least=1):
        """Read which buckets, and at what costs, from one number."""
        pick, which = divmod(pick, len(self.subsets))
        costs = {}
        for name in self.subsets[which]:
            most = int(2 * self.beyond * self.model.capacity[name])
            costs[name] = Fraction(least + pick % (most + 1 - least), 2)
            pick //= most
        return self.buckets[self.subsets[which]], costs

    def may_settle(self, claim):
        """Tell whether the model says what settling a claim does."""
        return True

    def tokens(self, costs):
        return costs if len(costs) > 1 else next(iter(costs.values()))

    def delay_of(self, costs):
        """Return when a newcomer would be served."""
        twin = self.model.fork()
        twin.stand(Claim(-1, costs))
        return twin.delays()[-1]

    @rule(pick=PICK)
    def reserve(self, pick):
        bucket, costs = self.choose(pick)
        claim = Claim(self.numbers, costs)
        self.numbers += 1
        self.live.append((claim, bucket.reserve(self.tokens(costs))))
        self.model.stand(claim)
        self.model.serve()

    @rule(pick=PICK)
    def reserve_too_soon(self, pick):
        bucket, costs = self.choose(pick)
        delay = self.delay_of(costs)
        if delay:
            with pytest.raises(RateLimitExceeded) as caught:
                bucket.reserve(self.tokens(costs), timeout=delay - 0.25)
            assert caught.value.retry_after == delay

    @rule(pick=PICK)
    def allow(self, pick):
        bucket, costs = self.choose(pick)
        fits = all(cost <= self.model.capacity[name] for name, cost in costs.items())
        delay = self.delay_of(costs)
        assert bucket.retry_after(self.tokens(costs)) == (delay if fits else float("inf"))
        taken = bucket.allow(self.tokens(costs))
        assert taken == (fits and delay == 0)
        for name, cost in costs.items() if taken else ():
            self.model.take(name, cost, self.model.now)

    @precondition(lambda self: self.live)
    @rule(pick=PICK)
    def cancel(self, pick):
        claim, reservation = self.live.pop(pick % len(self.live))
        reservation.cancel()
        if claim.granted:
            for name, cost in claim.costs.items():
                self.model.charge(name, -cost)
        else:
            self.model.remove(claim)
        self.model.serve()

    @precondition(lambda self: self.live)
    @rule(pick=PICK, numerators=st.lists(st.integers(0, 12), min_size=3, max_size=3))
    def settle(self, pick, numerators):
        claim, reservation = self.live[pick % len(self.live)]
        if not self.may_settle(claim):
            return
        highest = {name: self.beyond * self.model.capacity[name] for name in claim.costs}
        used = {
            name: min(Fraction(numerator, 2), highest[name])
            for name, numerator in zip(claim.costs, numerators, strict=False)
        }
        reservation.settle(self.tokens(used))
        for name, actual in used.items():
            if claim.granted:
                self.model.charge(name, actual - claim.costs[name])
            else:
                self.model.change(name)
        claim.costs = used
        self.model.serve()

    @rule(pick=PICK)
    def refund(self, pick):
        bucket, costs = self.choose(pick)
        bucket.refund(self.tokens(costs))
        for name, tokens in costs.items():
            self.model.charge(name, -tokens)
        self.model.serve()

    @rule(pick=PICK, halves=st.integers(0, 4))
    def pause(self, pick, halves):
        bucket, costs = self.choose(pick)
        bucket.pause(Fraction(halves, 2))
        for name in costs:
            self.model.pause(name, Fraction(halves, 2))

    @rule(pick=PICK)
    def resume(self, pick):
        bucket, costs = self.choose(pick)
        bucket.resume()
        for name in costs:
            self.model.resume(name)
        self.model.serve()

    @rule(pick=PICK, capacity=st.integers(1, 8), rate=RATES)
    def configure(self, pick, capacity, rate):
        name = sorted(self.single)[pick % len(self.single)]
        if self.beyond == 1:  # no cost above the capacity, so it only grows
            capacity = max(capacity, self.model.capacity[name])
        self.single[name].configure(Fraction(capacity), rate)
        self.model.configure(name, Fraction(capacity), rate)
        self.model.serve()

    @rule(duration=HALVES)
    def advance(self, duration):
        self.clock.advance(duration)
        self.model.now += duration
        self.model.serve()

    @rule(jump=JUMPS)
    def step(self, jump):
        self.advance(jump)

    @invariant()
    def serve_when_the_model_does(self):
        delays = self.model.delays() if hasattr(self, "model") else {}
        for claim, reservation in getattr(self, "live", ()):
            assert reservation.delay == delays.get(claim.number, 0.0)

    @rule()
    def hold_what_the_model_does(self):
        for name, bucket in self.single.items():
            assert bucket.available_tokens == float(self.model.level(name))

    def teardown(self):
        if hasattr(self, "single"):
            self.hold_what_the_model_does()


class GroupMachine(LineMachine):
    """Overlapping groups in different order, and callers of single buckets among them."""

    subsets = ("a", "b", "ab", "ca", "bc", "abc")
    beyond = 1


class LargeGroupMachine(GroupMachine):
    """The same with costs above the capacities."""

    beyond = 3

    def may_settle(self, claim):
        """What overflows of a price that is raised while it waits elsewhere is left open."""
        return claim.granted


@pytest.mark.parametrize("machine", [LineMachine, GroupMachine, LargeGroupMachine])
def test_serve_any_calls_in_any_order_as_model_does(machine):
    """P1 to P9: Grants, delays, refusals and levels are the model's, whatever came before."""
    run_state_machine_as_test(machine, settings=STEPS)
