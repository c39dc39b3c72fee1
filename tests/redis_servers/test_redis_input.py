"""Which numbers buckets on a server take, and that what they refuse changes nothing."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from redis_worlds import SLOW, WORLDS, about, expires_at, name_of

from each import each
from rate_limiter import (
    BackendError,
    BucketGroup,
    CostExceedsCapacity,
    RateLimiter,
    RateLimitExceeded,
)
from rate_limiter.shared.terms import Terms

CENTURY = 100 * 36_525 * 864  # seconds
PAST = [-1, -0.5, np.float16(-1), -math.inf]  # as timeouts, deadlines that have passed
UNLIMITED = [math.inf, Decimal("Infinity")]  # as timeouts, no limits
NO_NUMBERS = [
    *((math.nan, ValueError), (10**400, ValueError), (10**5000, ValueError)),
    *((Decimal("NaN"), ValueError), (np.float32("nan"), ValueError)),
    *((True, TypeError), (False, TypeError), (np.bool_(True), TypeError)),
    *(("1", TypeError), (b"1", TypeError), (1j, TypeError), ([1], TypeError)),
]
NEGATIVE = [
    *((value, ValueError) for value in (*PAST, *UNLIMITED, np.float64("inf"))),
    *NO_NUMBERS,
]
ZERO = [
    *((0, ValueError), (0.0, ValueError), (-0.0, ValueError), (Decimal(0), ValueError)),
    *((np.int64(0), ValueError), (Fraction(1, 10**400), ValueError)),
]
REFUSED = [*NEGATIVE, *ZERO]
NONE = [(None, TypeError)]
NO_TIMES = [
    *((math.nan, ValueError), (10**400, ValueError), (10**5000, ValueError)),
    *((Decimal("NaN"), ValueError), (np.float32("nan"), ValueError)),
    *(row for row in NEGATIVE if row[1] is TypeError),
]


class Whole(int):
    """An int of a class of its own."""


class Real(float):
    """A float of a class of its own."""


ACCEPTED = [
    *(2, 2.0, Fraction(2), Decimal(2), Decimal("2.000"), Whole(2), Real(2)),
    *(np.float16(2), np.float32(2), np.float64(2), np.int64(2), np.uint8(2)),
]
RATES = [
    *(
        math.pi,
        1e9,
        1e-6,
        1234567 / 60,
        2**53 - 1,
        Fraction(1, 7),
        100 / 60,
        0.1,
        1 / 3,
        1 / 86_400,
    ),
    *(math.e * 1e5, 2**52 + 1, 1e12, Fraction(10**9 + 7, 10**9 + 9), Decimal("0.000001"), 1e-9),
]


def kind(value):
    """Name a row of a table without printing the value, which may have thousands of digits."""
    return getattr(value, "__name__", type(value).__name__)


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def bucket(world, name):
    """Hold five tokens of ten."""
    bucket = world.bucket(world.client(), name)
    assert world.run(bucket.allow(5))
    return bucket


@pytest.fixture
def state(client, name):
    """Tell what is on the server under the key of the bucket, and when it goes away."""
    key = f"rate_limiter:{name}"
    return lambda: (client.get(key), expires_at(client, key))


@each(("value", "error"), [*REFUSED, *NONE])
@each("argument", ["capacity", "tokens_per_second"])
def test_make_bucket_with_what_is_no_number_names_the_argument(world, argument, value, error):
    """P22: A bucket is not made with such a number, in the words of a bucket in memory."""
    terms = {"capacity": 10, "tokens_per_second": 1, argument: value}

    with pytest.raises(error, match=rf"^{argument} must be "):
        world.bucket_type(world.make_client(), "name", **terms)


@pytest.mark.parametrize("value", ACCEPTED, ids=kind)
def test_make_bucket_with_any_kind_of_number_takes_it(world, name, value):
    """P22: Two is two, whichever numeric type says so."""
    bucket = world.bucket(world.client(), name, value, value)

    assert (bucket.capacity, bucket.tokens_per_second) == (2, 2)
    assert world.run(bucket.allow(value))
    assert 0.9 < world.run(bucket.retry_after(value)) <= 1


@each(("value", "error"), REFUSED)
def test_configure_or_make_from_rate_with_what_is_no_number_refuses_it(bucket, world, value, error):
    """P22: A limit that is refused later is not changed; a rate in words has no such capacity."""
    for argument in ("capacity", "tokens_per_second"):
        with pytest.raises(error, match=rf"^{argument} must be "):
            bucket.configure(**{argument: value})
    with pytest.raises(error, match=r"^capacity must be "):
        world.bucket_type.from_rate(world.make_client(), "name", "5/second", value)

    assert (bucket.capacity, bucket.tokens_per_second) == (10, SLOW)


def test_create_bucket_with_a_rate_in_words_points_to_from_rate(world):
    """P23: Whoever passes "5/second" as a number is told what reads it."""
    with pytest.raises(TypeError, match=r"'5/second'.*from_rate\(\) of the same class"):
        world.bucket_type(world.make_client(), "name", 10, "5/second")


@each("rate", ["fast", "0/second", "5/fortnight", "5", "-5/second", "1e3/s", ""])
def test_make_from_rate_with_words_that_say_none_shows_the_forms(world, rate):
    """P23: What is no rate in words is refused with examples of what is one."""
    with pytest.raises(ValueError, match=r"'10/second', '100 per minute' or '5 per 10 seconds'"):
        world.bucket_type.from_rate(world.make_client(), "name", rate)


@each(("value", "error"), [*REFUSED, *NONE])
def test_ask_for_what_is_no_cost_raises_and_changes_nothing(world, bucket, state, value, error):
    """P22: Every way to name a cost refuses the same values, and leaves the server as it was."""
    run, before = world.run, state()
    limiter, group = RateLimiter(bucket), BucketGroup(named=bucket)
    asks = [*(bucket.reserve, bucket.refund, bucket.allow, bucket.wait, bucket.retry_after)]
    asks += [limiter.acquire, limiter.cost]
    if (value, error) not in ZERO:  # a group leaves a bucket alone that costs 0
        asks += [lambda cost: group.reserve({"named": cost})]

    for ask in asks:
        with pytest.raises(error, match=r"^tokens must be "):
            run(ask(value))

    assert state() == before


@pytest.mark.parametrize("value", ACCEPTED, ids=kind)
def test_ask_for_any_kind_of_number_counts_it(world, bucket, value):
    """P22: Reservations, permits and groups read numbers as buckets do."""
    run, group = world.run, BucketGroup(named=bucket)

    reservation = run(bucket.reserve(value))
    permit = world.enter(RateLimiter(group).acquire({"named": value}))
    assert run(bucket.available_tokens) == about(1)
    run(reservation.settle(value * value))
    assert run(bucket.retry_after(value)) == pytest.approx(3000, rel=0.05)
    run(permit.settle({"named": value / 2}))
    assert run(bucket.available_tokens) == about(0)


@each(("value", "error"), [*NEGATIVE, *NONE])
def test_settle_or_pause_with_what_is_no_amount_raises_and_changes_nothing(
    world, bucket, state, value, error
):
    """P22: What was used, and how long to pause, may be nothing, but not less."""
    run = world.run
    reservation, permit = run(bucket.reserve(1)), world.enter(RateLimiter(bucket))
    before = state()

    for ask, what in (
        (reservation.settle, "tokens"),
        (permit.settle, "tokens"),
        (bucket.pause, "seconds"),
    ):
        with pytest.raises(error, match=rf"^{what} must be "):
            run(ask(value))

    assert state() == before
    run(reservation.cancel())
    run(permit.refund())
    assert run(bucket.available_tokens) == about(5)


@pytest.mark.parametrize("nothing", [0, 0.0, Fraction(0), Decimal(0), np.int64(0)])
def test_settle_or_pause_with_nothing_is_fine(world, bucket, nothing):
    """P22: Nothing was used; nobody is to wait."""
    run = world.run
    run(run(bucket.reserve(1)).settle(nothing))
    run(world.enter(RateLimiter(bucket)).settle(nothing))
    assert run(bucket.available_tokens) == about(5)

    run(bucket.pause(nothing))
    assert run(bucket.available_tokens) == about(5)


@each(("value", "error"), NO_NUMBERS)
def test_wait_with_a_meaningless_timeout_raises_and_changes_nothing(
    world, bucket, state, value, error
):
    """P12: What is no length of time is refused even when the tokens are there."""
    before = state()

    for ask in (bucket.wait, bucket.reserve):
        with pytest.raises(error, match=r"^timeout must be "):
            world.run(ask(1, value))

    assert state() == before


@pytest.mark.parametrize("timeout", PAST, ids=str)
def test_wait_past_its_deadline_tries_once(world, bucket, timeout):
    """P12: What is left of a deadline that has passed is below zero, and counts as 0."""
    world.run(bucket.wait(5, timeout))

    for ask in (bucket.wait, bucket.reserve):
        with pytest.raises(RateLimitExceeded):
            world.run(ask(5, timeout))


@pytest.mark.parametrize(
    "timeout",
    [
        *(None, 0, 0.0, math.inf, 1e300, 1e-300, Decimal("Infinity"), Fraction(1, 3), Real(2)),
        *(-1, -0.5, -1e300, -math.inf, np.float16(-1)),
    ],
)
def test_wait_with_any_timeout_takes_what_is_there(world, bucket, timeout):
    """P12: No limit, none at all, a deadline already past and anything between are all fine."""
    world.run(bucket.wait(1, timeout))
    world.run(bucket.reserve(1, timeout))

    assert world.run(bucket.available_tokens) == about(3)


@each(
    ("capacity", "rate", "words"),
    [
        (1, 1e-300, "capacity must be at most what comes back in 100 years, got 1 at 1e-300"),
        (1e300, 1, "capacity must be at most what comes back in 100 years, got 1e.300 at 1 "),
        (1, 0.99 / CENTURY, "capacity must be at most what comes back in 100 years, got 1 at 3.13"),
        (1.01 * CENTURY, 1, "capacity must be at most what comes back in 100 years, got 318731"),
        (1e300, 1e-300, "capacity must be at most what comes back in 100 years"),
        (1, 10**400, "tokens_per_second must be at most 1.8e308, got an int of 1329 bits"),
        (10**400, 1, "capacity must be at most 1.8e308, got an int of 1329 bits"),
        (1, 1e300, "tokens_per_second must be at most .*, got 1e.300"),
        (1e300, 1e300, "tokens_per_second must be at most .*, got 1e.300"),
        (1e-300, 1, "capacity must be at least .*, got 1e-300"),
        (1e-15, 1, "capacity must be at least 1.59e-08 at this rate, got 1e-15"),
    ],
)
def test_make_or_configure_beyond_what_can_be_counted_says_what_is_too_much(
    world, bucket, capacity, rate, words
):
    """P22: A limit that the server cannot count is refused at once, and what is wrong is named."""
    with pytest.raises(ValueError, match=f"^{words}"):
        world.bucket(world.make_client(), "name", capacity, rate)
    with pytest.raises(ValueError, match=f"^{words}"):
        bucket.configure(capacity, rate)

    assert (bucket.capacity, bucket.tokens_per_second) == (10, SLOW)


@example(6e-11, 1e-3)
@example(1e-10, 1e-3)
@example(9.5e21, 1)
@example(1e22, 1)
@given(
    st.floats(-14, 26).map(lambda exponent: 10**exponent) | st.fractions(1e-12, 1e24),
    st.sampled_from([1e-12, 1e-6, 0.001, 1, 1000]),
)
def test_make_terms_of_any_rate_counts_it_exactly_or_refuses_it(rate, capacity):
    """P1: No rate is counted as another: what the script cannot count to 12 digits is refused."""
    assume(rate > 0)
    try:
        terms = Terms(capacity, rate)
    except ValueError:
        return

    counted = Fraction(terms.scale * 10**6, terms.unit)
    assert abs(counted / Fraction(rate) - 1) < Fraction(1, 10**12)
    assert abs(Fraction(terms.span, terms.unit) / Fraction(capacity) - 1) < Fraction(1, 1000)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_use_any_rate_admits_the_capacity_and_tells_when_to_come_back(world, name, rate):
    """P22: Rates of any size and kind give the capacity at once, and then as they say."""
    run, exact = world.run, Fraction(rate)
    capacity = max(1, math.ceil(exact * 100))  # two minutes' worth, for a second to take
    bucket = world.bucket(world.client(), name, capacity, rate)

    assert run(bucket.allow(capacity))
    told = run(bucket.retry_after(capacity))

    span = float(capacity / exact)
    assert span - 10 < told <= span + 1e-6
    assert not run(bucket.allow(capacity))
    assert 0 <= run(bucket.available_tokens) <= float(exact * 10)


@pytest.mark.parametrize(
    "rate", [Decimal(10**6) / 3, Decimal("100000.0000000000000001"), 1 / Fraction(1e-6)]
)
def test_make_terms_of_a_nearly_round_rate_divides_tokens_as_finely_as_of_others(rate):
    """P2: Many digits that say hardly anything do not make tokens coarse, or capacities large."""
    terms = Terms(1, rate)

    assert terms.cost(Fraction(1, 3)) / terms.span == pytest.approx(1 / 3)
    assert Fraction(terms.scale * 10**6, terms.unit) / Fraction(rate) == pytest.approx(1, abs=1e-15)


@each(
    ("tokens", "shown"),
    [
        (1.01 * CENTURY * SLOW, "3187317.6"),
        (1e300, "1e[+]300"),
        (10**300, "an int of 997 bits"),
        (Fraction(10**40, 3), r"Fraction\(1000"),
    ],
)
def test_ask_for_more_than_comes_back_in_a_century_names_the_value(
    world, bucket, state, tokens, shown
):
    """P22: What nobody lives to get is refused with the number, and nothing is taken."""
    run, before, limiter = world.run, state(), RateLimiter(bucket)
    message = f"^tokens must be at most what comes back in 100 years, got {shown}"

    for ask in (
        lambda: run(bucket.wait(tokens)),
        lambda: run(bucket.wait(tokens, timeout=1)),
        lambda: run(bucket.reserve(tokens)),
        lambda: world.enter(limiter.acquire(tokens)),
    ):
        with pytest.raises(ValueError, match=message):
            ask()

    assert not run(bucket.allow(tokens))
    assert run(bucket.retry_after(tokens)) == math.inf
    with pytest.raises(CostExceedsCapacity):
        world.enter(limiter.acquire(tokens, block=False))
    assert state() == before


@pytest.mark.parametrize("tokens", [1.01 * CENTURY * SLOW, 1e300])
def test_settle_with_more_than_comes_back_in_a_century_names_the_value(
    world, bucket, state, tokens
):
    """P22: Nobody has used so much; the error shows the number, and nothing is charged."""
    permit = world.enter(RateLimiter(bucket))
    before = state()

    with pytest.raises(ValueError, match=r"100 years, got (3187317|1e.300)"):
        world.run(permit.settle(tokens))

    assert state() == before


@each("seconds", [1.01 * CENTURY, 1e300, 10**300])
def test_pause_for_more_than_a_century_names_the_value(world, bucket, state, seconds):
    """P22: A pause that nobody would wait for is a mistake."""
    before = state()

    with pytest.raises(
        ValueError, match=r"^seconds must be at most 100 years, got (318|1e|an int)"
    ):
        world.run(bucket.pause(seconds))

    assert state() == before


def test_pause_async_pauses_with_either_client(world, bucket):
    """P36: It is the name that a task can use, whatever bucket it has."""
    world.run_task(bucket.pause_async(60))
    assert not world.run(bucket.allow())
    assert world.run(bucket.retry_after()) > 59


def test_refund_any_number_fills_the_bucket_and_no_more(world, bucket):
    """P4: However much is given back, a bucket holds its capacity."""
    for tokens in (1e300, 10**308, 2 * CENTURY):
        world.run(bucket.refund(tokens))
        assert world.run(bucket.available_tokens) == 10
        assert world.run(bucket.allow(5))


@pytest.mark.parametrize("share", [0.9, 1])
def test_reserve_for_a_century_once_too_often_says_so_and_changes_nothing(
    world, bucket, state, share
):
    """P5: The server counts to the year 2255; what is due later is refused, and charged nothing."""
    for _ in range(2):
        world.run(bucket.reserve(CENTURY * SLOW * share))
    before = state()

    with pytest.raises((BackendError, RateLimitExceeded), match="more than a century"):
        world.run(bucket.reserve(CENTURY * SLOW * share))

    assert state() == before


def test_ask_for_a_little_is_never_free(world, bucket, state):
    """P22: The smallest of numbers costs something, so that no call is counted as none."""
    before = state()

    assert world.run(bucket.allow(5e-324))

    assert state() != before
