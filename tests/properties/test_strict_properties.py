"""In no window of a strict rate is more admitted than its count, whatever callers do."""

from fractions import Fraction
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from rate_limiter import BucketGroup, CostExceedsCapacity, KeyedRateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

NANO = 10**9
RATES = st.tuples(st.integers(2, 12), st.sampled_from([1, 2, 7]))  # a count, and of how many s
COSTS = st.sampled_from([Fraction(1), Fraction(1), Fraction(2), Fraction(1, 3), Fraction(5, 2)])
PICK = st.integers(0, 10**6)
TIMES = st.sampled_from([0, 1, 500_000_000, NANO]) | st.integers(0, 3 * NANO)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("allow"), COSTS),
        st.tuples(st.just("reserve"), COSTS),
        st.tuples(st.just("cancel"), PICK),
        st.tuples(st.just("pause"), TIMES),
        st.tuples(st.just("resume"), PICK),
        st.tuples(st.just("advance"), TIMES),
        st.tuples(st.just("advance"), TIMES),
    ),
    max_size=40,
)
MAKERS = {
    "bucket": lambda rate, clock: TokenBucket.from_rate(rate, strict=True, clock=clock),
    "group": lambda rate, clock: BucketGroup.from_rate(
        f"{rate}; 40/minute", strict=True, clock=clock
    ),
    "key": lambda rate, clock: (
        KeyedRateLimiter.from_rate(rate, strict=True, clock=clock)["ada"].bucket
    ),
}


class Callers:
    """Those who were admitted and those who wait; who waits leaves when its time comes."""

    def __init__(self, bucket, clock):
        self.bucket, self.clock = bucket, clock
        self.waiting, self.left = [], []

    def make(self, kind, what):
        getattr(self, kind)(what)
        self.look()

    def allow(self, cost):
        if self.bucket.allow(cost):
            self.left.append((self.clock.now(), cost))

    def reserve(self, cost):
        try:
            self.waiting.append((self.bucket.reserve(cost), cost))
        except CostExceedsCapacity:
            assert cost > self.bucket.capacity

    def cancel(self, pick):
        if self.waiting:
            self.waiting.pop(pick % len(self.waiting))[0].cancel()

    def pause(self, time):
        self.bucket.pause(Fraction(time, NANO))

    def resume(self, _):
        self.bucket.resume()

    def advance(self, time):
        """Move from one departure to the next, so that each has its own instant."""
        end = self.clock.now() + time
        while True:
            first = min((reservation.delay for reservation, _ in self.waiting), default=None)
            if first is None or self.clock.now() + round(first * NANO) > end:
                break
            self.clock.advance(Fraction(round(first * NANO), NANO))
            self.look()
        self.clock.advance(Fraction(end - self.clock.now(), NANO))

    def look(self):
        for entry in list(self.waiting):
            if entry[0].delay == 0:
                self.waiting.remove(entry)
                self.left.append((self.clock.now(), entry[1]))


def most_in_a_window(left, length):
    """Return the most that was admitted in any window of a length, both ends included."""
    sums = [0, *accumulate(cost for _, cost in left)]
    return max(
        (
            sums[last + 1] - sums[first]
            for first, (begin, _) in enumerate(left)
            for last, (end, _) in enumerate(left)
            if first <= last and end - begin <= length
        ),
        default=0,
    )


@given(st.sampled_from(sorted(MAKERS)), RATES, MOVES)
def test_make_any_calls_admits_the_count_in_no_window_more(kind, terms, moves):
    """P1: With callers who wait, leave and are paused, no window has more than the count."""
    count, seconds = terms
    clock = ManualClock()
    callers = Callers(MAKERS[kind](f"{count} per {seconds} seconds", clock), clock)

    for move in moves:
        callers.make(*move)
    callers.advance(20 * NANO)

    assert most_in_a_window(callers.left, seconds * NANO) <= count
