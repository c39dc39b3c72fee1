"""Callers that want more than fits, first in line: what adds up for them is theirs alone."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from schedules import FOREVER, SECOND, World

from rate_limiter import TokenBucket
from rate_limiter.shared.line import LIFE
from rate_limiter.shared.store import Limit
from rate_limiter.shared.terms import Terms
from rate_limiter.testing import ManualClock

CAPACITY, MICROSECOND = 5, 1000
passing = st.one_of(st.sampled_from([0, 1, 4 * SECOND, 11 * SECOND]), st.integers(0, 9 * SECOND))
acting = st.one_of(
    st.tuples(st.just("join"), st.sampled_from([1, 4, 12, 30, 60])),
    st.tuples(st.just("join"), st.sampled_from([12, 30, 60])),
    st.tuples(st.just("die"), st.just(60)),
    st.tuples(st.just("leave"), st.sampled_from([0, 0, 0, 1, 2])),
    st.tuples(st.just("refund"), st.integers(1, 20)),
)


@dataclass
class Pair:
    """A bucket of one token a second in a store, and one in memory, with the same callers.

    Attributes:
        waits: Who waits in memory: a caller, its reservation, and when that leaves.
        dying: Who has died in line, and when its place is given back.
        left: Who has left in memory, and when.
    """

    world: World = field(default_factory=lambda: World.of((CAPACITY, 1)))
    clock: ManualClock = field(default_factory=ManualClock)
    waits: list = field(default_factory=list)
    dying: list = field(default_factory=list)
    left: list = field(default_factory=list)

    def __post_init__(self):
        self.bucket = TokenBucket(CAPACITY, 1, clock=self.clock)
        self.bucket.allow(CAPACITY)
        self.world.allow({0: CAPACITY})

    def advance(self, microseconds):
        end = self.world.now + microseconds
        while self.dying and self.dying[0][0] <= end:
            instant, caller = self.dying.pop(0)
            self._pass(instant - self.world.now)
            for wait in [wait for wait in self.waits if wait[0] is caller]:
                self._give_up(wait)
        self._pass(end - self.world.now)

    def _pass(self, microseconds):
        self.world.advance(microseconds)
        self.clock.advance(Fraction(microseconds, SECOND))
        self.left += [(caller, due) for caller, _, due in self.waits if due <= self.clock.now()]
        self._look()

    def _look(self):
        now = self.clock.now()
        self.waits = [
            (caller, reservation, now + round(Fraction(reservation.delay) * 10**9))
            for caller, reservation, due in self.waits
            if due > now
        ]

    def _give_up(self, wait):
        self.waits.remove(wait)
        wait[1].cancel()
        self._look()

    def act(self, kind, number):
        getattr(self, kind)(number)
        self._look()

    def join(self, cost, latency=0):
        caller, reservation = self.world.wait({0: cost}, latency), self.bucket.reserve(cost)
        due = self.clock.now() + round(Fraction(reservation.delay) * 10**9)
        self.waits.append((caller, reservation, due))
        return caller

    def die(self, cost):
        caller = self.join(cost, None)
        if caller.place.due:
            caller.gone = False  # it has its tokens, whatever becomes of it
        elif caller.place.number:
            self.dying.append((self.world.now + LIFE, caller))

    def leave(self, spot):
        if spot < len(self.waits):
            wait = self.waits[spot]
            self._give_up(wait)
            caller = wait[0]
            if caller.latency is not None:
                self.world.cancel(caller)

    def refund(self, tokens):
        self.bucket.refund(tokens)
        self.world.ask("correct", {0: -tokens})


@settings(max_examples=150)
@given(st.lists(st.tuples(passing, acting), min_size=4, max_size=25))
def test_leave_the_head_of_the_line_leaves_nothing_to_the_next(schedule):
    """P1: However a large head leaves, nobody behind it leaves sooner than in memory."""
    pair = Pair()
    start, begun = pair.world.now, pair.clock.now()
    for microseconds, act in schedule:
        pair.advance(microseconds)
        pair.act(*act)
    pair.advance(10**4 * SECOND)

    assume(not any(caller.gone for caller, _ in pair.left))  # served in memory before it was dead
    for caller, due in pair.left:
        if caller.latency is not None:
            assert (caller.left - start) * MICROSECOND >= due - begun - MICROSECOND, caller


@pytest.mark.parametrize(("longest", "lost"), [(SECOND, False), (FOREVER, True)])
def test_renew_in_vain_at_the_head_leaves_nothing_to_the_next(longest, lost):
    """P12: So it is if a renewal is refused, or finds its other place lost and takes both anew."""
    world = World.of((CAPACITY, 1), (1, 1))
    world.ask("correct", {0: CAPACITY, 1: 50})
    both = {0: 60, 1: 1}
    place, second = world.wait(both, None).place, world.wait({0: 60})
    world.advance(12 * SECOND)
    if lost:
        world.ask("reset", {1: 0})

    world.ask("renew", both, longest, place=place)
    world.advance(1000 * SECOND)

    assert second.left == world.callers[0].joined + (12 + 60 - CAPACITY) * SECOND


@pytest.mark.parametrize(
    ("capacity", "rate"), [(20, 1), (2, 1), (70, 1), (20, 2), (6, Fraction(1, 2))]
)
def test_change_the_limit_keeps_what_has_added_up_for_the_head(capacity, rate):
    """P9: The level stays, as in memory, also beyond the capacity."""
    pair = Pair()
    caller = pair.join(60)
    pair.advance(45 * SECOND)

    pair.bucket.configure(capacity=capacity, tokens_per_second=rate)
    pair.world.limits[0] = Limit(pair.world.limits[0].key, Terms(capacity, rate))
    pair.world.ask("correct", {0: 0})  # a limit holds from the first question that names it
    pair.act("refund", 1)
    pair.advance(10**4 * SECOND)

    left = (caller.left - caller.joined) * MICROSECOND
    assert abs(left - pair.left[0][1]) <= MICROSECOND
