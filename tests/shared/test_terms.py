"""A limit in the numbers that a store counts with."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from each import each
from rate_limiter.shared.terms import LONGEST, Terms, pair, short

RATES = [5, 3, 1e-5, 1e9, 10**18, math.pi, 0.1, Fraction(1, 8_640), Fraction(1234567, 60)]
CENTURY = LONGEST // 10**6


@each("rate", RATES)
def test_make_terms_keeps_the_rate_in_numbers_that_a_double_holds(rate):
    """P3: The units of a token and of a microsecond are the rate, and fit."""
    terms = Terms(10_000, rate)

    assert max(terms.unit, terms.scale) < 2**53
    assert Fraction(terms.scale * 10**6, terms.unit) == pytest.approx(Fraction(rate), rel=1e-20)
    assert terms.span == 10_000 * terms.unit
    assert terms.head_start == 9_999 * terms.unit
    assert terms.text.encode() == terms.words[0]


@each("capacity", [0.1, 1, 2.5, 10**17])
def test_make_terms_of_any_capacity_says_it_in_the_text(capacity):
    """P35: The text of a limit is what a value ends in, and says the capacity."""
    terms = Terms(capacity, 10**9)

    assert float(terms.text.split(":")[3]) == capacity


@each("rate", [0, -1, float("nan"), Fraction(1, CENTURY + 1), 10**18 + 1])
def test_make_terms_of_a_rate_that_cannot_be_counted_is_refused(rate):
    """P22: From one token in a century to 10^18 a second."""
    with pytest.raises(ValueError, match="tokens_per_second"):
        Terms(1e-15, rate)


@each("capacity", [0, -1, float("inf"), 10**10, 1e-20])
def test_make_terms_of_a_capacity_that_cannot_be_counted_is_refused(capacity):
    """P22: At most what comes back in a century, and no less than can be told apart."""
    with pytest.raises(ValueError, match="capacity"):
        Terms(capacity, 1)


@each("tokens", [1, 3, 0.1, 2.5, Fraction(1, 3), Decimal("0.7"), 2**60])
def test_cost_of_tokens_is_rounded_down_to_units(tokens):
    """P2: What divides a capacity fits."""
    terms = Terms(10, 3)

    assert terms.cost(tokens) == math.floor(Fraction(tokens) * terms.unit)
    assert terms.amount(tokens) == Fraction(terms.cost(tokens), terms.unit)


def test_cost_of_next_to_nothing_is_a_unit():
    """P2: Nothing is free, but what has been used may be nothing."""
    terms = Terms(10, 3)

    assert terms.cost(1e-300) == 1
    assert terms.amount(0) == 0


@each("tokens", [0, -1, float("nan"), float("inf"), "1", None, True, 1j])
def test_cost_of_what_is_no_amount_is_refused(tokens):
    """P22: A cost is a positive number."""
    with pytest.raises((TypeError, ValueError), match="tokens must be"):
        Terms(10, 3).cost(tokens)


def test_count_a_charge_up_to_a_century():
    """P22: A larger charge could not be counted."""
    terms = Terms(10, 3)

    assert terms.countable(LONGEST * terms.scale)
    assert not terms.countable(LONGEST * terms.scale + 1)


@each("limit", [(10, 3), (0.3, 0.1), (1, math.pi), (10**9, 10**9)])
def test_take_all_that_is_available_succeeds(limit):
    """P6: `allow(available_tokens)` is served."""
    terms = Terms(*limit)

    for lacks in (
        0,
        1,
        terms.span // 3,
        terms.span // 7,
        terms.span - 1,
        terms.span,
        2 * terms.span,
    ):
        tokens = terms.available(lacks)
        assert not tokens or terms.cost(tokens) <= terms.span - lacks
        assert tokens == pytest.approx(max(terms.span - lacks, 0) / terms.unit)


@each(
    ("number", "text"),
    [(0, "0"), (5, "5"), (100, "100"), (1000, "1e3"), (63 * 10**9, "63e9"), (1001, "1001")],
)
def test_shorten_a_number_keeps_it(number, text):
    """P35: What a double reads is the number."""
    assert short(number) == text
    assert float(text) == number


@each("units", [0, 1, -1, 63_000, 63_001, -63_001])
def test_pair_of_units_is_whole_microseconds_and_a_remainder(units):
    """P35: The remainder is never below zero."""
    whole, rest = pair(units, 63_000)

    assert int(whole) * 63_000 + int(rest) == units
    assert 0 <= int(rest) < 63_000
