"""Who stands where: links, counts and sums of a line."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter.memory.draft import Draft
from rate_limiter.memory.ledger import Ledger
from rate_limiter.memory.line import Waiter, change_price, head_price, stand, take_out
from rate_limiter.memory.sums import total
from rate_limiter.sleeping import ThreadSleeper
from rate_limiter.units import read_limit


def carry_out(draft):
    for write, *args in draft.writes():
        write(*args)


def chain(line, first="first", behind="behind"):
    found, place = [], getattr(line, first)
    while place is not None:
        found.append(place.waiter)
        place = getattr(place, behind)
    return found


def check(ledger, waiters):
    """Compare a line with the waiters that should be in it, forwards and backwards."""
    if not waiters:
        assert ledger.line is None
        return
    line = ledger.line
    asleep = [waiter for waiter in waiters if waiter.sleeper is not None]
    assert chain(line) == waiters
    assert chain(line, "last", "ahead") == waiters[::-1]
    assert chain(line, "first_asleep", "asleep_behind") == asleep
    assert chain(line, "last_asleep", "asleep_ahead") == asleep[::-1]
    assert line.waiting == len(waiters)
    assert line.joint == sum(len(waiter.places) > 1 for waiter in waiters)
    linked = [other for w in waiters if w.sleeper is None for p in w.places for other in p.others]
    linked = [other for other in linked if other is not ledger]
    assert dict(line.linked or {}) == {other: linked.count(other) for other in linked}
    places = [p for waiter in waiters for p in waiter.places if p.ledger is ledger]
    for number, place in enumerate(places, 1):
        ahead = sum(place.price for place in places[:number])
        assert total(line.nodes, place.number) == ahead
    assert total(line.nodes, line.size) == sum(place.price for place in places)


@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 10**6), st.booleans()),
        max_size=30,
    )
)
def test_join_and_leave_in_any_order_keeps_two_lines_whole(moves):
    """P10: Whoever leaves, from wherever, the others stay in order in every line."""
    ledgers = [Ledger(read_limit(5, 1), 0) for _ in range(2)]
    waiters = []
    for kind, pick, asleep in moves:
        draft = Draft()
        if kind == "join":
            which = [ledgers, ledgers[:1], ledgers[1:]][pick % 3]
            waiter = Waiter(ThreadSleeper() if asleep else None)
            stand(draft, waiter, [(ledger, pick % 5 + 1) for ledger in which], 0)
            waiters.append(waiter)
        elif waiters:
            waiter = waiters.pop(pick % len(waiters))
            for place in waiter.places:
                take_out(draft, place)
        carry_out(draft)
    for ledger in ledgers:
        check(ledger, [w for w in waiters if any(p.ledger is ledger for p in w.places)])


def test_join_begins_a_line_and_ends_the_fast_path():
    """P10: Once somebody waits, nobody passes without a step."""
    ledger, draft = Ledger(read_limit(5, 1), 0), Draft()
    stand(draft, Waiter(), [(ledger, 2)], 77)
    assert (ledger.line, ledger.fast) == (None, ledger.limit)
    carry_out(draft)

    assert (ledger.line.left, ledger.line.size, ledger.fast) == (77, 1, None)
    assert ledger.line.nodes == {1: 2}


def test_join_gives_later_waiters_a_larger_order():
    """P10: Waiters of several lines are told apart by when they came."""
    ledger, another, draft = Ledger(read_limit(5, 1), 0), Ledger(read_limit(5, 1), 0), Draft()
    first, second = Waiter(), Waiter()
    for waiter in (first, second):
        stand(draft, waiter, [(ledger, 2), (another, 1)], 0)
    carry_out(draft)

    orders = [place.order for waiter in (first, second) for place in waiter.places]
    assert orders[0] == orders[1] < orders[2] == orders[3]


@pytest.mark.parametrize("price", [3, Fraction(1, 3), Fraction(1, 11), Fraction(1, 10**40)])
@pytest.mark.parametrize("changed", [False, True])
def test_join_counts_whole_units(price, changed):
    """P1: A price has no part of a unit, so that what it adds up to has none."""
    ledger, draft = Ledger(read_limit(5, 3), 0), Draft()
    waiter = Waiter()
    stand(draft, waiter, [(ledger, price)], 0)
    assert head_price(draft, ledger) >= 1
    if changed:
        change_price(draft, draft[waiter].places[0], price)
    carry_out(draft)

    counted = Fraction(ledger.line.nodes[1]) * ledger.limit.unit
    assert counted.denominator == 1
    assert counted == max(price * ledger.limit.unit // 1, 1)


def test_change_price_changes_the_sums_behind():
    """P9: Whoever is behind a repriced place waits for what it costs now."""
    ledger, draft = Ledger(read_limit(5, 1), 0), Draft()
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        stand(draft, waiter, [(ledger, 2)], 0)
    carry_out(draft)
    draft = Draft()
    change_price(draft, waiters[1].places[0], 7)
    carry_out(draft)

    check(ledger, waiters)
    assert [total(ledger.line.nodes, number) for number in (1, 2, 3)] == [2, 9, 11]


def test_ask_price_of_the_head_of_no_line_is_nothing():
    """Where nobody waits, nothing adds up for a head."""
    assert head_price(Draft(), Ledger(read_limit(5, 1), 0)) == 0
