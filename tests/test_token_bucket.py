"""The token bucket in memory: how it is made, how exactly it counts, what it refuses."""

import copy
import math
import pickle
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from each import each
from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

NANOSECOND = Fraction(1, 10**9)
BASES = [0, 1, 10**9, 2**31, 2**53 - 1, 2**53 + 1, 2**62]  # nanoseconds on the clock at first


class MailBucket(TokenBucket):
    """A user's own kind of bucket."""


def make(capacity=5, rate=1, *, base=0, **kwargs):
    """Make a bucket and its clock, which starts at `base` nanoseconds."""
    clock = ManualClock(start=base * NANOSECOND)
    return TokenBucket(capacity, rate, clock=clock, **kwargs), clock


@each(
    ("initial_tokens", "expected"),
    [
        *((None, 5), (0, 0), (0.0, 0), (5, 5), (2.5, 2.5), (Fraction(1, 4), 0.25)),
        *((Decimal(3), 3), (np.int64(3), 3), (1e-300, 0)),
    ],
)
def test_create_bucket_holds_its_initial_tokens(initial_tokens, expected):
    """A bucket starts full unless told otherwise."""
    bucket, _ = make(initial_tokens=initial_tokens)

    assert bucket.available_tokens == expected


@each("name", ["capacity", "tokens_per_second", "initial_tokens"])
@each(
    ("value", "error"),
    [
        *((-1, ValueError), (math.nan, ValueError), (math.inf, ValueError), (10**400, ValueError)),
        *((True, TypeError), ("1", TypeError), (1j, TypeError), ([1], TypeError)),
    ],
)
def test_create_bucket_with_a_bad_number_names_the_argument(name, value, error):
    """P22: The error says which of the arguments is wrong."""
    arguments = {"capacity": 5, "tokens_per_second": 1, name: value}

    with pytest.raises(error, match=f"^{name} must be "):
        TokenBucket(**arguments)


@each("value", [0, 0.0, Decimal(0)])
@each("name", ["capacity", "tokens_per_second"])
def test_create_bucket_that_could_hold_or_gain_nothing_raises(name, value):
    """P22: A capacity or a rate of 0 is refused."""
    with pytest.raises(ValueError, match=f"^{name} must be above 0, got "):
        TokenBucket(**{"capacity": 5, "tokens_per_second": 1, name: value})


@each("value", [5.001, 6, 10**300])
def test_create_bucket_with_more_tokens_than_it_holds_raises(value):
    """P4: A bucket cannot start above its capacity."""
    with pytest.raises(
        ValueError, match=r"^initial_tokens must be at most the capacity of 5, got "
    ):
        make(initial_tokens=value)


def test_create_bucket_with_a_rate_in_words_points_to_from_rate():
    """P23: Whoever passes "100/minute" as a number is told what reads it."""
    with pytest.raises(TypeError, match=r"'100/minute'.*from_rate\(\) of the same class"):
        TokenBucket(10, "100/minute")


@each("clock", [time, time.monotonic, 0, "clock", object(), [1]])
def test_create_bucket_on_what_is_no_clock_raises(clock):
    """What cannot tell the time and sleep is refused when the bucket is made."""
    with pytest.raises(TypeError, match=r"^clock must have now\(\), .*ManualClock has; got "):
        TokenBucket(5, 1, clock=clock)


@each(
    ("rate", "kwargs", "expected"),
    [
        ("100/minute", {}, (100, 100 / 60, 100)),
        ("5 per 10 seconds", {}, (5, 0.5, 5)),
        ("0.5/second", {}, (0.5, 0.5, 0.5)),
        ("100/minute", {"capacity": 10}, (10, 100 / 60, 10)),
        ("100/minute", {"capacity": None, "initial_tokens": 0}, (100, 100 / 60, 0)),
    ],
)
def test_create_bucket_from_rate_holds_the_count(rate, kwargs, expected):
    """P23: A rate in words makes a bucket of that count, unless a capacity is given."""
    bucket = TokenBucket.from_rate(rate, clock=ManualClock(), **kwargs)

    assert (bucket.capacity, bucket.tokens_per_second, bucket.available_tokens) == expected


def test_create_bucket_from_rate_makes_the_subclass():
    """A user's own kind of bucket has the same constructors."""
    assert type(MailBucket.from_rate("10/second", 2)) is MailBucket


@each(
    ("rate", "args", "error"),
    [
        ("10/fortnight", (), ValueError),
        (10, (), TypeError),
        ("10/second", (0,), ValueError),
        ("10/second", ("5",), TypeError),
    ],
)
def test_create_bucket_from_a_bad_rate_raises(rate, args, error):
    """P23: A rate that cannot be read, or a capacity that is none, makes no bucket."""
    with pytest.raises(error):
        TokenBucket.from_rate(rate, *args)


