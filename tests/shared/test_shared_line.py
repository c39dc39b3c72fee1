"""The line in a store: who was told when to leave keeps its time, whatever the others do."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from dict_store import DictStore, DictTokenBucket
from hypothesis import given, settings
from hypothesis import strategies as st

from rate_limiter.testing import ManualClock

MICRO = 10**6
CAPACITIES = [1, 2, 5, 10]
costs = st.sampled_from([1, 1, 1, 2, 3, Fraction(1, 3), Fraction(5, 2)])
steps = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 4_000_000)),
    st.tuples(st.just("allow"), costs),
    st.tuples(st.just("reserve"), costs),
    st.tuples(st.just("reserve"), costs),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("settle"), st.integers(0, 30)),
    st.tuples(st.just("refund"), st.just(1)),
)


class Place:
    """A reservation, and what the test knows of it."""

    def __init__(self, reservation, cost, due, came):
        self.reservation = reservation
        self.cost = self.used = cost
        self.due = due
        self.came = came  # instant, and the number of the step
        self.left = None  # likewise, when it was cancelled
        self.settled = None  # likewise, when it was found to have cost nothing

    @property
    def left_early(self):
        return self.left is not None and self.left[0] < self.due

    def events(self):
        """Return what it took and gave back, each with when: who waited is first at an instant."""
        waited = self.due > self.came[0]
        if not self.left_early:
            yield (
                (self.due, 0, self.came[1]) if waited else (*self.came[:1], 1, self.came[1]),
                -self.cost,
            )
            for moment, tokens in ((self.settled, self.cost), (self.left, self.used)):
                if moment is not None:
                    yield (moment[0], 1, moment[1]), tokens


class Line:
    """A bucket of one token a second, and who came when; all instants in microseconds."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.clock = ManualClock(start=1_000)
        self.store = DictStore()
        self.bucket = self.make_bucket(capacity, 1)
        self.places, self.events, self.step = [], [], 0

    def make_bucket(self, capacity, rate):
        return DictTokenBucket(self.store, "line", capacity, rate, clock=self.clock)

    @property
    def now(self):
        return self.clock.now() // 1000

    @property
    def moment(self):
        return self.now, self.step

    @property
    def waiting(self):
        return [place for place in self.places if place.due > self.now and place.left is None]

    def take(self, step, argument):
        self.step += 1
        getattr(self, step)(argument)

    def advance(self, microseconds):
        self.clock.advance(Fraction(microseconds, MICRO))

    def allow(self, cost):
        waiting = self.waiting
        if self.bucket.allow(cost):
            assert not waiting, "overtook"
            self.events.append(((self.now, 1, self.step), -cost))

    def reserve(self, cost):
        waiting, reservation = self.waiting, self.bucket.reserve(cost)
        due = self.now + round(reservation.delay * MICRO)
        assert all(place.due <= due for place in waiting), "overtook"
        self.places.append(Place(reservation, cost, due, self.moment))

    def cancel(self, number):
        places = [place for place in self.places if place.left is None]
        if places:
            place = places[number % len(places)]
            place.reservation.cancel()
            place.left = self.moment

    def settle(self, number):
        """Find that some work that had its tokens has cost nothing."""
        places = [p for p in self.places if p.left is None and p.settled is None]
        places = [place for place in places if place.due <= self.now]
        if places:
            place = places[number % len(places)]
            place.reservation.settle(0)
            place.used, place.settled = 0, self.moment

    def refund(self, tokens):
        self.bucket.refund(tokens)
        self.events.append(((self.now, 1, self.step), tokens))

    def history(self):
        """Return all that was taken and given back, in the order in which it happened."""
        return sorted([*self.events, *(event for place in self.places for event in place.events())])

    def level_after(self, instant):
        """Play the history through in a plain bucket; it must always have had the tokens."""
        level, last = Fraction(self.capacity), 0
        rounding = Fraction(len(self.places), MICRO)  # each leaves at the next tick of the clock
        for (when, *_), tokens in [*self.history(), ((instant, 2, 0), 0)]:
            level = min(level + Fraction(when - last, MICRO), self.capacity)
            level = min(level + max(tokens, -self.capacity), self.capacity)
            assert level >= -rounding, f"took what was not there, at {when}"
            last = when
        return level


