"""Each bucket of a group keeps its limit in every window, at the times at which callers leave."""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import accumulate
from threading import Barrier

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.testing import ManualClock

SECOND = 10**9
NANOSECOND = Fraction(1, SECOND)
LIMITS = ((20, 800), (10, 1_000), (40, 500))  # capacity and rate of three buckets
MEMBERS = ((0, 1), (1, 2), (0, 1, 2), (1,))  # of the groups that callers wait for

limits = st.tuples(st.integers(2, 12), st.sampled_from([1, 2, Fraction(7, 10), 10]))
advances = st.sampled_from([0, 1, SECOND // 10, SECOND]) | st.integers(0, 9 * SECOND)
calls = st.tuples(
    advances,
    st.sampled_from(["allow", "reserve", "reserve", "reserve", "cancel"]),
    st.sampled_from(range(len(MEMBERS))),
    st.integers(1, 8).map(lambda quarters: Fraction(quarters, 4)),
)


def make_groups(buckets):
    """Return groups that share their buckets, one of them nested, and one bucket alone."""
    a, b, c = buckets
    return BucketGroup(a, b), BucketGroup(b, c), BucketGroup(a, BucketGroup(b, c)), b


def worst_excess(left, capacity, rate):
    """Return by how much the worst of all windows is above what it may admit, exactly."""
    left = sorted(left)
    sums = [0, *accumulate(cost for _, cost in left)]
    return max(
        (
            sums[last + 1] - sums[first] - capacity - rate * (end - begin) * NANOSECOND
            for first, (begin, _) in enumerate(left)
            for last, (end, _) in enumerate(left)
            if first <= last
        ),
        default=-capacity,
    )


class Line:
    """Reservations, which leave when their time has come."""

    def __init__(self, clock):
        self.clock = clock
        self.held = []
        self.left = [[] for _ in LIMITS]  # by bucket: when, and how many tokens

    def note(self, group, cost):
        """Note that somebody leaves with tokens of each bucket of a group."""
        for bucket in MEMBERS[group]:
            self.left[bucket].append((self.clock.now(), cost))

    def pass_time(self, nanoseconds):
        """Move the clock, stopping whenever somebody's time has come."""
        end = self.clock.now() + nanoseconds
        while self.held:
            first = min(round(held.delay * SECOND) for held, _, _ in self.held)
            if self.clock.now() + first > end:
                break
            self.clock.advance(first * NANOSECOND)
            staying = []
            for held, group, cost in self.held:
                if held.delay:
                    staying.append((held, group, cost))
                else:
                    self.note(group, cost)
            self.held = staying
        self.clock.advance((end - self.clock.now()) * NANOSECOND)


@given(st.tuples(limits, limits, limits), st.lists(calls, min_size=1, max_size=25))
@example(((2, 1), (12, 10), (2, 1)), [(0, "reserve", 2, 2)] * 3 + [(SECOND, "allow", 3, 2)] * 9)
@example(((2, 1), (2, 10), (2, 1)), [(0, "reserve", 0, 2), (0, "reserve", 1, 2)] * 6)
def test_leave_groups_by_any_schedule_keeps_every_window_of_every_bucket(terms, schedule):
    """P7: Whoever held a caller back, no window of a bucket sees more than capacity + rate x T."""
    clock = ManualClock()
    buckets = [TokenBucket(capacity, rate, clock=clock) for capacity, rate in terms]
    groups, line = make_groups(buckets), Line(clock)
    for advance, call, group, cost in schedule:
        line.pass_time(advance)
        if call == "reserve":
            line.held.append((groups[group].reserve(cost), group, cost))
        elif call == "allow" and groups[group].allow(cost):
            line.note(group, cost)
        elif call == "cancel" and line.held:
            line.held.pop(len(line.held) // 2)[0].cancel()
    line.pass_time(1_000 * SECOND)

    assert line.held == []
    for (capacity, rate), left in zip(terms, line.left, strict=True):
        assert worst_excess(left, capacity, rate) <= rate * NANOSECOND


class Callers:
    """Threads and tasks that wait for groups on the machine's clock, and note when they left."""

    def __init__(self, rounds):
        self.rounds = rounds
        self.left = [[] for _ in LIMITS]

    def begin(self):
        """Make the buckets when everybody is there, full for as short a time as can be."""
        self.began = time.monotonic_ns()
        self.buckets = [TokenBucket(capacity, rate) for capacity, rate in LIMITS]
        self.groups = make_groups(self.buckets)

    def note(self, group, cost):
        for bucket in MEMBERS[group]:
            self.left[bucket].append((time.monotonic_ns(), cost))

    def costs(self, start):
        """Return groups and costs, in another order for each caller."""
        turns = range(start, start + self.rounds)
        return [(turn % len(MEMBERS), 1 + turn * 7 % 3) for turn in turns]

    def run_thread(self, start):
        for group, cost in self.costs(start):
            self.groups[group].wait(cost)
            self.note(group, cost)

    async def run_task(self, start):
        for group, cost in self.costs(start):
            await self.groups[group].wait_async(cost)
            self.note(group, cost)

    async def run_asyncio(self, start):
        await asyncio.gather(*(self.run_task(start + number) for number in range(4)))

    async def run_trio(self, start):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(self.run_task, start + number)


@pytest.mark.parametrize("rounds", [15])
def test_wait_for_groups_from_threads_and_loops_at_once_keeps_each_limit(rounds):
    """P1: Threads, asyncio and trio tasks at once leave each bucket no sooner than it allows."""
    callers = Callers(rounds)
    runs = [lambda start=start: callers.run_thread(start) for start in range(4)]
    runs += [lambda start=start: asyncio.run(callers.run_asyncio(start)) for start in (4, 8)]
    runs += [lambda: trio.run(callers.run_trio, 12)]
    together = Barrier(len(runs), action=callers.begin)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(runs)) as pool:
            ends = [pool.submit(lambda run=run: (together.wait(10), run())) for run in runs]
            for end in ends:
                end.result(30)
    finally:
        sys.setswitchinterval(interval)

    assert len(callers.left[1]) == 16 * rounds  # the bucket that is in every group
    for (capacity, rate), left in zip(LIMITS, callers.left, strict=True):
        taken = 0
        for instant, cost in sorted(left):
            taken += cost
            assert taken <= capacity + rate * (instant - callers.began) * NANOSECOND
    time.sleep(max(capacity / rate for capacity, rate in LIMITS))
    assert [bucket.available_tokens for bucket in callers.buckets] == [20, 10, 40]