@each("base", BASES)
@each("rate", [1, 3, 0.7, 100 / 60, math.pi, 1e-6, 1e9])
@each("cost", [1, 1 / 3, 0.1, 4.75])
def test_allow_at_retry_after_succeeds_and_a_nanosecond_earlier_fails(base, rate, cost):
    """P6: The time to retry is sufficient and tight to one nanosecond, on any clock."""
    bucket, clock = make(rate=rate, base=base, initial_tokens=0)
    clock.advance(NANOSECOND)  # leaves a fraction in the bucket
    bucket.allow(bucket.available_tokens / 2)

    clock.advance(bucket.retry_after(cost))
    clock.advance(-NANOSECOND)

    assert not bucket.allow(cost)
    clock.advance(NANOSECOND)
    assert bucket.allow(cost)


@each("base", BASES)
def test_call_on_a_clock_with_any_base_gives_the_same_results(base):
    """P8: Only differences of the clock matter, never its value."""

    def results(base):
        bucket, clock = make(rate=100 / 60, base=base)
        for step in range(50):
            clock.advance(Fraction(step % 7, 9))
            yield bucket.allow(1 + step % 3 / 3), bucket.available_tokens, bucket.retry_after(4.5)
            bucket.refund(0.1)

    assert list(results(base)) == list(results(0))


@each(
    "steps",
    [
        [(0, 5, True), (-10, 0.1, False), (10, 0.1, False), (1, 1, True), (0, 0.1, False)],
        [(0, 5, True), (-1, 0.1, False), (0, 0.1, False), (2, 1, True), (0, 0.1, False)],
        [(9, 4, True), (-9, 0.1, False), (9, 1, True), (0, 0.1, False)],
        [(0, 5, True), *[(-3, 0.1, False), (3, 0.1, False)] * 10],
    ],
)
def test_allow_when_the_clock_steps_back_mints_nothing_and_recovers(steps):
    """P8: A clock that steps back gives no token twice, and all is well when it has caught up."""
    bucket, clock = make(base=10**11)

    for number, (advance, cost, expected) in enumerate(steps):
        clock.advance(advance)
        assert bucket.allow(cost) is expected, f"step {number}"
        assert bucket.available_tokens >= 0


def test_refund_above_capacity_before_the_clock_steps_back_mints_nothing():
    """P8: What a refund overflows is lost for good, not kept for a clock that steps back."""
    bucket, clock = make(base=10**11)

    bucket.refund(100)
    clock.advance(-10)

    assert not bucket.allow(0.1)


@each("jump", [5, 86_400, 10**9])
def test_allow_after_a_forward_jump_finds_the_bucket_full_once(jump):
    """P8: However far the clock jumps, the bucket fills, and no more."""
    bucket, clock = make(initial_tokens=0)

    clock.advance(jump)

    assert [bucket.allow() for _ in range(7)] == [True] * 5 + [False] * 2


@each(
    ("capacity", "rate", "elapsed"),
    [
        (5, 1, 2_000_000_001),
        (5, 100 / 60, 123_456_789),
        (5, 1e-6, 1),
        (0.3, math.pi, 10**10),
        (1000, math.pi, 184_296_261_521),
        (10**6, 1, 193_604_860_233_285),
        (10**6, 7, 26_787_075_210_958),
        (10**9, 3, 53_468_391_035_764_050),
    ],
)
def test_allow_what_is_available_is_admitted(capacity, rate, elapsed):
    """P6: The level that a bucket reports can be taken, although it is a float."""
    bucket, clock = make(capacity, rate, initial_tokens=0)
    clock.advance(elapsed * NANOSECOND)

    assert bucket.allow(bucket.available_tokens)


@each(
    ("bucket", "expected"),
    [
        (
            make(10, 0.5, initial_tokens=3)[0],
            "TokenBucket(capacity=10, tokens_per_second=0.5, available_tokens=3)",
        ),
        (
            MailBucket(2, 100 / 60, clock=ManualClock()),
            "MailBucket(capacity=2, tokens_per_second=1.66667, available_tokens=2)",
        ),
    ],
)
def test_represent_bucket_shows_terms_and_level(bucket, expected):
    """A bucket in a log says what it is and what it holds."""
    assert repr(bucket) == expected


@each("kind", [TokenBucket, MailBucket])
@each(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda bucket, n=n: pickle.dumps(bucket, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_pickle_or_copy_bucket_says_what_to_do_instead(kind, duplicate):
    """P21: A copy would be a second limit, so it is refused, with a way out."""
    bucket = kind(5, 1)

    with pytest.raises(
        TypeError, match=f"^a live {kind.__name__} cannot be pickled or copied"
    ) as e:
        duplicate(bucket)

    assert "share it by reference, and make one in each process" in str(e.value)
