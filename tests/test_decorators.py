"""rate_limited: the decorator that makes its own limiter."""

import asyncio
import inspect
import math
from functools import partial

import pytest

from rate_limiter import (
    CostExceedsCapacity,
    RateLimitExceeded,
    TokenBucket,
    per_instance,
    rate_limited,
)
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


def test_take_arguments_by_position():
    """Capacity, rate, cost and block come in this order, the others by name alone."""
    parameters = inspect.signature(rate_limited).parameters.values()
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert by_position == ["capacity", "rate", "cost", "block"]
    assert by_name == ["timeout", "key", "clock", "make_bucket", "dry_run", "name"]


def test_pass_everything_by_position(clock):
    """`rate_limited(10, 5, 2, False)` is a bucket of 10 at 5/s, 2 a call, without waiting."""
    limited = rate_limited(10, 5, 2, False, clock=clock)(len)
    bucket = limited.limiter.bucket
    assert (bucket.capacity, bucket.tokens_per_second, limited.limiter.block) == (10, 5, False)
    assert limited("abc") == 3
    assert bucket.available_tokens == 8


def test_leave_out_options_waits_one_token_per_call(clock):
    """Without options a call costs one token, and waits for it as long as it takes."""
    limited = rate_limited(capacity=2, rate=0.5, clock=clock)(len)
    assert [limited("abc") for _ in range(5)] == [3] * 5
    assert clock.elapsed == 6
    assert (limited.limiter.block, limited.limiter.timeout) == (True, None)


@pytest.mark.parametrize(
    ("rate", "tokens_per_second"),
    [(5, 5), (0.5, 0.5), ("10/second", 10), ("120 per minute", 2), ("5 per 10 seconds", 0.5)],
)
def test_read_rate_as_number_or_words(rate, tokens_per_second):
    """A rate is tokens per second, or words; the capacity is always the one given."""
    bucket = rate_limited(3, rate)(len).limiter.bucket
    assert (bucket.capacity, bucket.tokens_per_second) == (3, tokens_per_second)


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((10, 5, True), {}, TypeError, "cost must be a real number.*True"),
        ((10, 5, "1"), {}, TypeError, "cost must be a real number.*'1'"),
        ((10, 5, None), {}, TypeError, "cost must be a real number.*None"),
        ((10, 5, 0), {}, ValueError, "cost must be above 0, got 0"),
        ((10, 5, math.nan), {}, ValueError, "cost must be finite"),
        ((10, 5, 1, "yes"), {}, TypeError, "block must be True or False, got 'yes'"),
        ((10, 5, 1, 1), {}, TypeError, "block must be True or False, got 1"),
        ((10, 5, 1, None), {}, TypeError, "block must be True or False, got None"),
        ((10, 5, 1, False), {"timeout": 1}, ValueError, "timeout=1 needs block=True"),
        ((10, 5), {"timeout": "1"}, TypeError, "timeout must be a real number"),
        ((10, 5), {"timeout": math.nan}, ValueError, "timeout must be finite"),
        ((10, 5), {"key": "id"}, TypeError, "key must be a callable.*'id'"),
        ((10, 5), {"clock": 3}, TypeError, "clock must have now"),
        ((10, "fast"), {}, ValueError, "a rate must look like '10/second'.*'fast'"),
        ((10, None), {}, TypeError, "rate must be a real number.*None"),
        ((10, True), {}, TypeError, "rate must be a real number.*True"),
        ((10, 0), {}, ValueError, "rate must be above 0"),
        ((10, -1), {}, ValueError, "rate must be above 0"),
        ((10, math.inf), {}, ValueError, "rate must be finite"),
        (("10", 5), {}, TypeError, "capacity must be a real number.*'10'"),
        ((0, 5), {}, ValueError, "capacity must be above 0"),
        ((math.nan, 5), {}, ValueError, "capacity must be finite"),
        ((10, "1/second; 2/minute"), {}, ValueError, "leave it out: each rate has its count"),
        ((None, ["10/second"]), {}, TypeError, "in words such as '10/second', got ..10/second"),
        ((None, 5), {}, TypeError, "without a capacity .* got 5"),
    ],
)
def test_refuse_bad_argument_naming_it(args, options, error, message):
    """P22: A mistake is refused where the decorator is written, and named."""
    with pytest.raises(error, match=message):
        rate_limited(*args, **options)


def test_cost_of_several_rates_may_be_a_mapping():
    """A mapping says what a call costs in each of them."""
    cost = {"10/second": 2, "1000/hour": 5}
    function = rate_limited(rate="10/second; 1000/hour", cost=cost, block=False)(len)
    function("ab")
    levels = [bucket.level.available_tokens for bucket in function.limiter.bucket.members]
    assert levels == pytest.approx([8, 995], abs=0.5)


@pytest.mark.parametrize("options", [{}, {"key": len}, {"key": per_instance}])
def test_refuse_bad_cost_with_a_key_as_well(options):
    """P22: A bad cost is refused before there is a call, whatever the key."""
    with pytest.raises(TypeError, match="cost must be a real number"):
        rate_limited(10, 5, True, **options)
    with pytest.raises(CostExceedsCapacity, match="a cost of 11 is above the capacity of 10"):
        rate_limited(10, 5, 11, False, **options)


