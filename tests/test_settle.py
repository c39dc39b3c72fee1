"""Correcting what was paid once the real cost is known, and giving it all back."""

import asyncio
import math
import threading
from fractions import Fraction

import pytest

from each import each
from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


def make_limiter(capacity=10, rate=1, **policy):
    """A limiter over a bucket on a clock that stands still."""
    return RateLimiter(TokenBucket(capacity, rate, clock=ManualClock()), **policy)


def level(bucket):
    """Return the tokens that are there, or below zero those that are owed, at one a second."""
    owed = bucket.retry_after(bucket.capacity)
    return bucket.capacity - owed


@each(
    ("taken", "settled", "expected"),
    [
        (4, [4], 6),
        (4, [1], 9),
        (4, [0], 10),
        (4, [7], 3),
        (4, [10], 0),
        (4, [25], -15),
        (4, [9, 2], 8),
        (4, [25, 4], 6),
        (4, [0, 0, 3], 7),
        (4, [5, 5, 5], 5),
        (0.5, [0.25], 9.75),
        (3, [Fraction(1, 2)], 9.5),
    ],
)
def test_settle_leaves_the_level_of_the_real_cost(taken, settled, expected):
    """P9: However often it is settled, the last word is what the work has cost, exactly."""
    limiter = make_limiter()
    with limiter.acquire(taken) as permit:
        for actual in settled:
            permit.settle(actual)
    assert level(limiter.bucket) == expected
    assert limiter.bucket.available_tokens == max(expected, 0)


def test_settle_beyond_a_full_bucket_loses_the_overflow():
    """P4: Tokens that came back while the work ran are not kept beyond the capacity."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        limiter.bucket._clock.advance(3)
        permit.settle(0)
    assert level(limiter.bucket) == 10


def test_settle_after_a_long_idle_time_charges_from_now():
    """P1: Tokens that overflowed long ago pay for nothing: the excess is charged from now on."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        limiter.bucket._clock.advance(1_000)
        permit.settle(12)
    assert level(limiter.bucket) == 2


def test_settle_above_makes_callers_wait_out_the_debt():
    """P9: Whoever waits or comes later waits out the debt, to the nanosecond."""
    limiter = make_limiter()
    bucket = limiter.bucket
    with limiter.acquire(10) as permit:
        waiting = bucket.reserve(5)
        assert waiting.delay == 5
        permit.settle(12)
    assert waiting.delay == 7
    assert bucket.retry_after(1) == 8
    bucket._clock.advance(7.999_999_999)
    assert not bucket.allow()
    bucket._clock.advance(0.000_000_001)
    assert bucket.allow()


def test_settle_below_moves_the_line_up():
    """P9: Tokens that were not used serve those who wait for them at once."""
    limiter = make_limiter()
    with limiter.acquire(10) as permit:
        waiting = [limiter.bucket.reserve(cost) for cost in (5, 2)]
        permit.settle(7)
    assert [reservation.delay for reservation in waiting] == [2, 4]


@each("correct", [lambda p: p.settle(4), lambda p: p.refund()])
def test_correct_wakes_a_waiting_thread(correct):
    """P9: A sleeping thread leaves in the moment in which a permit gives its tokens back."""
    limiter, left = make_limiter(), threading.Event()
    clock = limiter.bucket._clock
    with limiter.acquire(10) as permit:
        call = threading.Thread(target=lambda: (limiter.bucket.wait(6), left.set()), daemon=True)
        call.start()
        clock.wait_for_sleepers()
        correct(permit)
    assert left.wait(5)
    assert clock.elapsed == 0


def test_correct_wakes_a_waiting_task():
    """P9: A sleeping task leaves in the moment in which a permit gives its tokens back."""

    async def main():
        limiter = make_limiter()
        async with limiter.acquire(10) as permit:
            waiting = asyncio.create_task(limiter.bucket.wait_async(6))
            await asyncio.sleep(0)
            permit.settle(4)
            await asyncio.wait_for(waiting, 5)
        return level(limiter.bucket), limiter.bucket._clock.elapsed

    assert asyncio.run(main()) == (0, 0)


@each("how", ["with", "async with", "await"])
def test_settle_in_every_kind_of_block(how):
    """A permit is settled and refunded alike however it was entered."""
    limiter = make_limiter()

    async def main():
        if how == "await":
            return await limiter.acquire(4)
        async with limiter.acquire(4) as permit:
            return permit

    if how == "with":
        with limiter.acquire(4) as permit:
            pass
    else:
        permit = asyncio.run(main())
    permit.settle(9)
    assert level(limiter.bucket) == 1
    permit.refund()
    assert level(limiter.bucket) == 10


def test_refund_twice_gives_back_once():
    """P1: A second refund gives nothing back, and neither does one after a settle to less."""
    limiter = make_limiter()
    limiter.bucket.allow(5)
    with limiter.acquire(4) as permit:
        permit.settle(3)
        permit.refund()
        permit.refund()
    assert level(limiter.bucket) == 5


