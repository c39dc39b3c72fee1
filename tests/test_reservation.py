"""Reservations: take now, use later."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from rate_limiter import RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


def level(bucket):
    """Return what is in the bucket; below zero is debt."""
    return bucket.capacity - bucket.retry_after(bucket.capacity) * bucket.tokens_per_second


@pytest.fixture
def clock():
    """A clock that moves when told."""
    return ManualClock()


@pytest.fixture
def bucket(clock):
    """A full bucket of ten, refilled at two a second."""
    return TokenBucket(10, 2, clock=clock)


@pytest.mark.parametrize(
    ("costs", "delays"),
    [
        ([1], [0]),
        ([10], [0]),
        ([10, 1], [0, 0.5]),
        ([6, 6, 6], [0, 1, 4]),
        ([25], [7.5]),
        ([25, 1], [7.5, 8]),
        ([Fraction(1, 4), Decimal("9.5"), 0.5], [0, 0, 0.125]),
    ],
)
def test_reserve_tells_when_tokens_may_be_used(bucket, costs, delays):
    """A delay is 0.0 if the tokens are there, or else the time until they have accrued."""
    assert [bucket.reserve(cost).delay for cost in costs] == delays


@pytest.mark.parametrize(("advance", "delay"), [(0, 2), (0.5, 1.5), (2, 0), (100, 0), (-1, 3)])
def test_delay_shrinks_as_time_passes(bucket, clock, advance, delay):
    """A delay counts from the moment it is asked for, and ends at 0."""
    reservation = bucket.reserve(14)
    clock.advance(advance)
    assert reservation.delay == delay


def test_delay_shrinks_when_somebody_ahead_cancels(bucket):
    """P11: Those behind a cancelled reservation move up at once by its tokens."""
    ahead, gone, behind, last = (bucket.reserve(cost) for cost in (12, 6, 4, 2))
    assert [r.delay for r in (ahead, gone, behind, last)] == [1, 4, 6, 7]
    gone.cancel()
    assert [r.delay for r in (ahead, behind, last)] == [1, 3, 4]


def test_cancel_head_moves_line_up_to_now(bucket, clock):
    """P11: When the head cancels, the next is served at once if its tokens are there."""
    bucket.allow(8)
    head, behind = bucket.reserve(8), bucket.reserve(3)
    clock.advance(1)
    head.cancel()
    assert behind.delay == 0
    assert level(bucket) == 1


@pytest.mark.parametrize(
    ("behind", "delays"), [((18,), [4]), ((18, 1), [4, 4.5]), ((6, 8), [0, 2]), ((10, 1), [0, 0.5])]
)
def test_cancel_head_that_outgrew_bucket_loses_what_overflows(bucket, clock, behind, delays):
    """P1: What accrued beyond the capacity for a head that leaves is not handed on."""
    bucket.allow(10)
    head = bucket.reserve(30)
    line = [bucket.reserve(cost) for cost in behind]
    clock.advance(14)
    head.cancel()
    assert [reservation.delay for reservation in line] == delays


@pytest.mark.parametrize(
    ("cost", "advance", "expected"), [(4, 0, 10), (14, 0, 10), (14, 1, 10), (14, 2, 10), (4, 1, 10)]
)
def test_cancel_twice_gives_tokens_back_once(bucket, clock, cost, advance, expected):
    """P11: The first call gives all tokens back, granted or not, and the second does nothing."""
    reservation = bucket.reserve(cost)
    clock.advance(advance)
    reservation.cancel()
    assert level(bucket) == expected
    bucket.allow(3)
    reservation.cancel()
    assert level(bucket) == expected - 3


def test_cancel_last_leaves_those_ahead_alone(bucket):
    """P5: Somebody who leaves from the end changes nothing for those ahead."""
    ahead, gone = bucket.reserve(12), bucket.reserve(6)
    gone.cancel()
    assert ahead.delay == 1
    assert level(bucket) == -2


@pytest.mark.parametrize(
    ("actual", "expected"), [(0, 10), (1, 9), (4, 6), (4.5, 5.5), (14, -4), (1000, -990)]
)
def test_settle_granted_corrects_level(bucket, actual, expected):
    """P9: What was used is charged, no more and no less, if need be as debt."""
    bucket.reserve(4).settle(actual)
    assert level(bucket) == expected


@pytest.mark.parametrize(
    ("actual", "delays"), [(16, [3, 5]), (12, [1, 3]), (8, [0, 1]), (0, [0, 0]), (2, [0, 0])]
)
def test_settle_waiting_changes_its_due_time_and_the_next(bucket, actual, delays):
    """P9: A reservation settled before its time waits for what it really uses."""
    waiting, behind = bucket.reserve(12), bucket.reserve(4)
    waiting.settle(actual)
    assert [waiting.delay, behind.delay] == delays


@pytest.mark.parametrize(("actual", "left"), [(27, 0), (12, 0), (10, 0), (4, 6), (1, 9), (0, 10)])
def test_settle_head_that_outgrew_bucket_loses_what_overflows(bucket, clock, actual, left):
    """P1, P9: What came in beyond the capacity is not there for others once the head needs less."""
    bucket.allow(10)
    head = bucket.reserve(30)
    clock.advance(14)
    head.settle(actual)
    assert (head.delay, bucket.available_tokens) == (0, left)


@pytest.mark.parametrize(("actual", "delay"), [(4, 2), (10, 5), (2, 1), (0, 0)])
def test_settle_granted_moves_line_behind(bucket, actual, delay):
    """P9: Debt is waited out by the line, and what is given back moves it up."""
    granted, behind = bucket.reserve(4), bucket.reserve(10)
    granted.settle(actual)
    assert behind.delay == delay


@pytest.mark.parametrize(
    ("advance", "actual", "expected"),
    [(1, 8, -6), (3, 8, -2), (1, 0, 2), (3, 0, 6), (6, 3, 9), (9, 0, 10)],
)
def test_settle_after_due_time_corrects_level_of_now(bucket, clock, advance, actual, expected):
    """P4: What is given back late fills the bucket and no more."""
    bucket.allow(10)
    reservation = bucket.reserve(2)
    clock.advance(advance)
    reservation.settle(actual)
    assert level(bucket) == expected


def test_settle_again_counts_from_what_was_settled_before(bucket):
    """A second correction replaces the first."""
    reservation = bucket.reserve(4)
    for actual in (9, 2, 2):
        reservation.settle(actual)
        assert level(bucket) == 10 - actual


def test_cancel_after_settle_gives_back_what_was_settled(bucket):
    """A cancelled reservation has used nothing, whatever was said before."""
    reservation = bucket.reserve(4)
    reservation.settle(7)
    reservation.cancel()
    assert level(bucket) == 10


def test_settle_after_cancel_raises_and_charges_nothing(bucket):
    """What has been given back cannot be settled."""
    reservation = bucket.reserve(4)
    reservation.cancel()
    with pytest.raises(RuntimeError, match="cancelled"):
        reservation.settle(1)
    assert level(bucket) == 10


@pytest.mark.parametrize(("timeout", "accepted"), [(2, True), (1.999999999, False), (0, False)])
def test_reserve_with_timeout_is_accepted_or_refused_at_once(bucket, timeout, accepted):
    """P12: A reservation due later than its timeout is refused and takes nothing."""
    if accepted:
        assert bucket.reserve(14, timeout).delay == 2
        return
    with pytest.raises(RateLimitExceeded) as caught:
        bucket.reserve(14, timeout)
    assert (caught.value.retry_after, caught.value.tokens) == (2, 14)
    assert level(bucket) == 10


def test_repr_tells_state(bucket):
    """A reservation shows its delay, or that it has been cancelled."""
    reservation = bucket.reserve(14)
    assert repr(reservation) == "Reservation(delay=2)"
    reservation.cancel()
    assert repr(reservation) == "Reservation(cancelled)"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ({"requests": 1}, TypeError),
    ],
)
def test_reserve_or_settle_bad_number_raises_and_changes_nothing(bucket, value, error):
    """P22: What is no number of tokens is refused by name, and nothing is charged."""
    reservation = bucket.reserve(4)
    with pytest.raises(error, match=r"tokens|TokenBucket"):
        bucket.reserve(value)
    with pytest.raises(error, match=r"tokens|TokenBucket"):
        reservation.settle(value)
    assert level(bucket) == 6


def test_reserve_nothing_raises():
    """P22: Nothing can be used, but not reserved."""
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(1, 1).reserve(0)
