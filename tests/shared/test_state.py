"""The text that a store keeps of a bucket."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import MALFORMED

from each import each
from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.failures import BucketFailure
from rate_limiter.shared.state import State, Waiting, read, restate, written
from rate_limiter.shared.store import NOWHERE, Limit, Question
from rate_limiter.shared.terms import Terms

NOW = 1_790_000_000_123_457
SECOND = 10**6
LIMITS = [(10, 5), (10, 3), (0.5, 0.1), (1000, Fraction(22, 7)), (10, 2**52 + 1), (10**9, 10**9)]
LIMITS += [(1, Fraction(1, 86_400)), (1e-5, 0.01), (7 * 10**20, 10**12), (2.5, 7e5)]
instants = st.integers(0, 2**53 - 1)


def ask(operation, text, limit, tokens=0, longest=0, *, now=NOW):
    """Put a question about one bucket; return the answer, and the text that is kept."""
    terms = Terms(*limit)
    cost = terms.cost(tokens) if tokens else 0
    question = Question(operation, [(Limit(b"key", terms), cost)], longest, False, NOWHERE, now)
    answered, changes = answer(question, [text], now)
    return answered, changes[0].value if changes else text


def retry_after(text, limit, tokens=1, now=NOW):
    """Return the seconds until some tokens are there."""
    return ask("take", text, limit, tokens, -1, now=now)[0].wait / SECOND


@each("limit", LIMITS)
def test_write_and_read_a_state_keeps_it(limit):
    """P35: Whatever a bucket is like, its text says all of it."""
    terms = Terms(*limit)

    @settings(max_examples=20)
    @given(st.data())
    def check(data):
        units = st.integers(0, (2**53 - 1) * terms.scale)
        place = st.builds(
            Waiting, instants, instants, st.just(1), units, units, instants, st.integers(0, 1)
        )
        full_at = st.one_of(units, st.integers(-(10**15) * terms.scale, 0))
        closed = st.one_of(st.none(), st.integers(1, 2**53 - 1))
        line = st.lists(place, max_size=4)
        state = data.draw(st.builds(State, st.just(terms), full_at, closed, line))

        text = written(state, terms)

        assert read(text, terms, NOW) == state

    check()


def test_write_a_state_looks_as_documented():
    """P35: A value is an instant and a limit; then a pause, and places."""
    terms = Terms(10, Fraction(3))
    line = [Waiting(5, 9, 3, 7 * 189_000 + 1, 8 * 189_000 + 2, 11, 0)]
    full = NOW * terms.scale

    assert written(State(terms, full), terms) == "1790000000123457:189e3::10"
    assert written(State(terms, full + 21_000), terms) == "1790000000123457+21000:189e3::10"
    assert written(State(terms, full, 5), terms) == "1790000000123457:189e3::10!5"
    assert (
        written(State(terms, full, None, line), terms)
        == "1790000000123457:189e3::10;5:9:3:7:1:8:2:11:0"
    )
    assert written(State(terms, -terms.scale), terms) == "-000000000000001:189e3::10"


@each("limit", [(10, 5), (10, 3)])
@each("text", MALFORMED)
def test_read_what_is_no_bucket_is_refused(text, limit):
    """P33: Any other text is a failure of this bucket, whatever is asked of it."""
    with pytest.raises(BucketFailure, match="is not that of a bucket"):
        read(text, Terms(*limit), NOW)
    with pytest.raises(BucketFailure):
        ask("take", text, limit, 1)


def test_read_nothing_is_a_full_bucket():
    """P4: No value is a full bucket that nobody waits for."""
    terms = Terms(10, 5)

    assert read(None, terms, NOW) == State(terms, NOW * terms.scale)


@each(
    ("old", "taken", "new", "tokens", "seconds"),
    [
        ((600, 10), 600, (6, 0.1), 1, 10),
        ((5, Fraction(5, 3600)), 5, (100, Fraction(100, 3600)), 1, 36),
        ((100, 1), 40, (20, 0.1), 20, 0),
        ((1000, Fraction(1000, 3600)), 1000, (10, Fraction(10, 3600)), 1, 360),
        ((10, 1), 4, (10, 2), 10, 2),
        ((10, 1), 4, (20, 1), 20, 14),
        ((10, 1), 4, (20, 1), 6, 0),
        ((10, 1), 4, (3, 1), 3, 0),
    ],
)
def test_change_the_limit_keeps_the_level(old, taken, new, tokens, seconds):
    """P9: The tokens that are there stay, up to the new capacity."""
    _, text = ask("take", None, old, taken)

    assert retry_after(text, new, tokens) == seconds


def test_change_the_limit_in_debt_keeps_the_debt():
    """P9: What a bucket owes, it owes in tokens."""
    _, text = ask("correct", None, (10, 1), 30)

    assert retry_after(text, (10, 2)) == 10.5


def test_change_the_limit_of_a_full_bucket_leaves_it_full():
    """P9: A full bucket has no value, or one that says no more: under any limit it is full."""
    _, text = ask("take", None, (10, 1), 4)

    assert retry_after(text, (100, 1), 100, NOW + 4 * SECOND - 1) == 90.000001
    assert retry_after(text, (100, 1), 100, NOW + 4 * SECOND) == 0


def test_change_the_limit_keeps_what_came_in_since_a_pause():
    """P36: One token at the end of a pause, and on from there at the rate that it was."""
    _, text = ask("pause", None, (4, 0.2), longest=60 * SECOND)

    assert retry_after(text, (4, 20), 2, NOW + 60 * SECOND) == 0.05
    assert retry_after(text, (4, 20), 2, NOW + 64 * SECOND) == 0.01
    assert retry_after(text, (4, 20), 2, NOW + 65 * SECOND) == 0
    assert retry_after(text, (4, 20), 3, NOW + 65 * SECOND) == 0.05


def test_change_the_limit_within_a_pause_keeps_the_pause():
    """P36: A pause ends when it was to end, at any rate, with one token."""
    _, text = ask("pause", None, (4, 0.2), longest=60 * SECOND)

    assert retry_after(text, (4, 20), 1) == 60
    assert retry_after(text, (4, 20), 4) == 60.15


def test_change_the_limit_keeps_the_times_of_those_who_wait():
    """P9: Whoever has been told a time leaves then, and has its tokens at the new rate."""
    _, text = ask("take", None, (1, 1), 1)
    told, text = ask("take", text, (1, 1), 1, 10 * SECOND)
    assert told.place.due == NOW + SECOND

    assert retry_after(text, (1, 2)) == 1.5
    assert retry_after(text, (1, 2), now=NOW + SECOND) == 0.5
    renewing, text = ask("take", text, (1, 0.01), 1, 10**9)
    assert renewing.place.due == 0
    assert ask("level", text, (1, 1))[0].standings[0].waiting == 2


def test_restate_what_is_less_than_a_unit_keeps_something():
    """P2: A cost in line is never none."""
    terms, coarse = Terms(10, 3), Terms(10, 10**15)
    state = State(terms, NOW * terms.scale, None, [Waiting(1, 1, 1, 1, 0, 0, NOW + SECOND)])

    restate(state, coarse, NOW)

    assert state.line[0].cost == 1