def test_settle_after_refund_raises():
    """A permit that has been refunded has nothing left to settle."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        permit.refund()
        with pytest.raises(RuntimeError, match="refunded"):
            permit.settle(2)
    assert level(limiter.bucket) == 10


@pytest.mark.filterwarnings("ignore:acquire:RuntimeWarning")
def test_correct_a_permit_before_entering_raises():
    """P1: A permit that has taken nothing has nothing to give back."""
    limiter = make_limiter()
    limiter.bucket.allow(5)
    permit = limiter.acquire(4)
    with pytest.raises(RuntimeError, match="not entered"):
        permit.settle(2)
    with pytest.raises(RuntimeError, match="not entered"):
        permit.refund()
    assert level(limiter.bucket) == 5


@each("correct", [lambda p: p.settle(1), lambda p: p.refund()])
@each("policy", [{"block": False}, {"timeout": 1}])
@each("in_task", [False, True])
def test_correct_a_permit_that_was_refused_raises(correct, policy, in_task):
    """P1: A permit that was refused has taken nothing, so it can give nothing back."""
    limiter = make_limiter(**policy)
    limiter.bucket.allow(8)
    permit = limiter.acquire(4)

    async def enter():
        await permit

    with pytest.raises(RateLimitExceeded):
        asyncio.run(enter()) if in_task else permit.__enter__()
    with pytest.raises(RuntimeError):
        correct(permit)
    assert level(limiter.bucket) == 2


@each(
    ("actual", "error"),
    [
        (-1, ValueError),
        (-0.001, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("3", TypeError),
        (None, TypeError),
        (2j, TypeError),
        ({"tokens": 3}, TypeError),
        ({}, TypeError),
    ],
)
def test_settle_with_bad_input_changes_nothing(actual, error):
    """P22: What is no number of tokens is refused, and the permit can still be settled."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        with pytest.raises(error):
            permit.settle(actual)
        assert level(limiter.bucket) == 6
        permit.settle(3)
    assert level(limiter.bucket) == 7


@each(
    ("capacity", "rate", "settled", "expected"),
    [
        (20, None, 1, 9),
        (None, Fraction(17, 13), 1, 9),
        (None, 7, 6, 4),
        (20, Fraction(1, 11), 9, 1),
    ],
)
def test_settle_after_configure_counts_in_tokens(capacity, rate, settled, expected):
    """P9: A permit taken before the limit changed is settled in tokens, whatever they are now."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        limiter.bucket.configure(capacity=capacity, tokens_per_second=rate)
        assert limiter.bucket.available_tokens == 6
        permit.settle(settled)
    assert limiter.bucket.available_tokens == expected


def test_refund_after_configure_gives_back_tokens():
    """P9: A refund gives back as many tokens as were taken, though each takes longer now."""
    limiter = make_limiter()
    with limiter.acquire(4) as permit:
        limiter.bucket.configure(tokens_per_second=Fraction(1, 11))
        permit.refund()
    assert limiter.bucket.available_tokens == 10


def make_group_limiter():
    """Requests, and tokens for a model, each at one a second."""
    clock = ManualClock()
    return RateLimiter(
        BucketGroup(
            requests=TokenBucket(10, 1, clock=clock), tokens=TokenBucket(2_000, 1, clock=clock)
        )
    )


@each(
    ("settled", "requests", "tokens"),
    [
        ([{"tokens": 1_312}], 9, 688),
        ([{"tokens": 0}], 9, 2_000),
        ([{"requests": 0}], 10, 1_100),
        ([{"tokens": 3_000}, {"requests": 2}], 8, -1_000),
        ([{"tokens": 1_312}, {"tokens": 100}], 9, 1_900),
        ([{"requests": 3, "tokens": 3}], 7, 1_997),
    ],
)
def test_settle_group_corrects_the_buckets_it_names(settled, requests, tokens):
    """P7: A mapping settles the buckets that it names, and the others stay as they are."""
    limiter = make_group_limiter()
    with limiter.acquire({"requests": 1, "tokens": 900}) as permit:
        for actual in settled:
            permit.settle(actual)
    assert [level(b) for b in limiter.bucket.buckets.values()] == [requests, tokens]
    permit.refund()
    assert [level(b) for b in limiter.bucket.buckets.values()] == [10, 2_000]


def test_settle_group_on_a_bucket_that_paid_nothing_charges_it():
    """A bucket that the estimate did not name is charged what the work has cost it after all."""
    limiter = make_group_limiter()
    with limiter.acquire({"requests": 1}) as permit:
        permit.settle({"tokens": 40})
    assert [level(b) for b in limiter.bucket.buckets.values()] == [9, 1_960]


@each(
    ("actual", "match"),
    [({}, "at least one"), ({"token": 1}, "'token'"), ({"requests": 0, "tokens": -1}, "0 or more")],
)
def test_settle_group_with_bad_input_changes_nothing(actual, match):
    """P7: A mapping that is no cost of this group is refused, and no bucket is corrected."""
    limiter = make_group_limiter()
    with (
        limiter.acquire({"requests": 1, "tokens": 900}) as permit,
        pytest.raises(ValueError, match=match),
    ):
        permit.settle(actual)
    assert [level(b) for b in limiter.bucket.buckets.values()] == [9, 1_100]


@each("taken", [1, {"tokens": 1}])
@each("more", [0, 0.5])
def test_settle_beyond_100_years_raises_and_charges_nothing(taken, more):
    """P22: Nobody owes more than comes back in 100 years, whole or not, alone or in a group."""
    bucket = TokenBucket(10, 1, clock=ManualClock())
    limited = BucketGroup(tokens=bucket) if isinstance(taken, dict) else bucket
    with RateLimiter(limited).acquire(taken) as permit:
        pass
    for years, fits in ((101, False), (99, True)):
        used = years * 31_557_600 + more
        used = {"tokens": used} if isinstance(taken, dict) else used
        if fits:
            permit.settle(used)
        else:
            with pytest.raises(ValueError, match="at most what comes back in 100 years"):
                permit.settle(used)
            assert bucket.available_tokens == 9
