"""TokenBucket and BucketGroup against a slow model that anyone can check by reading it."""

from __future__ import annotations

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
STARTS = st.sampled_from([Fraction(0), Fraction(2**62, 10**9)])


@dataclass
class Claim:
    """What somebody wants of each bucket."""

    number: int
    costs: dict[str, Fraction]
    granted: bool = False


class Model:
    """A level for each bucket and one queue; whoever is first in all its buckets is served."""

    def __init__(self, capacity, rate):
        self.capacity, self.rate, self.level = dict(capacity), dict(rate), dict(capacity)
        self.closed = dict.fromkeys(capacity, Fraction(0))  # how long pauses go on
        self.queue: list[Claim] = []

    def fork(self):
        twin = Model(self.capacity, self.rate)
        twin.level, twin.closed = dict(self.level), dict(self.closed)
        twin.queue = [Claim(claim.number, dict(claim.costs)) for claim in self.queue]
        return twin

    def first(self, claim):
        return next(c for c in self.queue if c is claim or c.costs.keys() & claim.costs.keys())

    def wait_of(self, claim):
        return max(self.wait_for(name, cost) for name, cost in claim.costs.items())

    def wait_for(self, name, cost):
        """How long until a bucket has this much, if nothing overflows meanwhile."""
        closed, rate = self.closed[name], self.rate[name]
        if not closed:
            return (cost - self.level[name]) / rate
        left = min(self.level[name] + rate * closed, self.first_token(name))
        return closed + max(cost - left, Fraction(0)) / rate

    def first_token(self, name):
        """What is there at most when a pause ends."""
        return min(Fraction(1), self.capacity[name])

    def end_pause(self, name):
        self.closed[name] = Fraction(0)
        self.level[name] = min(self.level[name], self.first_token(name))

    def ceiling(self, name):
        """What a bucket can hold: beyond its capacity while its head needs more."""
        head = next((claim for claim in self.queue if name in claim.costs), None)
        return max(self.capacity[name], head.costs[name] if head else 0)

    def pass_time(self, duration):
        while duration > 0:
            waits = [self.wait_of(claim) for claim in self.queue if self.first(claim) is claim]
            pauses = self.closed.values()
            step = min([duration, *(wait for wait in (*waits, *pauses) if wait > 0)])
            for name, rate in self.rate.items():
                self.level[name] = min(self.level[name] + rate * step, self.ceiling(name))
                if self.closed[name]:
                    self.closed[name] -= step
                    if not self.closed[name]:
                        self.end_pause(name)
            duration -= step
            self.serve()

    def serve(self):
        ready = [c for c in self.queue if self.first(c) is c and self.wait_of(c) <= 0]
        for claim in ready:
            self.queue.remove(claim)
            claim.granted = True
            for name, cost in claim.costs.items():
                left = max(self.capacity[name] - cost, Fraction(0))
                self.level[name] = min(self.level[name] - cost, left)
        if ready:
            self.serve()

    def add(self, name, tokens):
        """Charge or give back; what would overflow is lost."""
        ceiling = self.ceiling(name)
        if tokens < 0 or self.level[name] < ceiling:
            self.level[name] = min(self.level[name] + tokens, ceiling)

    def remove(self, claim):
        heads = [name for name in claim.costs if self.heads(name) is claim]
        self.queue.remove(claim)
        for name in heads:
            self.level[name] = min(self.level[name], self.capacity[name])

    def heads(self, name):
        return next((claim for claim in self.queue if name in claim.costs), None)

    def delays(self):
        """Play on until the queue is empty; return when each claim is served."""
        twin, elapsed, delays = self.fork(), Fraction(0), {}
        waiting = {claim.number: claim for claim in twin.queue}
        while twin.queue:
            firsts = [claim for claim in twin.queue if twin.first(claim) is claim]
            step = min(max(twin.wait_of(claim), Fraction(0)) for claim in firsts)
            twin.pass_time(step)
            twin.serve()
            elapsed += step
            for number in [n for n, claim in waiting.items() if claim.granted]:
                delays[number] = float(elapsed)
                del waiting[number]
        return delays


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
        self.model = Model(capacity, rate)
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
        twin.queue.append(Claim(-1, costs))
        return twin.delays()[-1]

    @rule(pick=PICK)
    def reserve(self, pick):
        bucket, costs = self.choose(pick)
        claim = Claim(self.numbers, costs)
        self.numbers += 1
        self.live.append((claim, bucket.reserve(self.tokens(costs))))
        self.model.queue.append(claim)
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
        for name, cost in costs.items():
            self.model.level[name] -= cost * taken

    @precondition(lambda self: self.live)
    @rule(pick=PICK)
    def cancel(self, pick):
        claim, reservation = self.live.pop(pick % len(self.live))
        reservation.cancel()
        if claim.granted:
            for name, cost in claim.costs.items():
                self.model.add(name, cost)
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
                self.model.add(name, claim.costs[name] - actual)
        claim.costs = used
        self.model.serve()

    @rule(pick=PICK)
    def refund(self, pick):
        bucket, costs = self.choose(pick)
        bucket.refund(self.tokens(costs))
        for name, tokens in costs.items():
            self.model.add(name, tokens)
        self.model.serve()

    @rule(pick=PICK, halves=st.integers(0, 4))
    def pause(self, pick, halves):
        bucket, costs = self.choose(pick)
        bucket.pause(Fraction(halves, 2))
        for name in costs:
            self.model.closed[name] = max(self.model.closed[name], Fraction(halves, 2))

    @rule(pick=PICK)
    def resume(self, pick):
        bucket, costs = self.choose(pick)
        bucket.resume()
        for name in costs:
            if self.model.closed[name]:
                self.model.end_pause(name)
        self.model.serve()

    @rule(pick=PICK, capacity=st.integers(1, 8), rate=RATES)
    def configure(self, pick, capacity, rate):
        name = sorted(self.single)[pick % len(self.single)]
        if self.beyond == 1:  # no cost above the capacity, so it only grows
            capacity = max(capacity, self.model.capacity[name])
        self.single[name].configure(Fraction(capacity), rate)
        self.model.capacity[name], self.model.rate[name] = Fraction(capacity), rate
        if self.model.heads(name) is None:
            self.model.level[name] = min(self.model.level[name], Fraction(capacity))
        self.model.serve()

    @rule(duration=HALVES)
    def advance(self, duration):
        self.clock.advance(duration)
        self.model.pass_time(duration)

    @invariant()
    def serve_when_the_model_does(self):
        delays = self.model.delays() if hasattr(self, "model") else {}
        for claim, reservation in getattr(self, "live", ()):
            assert reservation.delay == delays.get(claim.number, 0.0)

    @rule()
    def hold_what_the_model_does(self):
        for name, bucket in self.single.items():
            taken = self.model.heads(name) or self.model.closed[name]
            level = 0 if taken else max(self.model.level[name], 0)
            assert bucket.available_tokens == float(level)

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