@pytest.fixture
def make_line():
    """Make lines."""
    return Line


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_leave_and_give_back_at_any_moment_never_overdraws_nor_overtakes(make_line, capacity):
    """P1, P10: However callers come, leave and give back, a bucket would have had their tokens."""

    @settings(max_examples=100)
    @given(steps=st.lists(steps, max_size=40))
    def check(steps):
        line = make_line(capacity)
        for step, argument in steps:
            line.take(step, argument)
        last = max([line.now, *(place.due for place in line.places)])
        line.clock.advance(Fraction(last - line.now, MICRO))
        level = line.level_after(line.now)
        assert line.bucket.available_tokens <= level + Fraction(1 + len(line.places), MICRO)

    check()


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_cancel_all_in_any_order_leaves_nothing_behind(make_line, capacity):
    """P14: A line that is given up is forgotten, whoever left first."""

    @settings(max_examples=60)
    @given(line_costs=st.lists(costs, max_size=12), order=st.randoms(use_true_random=False))
    def check(line_costs, order):
        line = make_line(capacity)
        assert line.bucket.allow(capacity)
        places = [line.bucket.reserve(cost) for cost in line_costs]
        line.clock.advance(Fraction(1, 4))
        order.shuffle(places)
        for place in places:
            place.cancel()
        assert line.bucket.available_tokens == 0.25
        assert line.bucket.retry_after(capacity) == capacity - 0.25

    check()


def test_cancel_behind_others_gives_the_tokens_to_who_comes_next(make_line):
    """P11: The tokens of who leaves are there for newcomers, as soon as the line has left."""
    line = make_line(5)
    assert line.bucket.allow(5)
    first, second, third = (line.bucket.reserve(2) for _ in range(3))

    second.cancel()

    assert [place.delay for place in (first, third)] == [2, 6]
    assert line.bucket.retry_after(2) == 6
    assert line.bucket.retry_after(3) == 7


def test_cancel_at_the_end_of_the_line_moves_its_end(make_line):
    """P11: Who comes next gets the place of who left last."""
    line = make_line(1)
    assert line.bucket.allow()
    places = [line.bucket.reserve() for _ in range(3)]

    places[2].cancel()
    assert line.bucket.retry_after() == 3
    places[0].cancel()
    assert line.bucket.retry_after() == 3
    places[1].cancel()
    assert line.bucket.retry_after() == 1


def test_cancel_twice_gives_back_once(make_line):
    """P5: A second cancel does nothing."""
    line = make_line(5)
    reservation = line.bucket.reserve(2)
    line.bucket.reserve(2)

    reservation.cancel()
    reservation.cancel()

    assert line.bucket.available_tokens == 3
    with pytest.raises(RuntimeError, match="has been cancelled"):
        reservation.settle(1)


def test_settle_a_reservation_that_waits_changes_what_it_costs(make_line):
    """Nobody moves up on a server, but who comes later finds what was not used, and what was."""
    line = make_line(5)
    assert line.bucket.allow(5)
    reservation = line.bucket.reserve(3)

    reservation.settle(1)
    assert (reservation.delay, line.bucket.retry_after(2)) == (3, 3)
    reservation.settle(4)
    assert line.bucket.retry_after(1) == 5
    reservation.cancel()
    assert line.bucket.retry_after(1) == 1


def test_pause_holds_who_comes_later_and_nobody_who_waits(make_line):
    """A pause admits nobody new; the promise to who waits already cannot be taken back."""
    line = make_line(1)
    assert line.bucket.allow()
    waiting = line.bucket.reserve()

    line.bucket.pause(10)

    assert (waiting.delay, line.bucket.retry_after()) == (1, 10)


def test_refund_after_the_line_has_left_counts_in_full(make_line):
    """What holds back while callers wait holds back no longer than that."""
    line = make_line(1)
    assert line.bucket.allow()
    line.bucket.reserve()
    line.clock.advance(1)

    line.bucket.refund(1)

    assert line.bucket.available_tokens == 1


def test_cancel_what_was_granted_leaves_a_later_line_alone(make_line):
    """P10: The tokens of an old reservation go back; the places of who waits now stay theirs."""
    line = make_line(1)
    assert line.bucket.allow()
    old = line.bucket.reserve()
    line.clock.advance(1.5)
    line.bucket.reserve(2)

    old.cancel()

    assert line.bucket.retry_after() == 2.5  # one second behind the one who waits


def test_refund_under_a_slower_limit_waits_for_who_was_promised_more(make_line):
    """P1: Who waits leaves at the old rate, and what is left then comes back at the new one."""
    line = make_line(2)
    old = line.make_bucket(2, 2)
    assert old.allow(2)
    assert old.reserve(2).delay > 0

    line.bucket.refund(2)

    assert line.bucket.retry_after() >= 2


def test_cancel_from_many_threads_gives_back_once(make_line):
    """P18: Threads that cancel one reservation together give it back once."""
    line = make_line(10)
    for _ in range(10):
        reservation = line.bucket.reserve(1)
        line.bucket.reserve(1)

        with ThreadPoolExecutor() as threads:
            for cancelled in [threads.submit(reservation.cancel) for _ in range(4)]:
                cancelled.result()

        assert line.bucket.available_tokens == 9
        line.bucket.refund(1)