def test_use_without_parentheses_is_refused():
    """A bare `@rate_limited` is a TypeError when the class or function is defined."""
    message = r"got fetch: write @rate_limited\(capacity=10, rate=5\)"
    with pytest.raises(TypeError, match=message):

        @rate_limited
        def fetch():
            """Never decorated."""


def test_use_without_rate_is_refused():
    """`@rate_limited()` has no default limit."""
    with pytest.raises(TypeError, match="'capacity' and 'rate', got nothing"):
        rate_limited()
    with pytest.raises(TypeError, match=r"got None: write @rate_limited\(capacity=7, rate=5\)"):
        rate_limited(7)


@pytest.mark.parametrize("target", [None, 3, property(len)])
def test_decorate_what_cannot_be_called_says_what_to_do(target):
    """Decorating what is no callable is refused with a way out."""
    with pytest.raises(TypeError, match="for a property, decorate its getter"):
        rate_limited(10, 5)(target)


def test_refuse_without_blocking(clock):
    """With `block=False` a call that is short of tokens raises, and the next in time succeeds."""
    limited = rate_limited(2, "60/minute", block=False, clock=clock)(len)
    assert (limited("abc"), limited("abc")) == (3, 3)
    with pytest.raises(RateLimitExceeded) as refusal:
        limited("abc")
    assert refusal.value.retry_after == 1
    clock.advance(1)
    assert limited("abc") == 3


def test_wait_no_longer_than_timeout(clock):
    """P12: A call that would have to wait longer than `timeout` is refused at once."""
    limited = rate_limited(1, 1, timeout=1.5, clock=clock)(len)
    assert (limited("abc"), limited("abc")) == (3, 3)
    assert clock.elapsed == 1
    with pytest.raises(RateLimitExceeded, match=r"the timeout is 1\.5 s"):
        limited.limiter.cost(2)(len)("abc")
    assert clock.elapsed == 1


def test_price_by_arguments(clock):
    """A callable cost gets the call's arguments, `self` included."""

    class Client:
        @rate_limited(10, 1, lambda self, ids: len(ids), clock=clock)
        async def fetch(self, ids):
            return ids

    assert asyncio.run(Client().fetch([1, 2, 3])) == [1, 2, 3]
    assert Client.fetch.limiter.bucket.available_tokens == 7


def test_decorate_twice_with_one_decorator_shares_its_bucket(clock):
    """One decorator holds one bucket, for as many callables as it decorates."""
    decorate = rate_limited(10, 1, clock=clock)
    first, second = decorate(len), decorate(str)
    first("abc"), second("abc")
    assert first.limiter is second.limiter
    assert first.limiter.bucket.available_tokens == 8


def test_decorate_each_by_its_own_decorator_shares_nothing(clock):
    """Two decorators hold two buckets."""
    first, second = rate_limited(10, 1, clock=clock)(len), rate_limited(10, 1, clock=clock)(len)
    first("abc")
    assert second.limiter.bucket.available_tokens == 10


def test_use_machine_clock_by_default():
    """Without a clock, time is the machine's."""
    limited = rate_limited(1, 1e9)(len)
    assert [limited("abc") for _ in range(100)] == [3] * 100


def test_make_bucket_gets_the_terms_and_gives_the_bucket():
    """A bucket of the caller's own making is charged, on the terms of the decorator."""
    made = []

    def make(capacity, rate):
        made.append(TokenBucket(capacity, rate))
        return made[-1]

    limited = rate_limited(2, "60/minute", block=False, make_bucket=make)(len)

    assert limited("abc") == 3
    assert limited.limiter.bucket is made[0]
    assert (made[0].capacity, made[0].tokens_per_second) == (2, 1)


def test_make_bucket_with_a_key_is_given_it():
    """Each key has a bucket of its own, whose maker is told the key."""
    keys = []

    def make_for(capacity, rate, key):
        keys.append(key)
        return TokenBucket(capacity, rate)

    limited = rate_limited(1, 1, block=False, key=lambda word: word[0], make_bucket=make_for)(len)

    assert [limited("abc"), limited("bcd")] == [3, 3]
    with pytest.raises(RateLimitExceeded):
        limited("axx")
    assert keys == ["a", "b"]


def test_make_bucket_that_ignores_the_key_is_refused():
    """A maker that does not take the key is a mistake, found when it is decorated."""
    with pytest.raises(TypeError, match=r"make_bucket\(capacity, tokens_per_second, key\)"):
        rate_limited(1, 1, key=len, make_bucket=partial(TokenBucket))


def test_make_bucket_without_a_signature_is_given_the_key():
    """What does not say what it takes is given all there is."""

    class Unspoken:
        __signature__ = property(lambda self: int("no signature"))

        def __call__(self, capacity, rate, key):
            return TokenBucket(capacity, rate)

    assert rate_limited(1, 1, key=len, make_bucket=Unspoken())(len)("ab") == 2


def test_make_bucket_with_a_clock_is_refused():
    """A clock that would be ignored is a mistake."""
    with pytest.raises(ValueError, match="clock is for the default bucket"):
        rate_limited(1, 1, clock=ManualClock(), make_bucket=TokenBucket)
