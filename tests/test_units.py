"""A limit in integers, and tokens in its units."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from each import each
from rate_limiter.clock import CENTURY
from rate_limiter.rates import real
from rate_limiter.units import Limit, exact_tokens, read_cost, read_limit, read_use, units_of

TOKEN = 63 * 10**12  # the unit of a limit whose rate and capacity are whole
TERMS = [(1, 1), (5, 0.5), (10, 100 / 60), (2.5, 1e-6), (1000, 1e9), (3, math.pi), (1 / 3, 1 / 7)]
ODD = Limit(Fraction(5), Fraction(math.pi))


@each(("capacity", "rate"), TERMS)
def test_make_limit_finds_units_without_remainder(capacity, rate):
    """P3: The rate and the capacity are whole numbers of units, so no fraction is dropped."""
    limit = read_limit(capacity, rate)

    assert Fraction(limit.scale, limit.unit) * 10**9 == real(rate, "rate")
    assert Fraction(limit.span, limit.unit) == real(capacity, "capacity")
    assert {type(limit.scale), type(limit.span), type(limit.unit)} == {int}


@each(("capacity", "rate"), TERMS)
def test_read_limit_gives_back_the_floats_of_the_caller(capacity, rate):
    """What a bucket was made with is what it says it has."""
    limit = read_limit(capacity, rate)

    assert (limit.capacity, limit.tokens_per_second) == (capacity, rate)


@each(("capacity", "rate"), TERMS)
@each("parts", [*range(1, 11), 12, 60, 100, 1000, 3600, 10**9])
def test_make_limit_divides_a_token_into_the_parts_people_use(capacity, rate, parts):
    """P2: A tenth, a third or a nano-token is a whole number of units at any rate."""
    assert read_limit(capacity, rate).unit % parts == 0


@each(("capacity", "head_start"), [(5, 4), (1, 0), (0.5, 0)])
def test_make_limit_knows_how_long_before_it_is_full_a_token_is_there(capacity, head_start):
    """P36: A pause ends with one token, or all of a smaller capacity."""
    limit = read_limit(capacity, 1)

    assert limit.head_start == head_start * TOKEN
    assert limit.slack == (capacity - 1) * TOKEN


@each("capacity", [10, 1 / 3, 2**60])
def test_make_limit_of_100_years_is_the_longest(capacity):
    """P22: A bucket may take 100 years to fill, to the nanosecond, and no longer."""
    capacity = Fraction(capacity)
    longest = capacity / Fraction(CENTURY, 10**9)

    assert Limit(capacity, longest).capacity == float(capacity)
    with pytest.raises(ValueError, match=r"^capacity must be at most what comes back in 100 years"):
        Limit(capacity, longest * (1 - Fraction(1, 10**30)))


@each(
    ("capacity", "rate", "error"),
    [
        *((0, 1, ValueError), (1, 0, ValueError), (-1, 1, ValueError), (1, math.inf, ValueError)),
        *((True, 1, TypeError), (1, True, TypeError), ("1", 1, TypeError), (1, None, TypeError)),
        *((Decimal(0), 1, ValueError), (1, Fraction(-1), ValueError), (1e300, 1, ValueError)),
    ],
)
def test_read_limit_when_no_limit_raises_each_time(capacity, rate, error):
    """P22: What is no limit is refused by its name, also when it was asked for before."""
    for _ in range(2):
        with pytest.raises(error, match=r"^(capacity|tokens_per_second) must be "):
            read_limit(capacity, rate)


def test_read_limit_of_equal_terms_shares_one():
    """Buckets of one limit share it, however it was written."""
    assert read_limit(7, 3) is read_limit(7, 3)
    assert read_limit(Decimal(7), Fraction(3)) is read_limit(7.0, 3)


def test_change_limit_keeps_what_is_not_changed():
    """Another rate leaves the capacity as it is, and the other way round."""
    limit = Limit(Fraction(1, 3), Fraction(math.pi))
    faster, larger = limit.changed(None, Fraction(2)), limit.changed(Fraction(7), None)

    assert (faster.capacity, faster.tokens_per_second) == (1 / 3, 2)
    assert (larger.capacity, larger.tokens_per_second) == (7, math.pi)
    assert limit.changed(None, Fraction(1), 11).unit % 11 == 0


@each(
    ("tokens", "expected"),
    [
        *((1, TOKEN), (2, 2 * TOKEN), (1.0, TOKEN), (0.1, TOKEN // 10), (1 / 3, TOKEN // 3)),
        *((Fraction(2, 3), 2 * TOKEN // 3), (1e-9, TOKEN // 10**9), (Fraction(1, TOKEN), 1)),
        *((Fraction(14, 10 * TOKEN), 1), (Fraction(19, 10 * TOKEN), 1), (Fraction(2, TOKEN), 2)),
        *((Fraction(1, 10 * TOKEN), 1), (5e-324, 1), (2**53 - 1, (2**53 - 1) * TOKEN)),
        *((2**53, 2**53 * TOKEN), (10**300, 10**300 * TOKEN), (Decimal("0.1"), TOKEN // 10)),
    ],
)
def test_convert_cost_rounds_down_to_a_unit_and_never_to_none(tokens, expected):
    """P1, P2: A cost is its whole units, and at least one: nothing is free."""
    limit = read_limit(5, 1)

    for _ in range(2):  # the second time it is remembered
        cost = limit.cost(tokens)
        assert (cost, type(cost)) == (expected, int)


def test_convert_cost_of_one_kind_is_not_taken_for_another():
    """P22: A float that was just converted lets no bool pass, for 1.0 == True."""
    limit = read_limit(5, 1)
    limit.cost(1.0)

    with pytest.raises(TypeError, match="real number"):
        limit.cost(True)
    assert limit.cost(0.5) == TOKEN // 2


@each("capacity", [1, 5, 0.5])
@each("parts", [7, 11, 13, 17, 97, 1009, 100_003, 1_000_003])
@each("kind", [Fraction, float])
def test_convert_cost_that_divides_the_capacity_fits_as_often(capacity, parts, kind):
    """P2: So many parts of the capacity fit into it, and one part more does not."""
    limit = read_limit(capacity, 1)

    assert limit.span // limit.cost(kind(Fraction(capacity) / parts)) == parts


@each("tokens", [0, 0.0, Decimal(0), Fraction(0), 3, 0.1, 2**60])
def test_read_use_takes_what_a_cost_is_or_nothing(tokens):
    """P22: What has been used may be nothing; otherwise it is read as a cost."""
    assert read_use(tokens) == real(tokens, "tokens")


@each("tokens", [2, 2.0, Fraction(2), Decimal(2)])
def test_read_whole_cost_gives_an_int(tokens):
    """Whole numbers are ints, which are much quicker."""
    assert (read_cost(tokens), type(read_cost(tokens))) == (2, int)


@each(
    ("tokens", "error"),
    [
        *((-1, ValueError), (-0.5, ValueError), (-1e-300, ValueError), (math.nan, ValueError)),
        *((math.inf, ValueError), (10**400, ValueError), (-(10**400), ValueError)),
        *((True, TypeError), (False, TypeError), ("1", TypeError), (None, TypeError)),
        ({"requests": 1}, TypeError),
    ],
)
@each("read", [read_cost, read_use, read_limit(5, 1).cost])
def test_read_what_is_no_number_of_tokens_raises(read, tokens, error):
    """P22: What is no number of tokens is refused by its name."""
    with pytest.raises(error, match=r"^tokens must be |takes a number of tokens.*BucketGroup"):
        read(tokens)


@each("zero", [0, 0.0, -0.0, Fraction(0), Decimal("-0")])
def test_read_cost_of_nothing_raises(zero):
    """P22: A cost is above 0."""
    with pytest.raises(ValueError, match="tokens must be above 0"):
        read_cost(zero)


@given(st.integers(0, 10**40))
def test_convert_units_to_tokens_and_back_loses_none(units):
    """P3: Tokens that are made of units are as many units again."""
    tokens = exact_tokens(units, ODD)

    assert units_of(tokens, ODD) == units
    assert type(tokens) is (int if units % ODD.unit == 0 else Fraction)


@given(st.one_of(st.integers(-(10**9), ODD.span), st.integers(-5, 10**6)))
def test_show_available_tokens_such_that_taking_them_succeeds(units):
    """P6: The float that is shown costs no more than what is there, and is as near as can be."""
    tokens = ODD.available(units)

    assert tokens >= 0
    assert tokens == 0 or ODD.cost(tokens) <= units
    assert math.nextafter(tokens, math.inf) * ODD.unit >= units * (1 - 2**-50)


def test_read_limit_tells_a_float_from_the_fraction_it_equals():
    """The float 0.1 means a tenth, also after the fraction that it equals has been seen."""
    assert read_limit(Fraction(0.1), 1).span * 10 != read_limit(Fraction(0.1), 1).unit
    assert read_limit(0.1, 1).span * 10 == read_limit(0.1, 1).unit
