"""What every bucket does with what is no amount of tokens."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from each import each

REFUSED = [
    *((0, ValueError), (0.0, ValueError), (-1, ValueError), (-0.5, ValueError)),
    *((math.nan, ValueError), (math.inf, ValueError), (-math.inf, ValueError)),
    *((10**400, ValueError), (10**5000, ValueError), (Fraction(1, 10**400), ValueError)),
    *((Decimal("NaN"), ValueError), (Decimal("Infinity"), ValueError), (Decimal(0), ValueError)),
    *((np.float32("nan"), ValueError), (np.int64(0), ValueError), (np.float16(-1), ValueError)),
    *((True, TypeError), (False, TypeError), (np.bool_(True), TypeError)),
    *((None, TypeError), ("1", TypeError), (b"1", TypeError), (1j, TypeError), ([1], TypeError)),
]
ACCEPTED = [
    *(2, 2.0, Fraction(2), Decimal(2)),
    *(np.float16(2), np.float32(2), np.float64(2), np.int64(2), np.uint8(2)),
]


@pytest.mark.parametrize("method", ["allow", "try_consume", "wait", "refund", "retry_after"])
@each(("tokens", "error"), REFUSED)
def test_call_with_what_is_no_cost_raises_and_changes_nothing(make_bucket, method, tokens, error):
    """P22: Every call refuses the same values in the same words, and charges nothing."""
    bucket = make_bucket(5, 1, initial_tokens=2.5)

    with pytest.raises(error, match=r"^tokens must be "):
        getattr(bucket, method)(tokens)

    assert bucket.available_tokens == 2.5
    assert bucket.retry_after(5) == 2.5


@pytest.mark.parametrize("method", ["allow", "try_consume", "wait"])
@each("tokens", ACCEPTED)
def test_call_with_any_kind_of_number_charges_it(make_bucket, method, tokens):
    """P22: Two tokens are two tokens, whichever numeric type says so."""
    bucket = make_bucket(5, 1)

    getattr(bucket, method)(tokens)

    assert bucket.available_tokens == 3


@each("tokens", ACCEPTED)
def test_refund_and_retry_after_with_any_kind_of_number_count_it(make_bucket, tokens):
    """P22: Giving back and asking when read numbers as taking does."""
    bucket = make_bucket(5, 1, initial_tokens=0)

    assert bucket.retry_after(tokens) == 2
    bucket.refund(tokens)
    assert bucket.available_tokens == 2


@pytest.mark.parametrize("method", ["allow", "try_consume", "wait"])
def test_call_without_a_cost_takes_one_token(make_bucket, method):
    """One token is what a call takes if it does not say."""
    bucket = make_bucket(5, 1)

    getattr(bucket, method)()

    assert bucket.available_tokens == 4
    assert bucket.retry_after() == 0


def test_call_with_a_huge_cost_counts_it_exactly(kind, make_bucket):
    """P22: A cost of hundreds of digits, or as many as a server can count, is counted exactly."""
    capacity, rate = kind.huge
    bucket = make_bucket(capacity, rate)

    assert bucket.allow(capacity - 1)
    assert (bucket.allow(), bucket.allow(1e-6)) == (True, False)
