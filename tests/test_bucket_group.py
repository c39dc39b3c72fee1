"""Several limits at once: what a group is made of, what it costs, and that it takes all or none."""

import asyncio
import copy
import math
import pickle
import threading

import pytest

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.testing import ManualClock


def make_group(clock=None):
    """Ten requests at 10/s, and a hundred tokens at 20/s."""
    clock = clock or ManualClock()
    return BucketGroup(
        requests=TokenBucket(10, 10, clock=clock), tokens=TokenBucket(100, 20, clock=clock)
    )


def levels(group):
    """What each of the named buckets holds."""
    return {name: bucket.available_tokens for name, bucket in group.buckets.items()}


def test_make_group_of_nothing_raises():
    """A group without a bucket would limit nothing, and is refused."""
    with pytest.raises(ValueError, match="at least one bucket"):
        BucketGroup()


@pytest.mark.parametrize("member", [5, None, "requests", RateLimiter(TokenBucket(1, 1)), [1]])
def test_make_group_of_something_else_raises(member):
    """What is no bucket is refused by position and by name, with its type in the message."""
    with pytest.raises(TypeError, match=f"holds buckets.*{type(member).__name__}"):
        BucketGroup(TokenBucket(1, 1), member)
    with pytest.raises(TypeError, match=f"holds buckets.*{type(member).__name__}"):
        BucketGroup(spare=member)


def test_make_group_with_a_bucket_twice_raises():
    """One bucket may not pay twice for one call, not even through a group within."""
    bucket, other = TokenBucket(1, 1), TokenBucket(1, 1)
    for make in (
        lambda: BucketGroup(bucket, bucket),
        lambda: BucketGroup(bucket, again=bucket),
        lambda: BucketGroup(a=bucket, b=bucket),
        lambda: BucketGroup(bucket, BucketGroup(other, inner=bucket)),
        lambda: BucketGroup(BucketGroup(bucket), BucketGroup(BucketGroup(bucket))),
    ):
        with pytest.raises(ValueError, match="only once"):
            make()


def test_make_group_over_two_clocks_raises():
    """Instants of two clocks cannot be compared, so their buckets make no group."""
    buckets = [TokenBucket(1, 1, clock=ManualClock()) for _ in range(2)]
    with pytest.raises(ValueError, match="same clock"):
        BucketGroup(*buckets)
    with pytest.raises(ValueError, match="same clock"):
        BucketGroup(buckets[0], TokenBucket(1, 1))


@pytest.mark.parametrize(
    ("cost", "requests", "tokens"),
    [
        (3, 7, 97),
        (0.5, 9.5, 99.5),
        ({"requests": 1, "tokens": 90}, 9, 10),
        ({"tokens": 90}, 10, 10),
        ({"requests": 10}, 0, 100),
    ],
)
def test_allow_takes_from_the_buckets_it_names(cost, requests, tokens):
    """A number costs every bucket the same; a mapping costs those that it names, and no other."""
    group = make_group()
    assert group.allow(cost) is True
    assert levels(group) == {"requests": requests, "tokens": tokens}
    assert make_group().try_consume(cost) is True


@pytest.mark.parametrize("cost", [11, {"requests": 11}, {"requests": 1, "tokens": 101}])
@pytest.mark.parametrize("method", ["allow", "try_consume"])
def test_allow_takes_nothing_where_one_bucket_is_short(cost, method):
    """P7: When one bucket cannot pay, none does."""
    group = make_group()
    assert getattr(group, method)(cost) is False
    assert levels(group) == {"requests": 10, "tokens": 100}


BAD_COSTS = [
    ({}, ValueError, "at least one bucket.*'requests', 'tokens'"),
    ({"token": 1}, ValueError, "'token'.*'requests', 'tokens'"),
    ({"requests": 1, "images": 1}, ValueError, "'images'"),
    ({"requests": 1, "tokens": True}, TypeError, "tokens must be"),
    ({"requests": 1, "tokens": -2}, ValueError, "above 0"),
    ({"requests": 1, "tokens": math.nan}, ValueError, "finite"),
    ({"requests": 1, "tokens": math.inf}, ValueError, "finite"),
    ({"requests": 1, "tokens": True}, TypeError, "real number"),
    ({"requests": 1, "tokens": "2"}, TypeError, "real number"),
    ({"requests": 1, "tokens": None}, TypeError, "real number"),
    ({"requests": 1, "tokens": {"tokens": 2}}, TypeError, "needs a BucketGroup"),
    ({7: 1}, ValueError, "7"),
    (True, TypeError, "real number"),
    (None, TypeError, "real number"),
    (["requests"], TypeError, "real number"),
]


@pytest.mark.parametrize(("cost", "error", "match"), BAD_COSTS)
def test_pay_with_a_bad_cost_raises_and_takes_nothing(cost, error, match):
    """P7: A cost that is none is refused by every call, before any bucket has paid."""
    group = make_group()
    limiter = RateLimiter(group)
    for call in (
        group.allow,
        group.try_consume,
        group.wait,
        group.reserve,
        group.refund,
        group.retry_after,
        limiter.acquire,
        limiter.cost,
        lambda tokens: asyncio.run(group.wait_async(tokens)),
    ):
        with pytest.raises(error, match=match):
            call(cost)
    assert levels(group) == {"requests": 10, "tokens": 100}


@pytest.mark.parametrize("cost", [{"tokens": 1}, {}])
def test_pay_a_single_bucket_with_a_mapping_raises(cost):
    """A mapping for a TokenBucket says that a group is needed, and takes nothing."""
    bucket = TokenBucket(5, 1, clock=ManualClock())
    limiter = RateLimiter(bucket)
    for call in (bucket.allow, bucket.wait, bucket.reserve, bucket.refund, limiter.acquire):
        with pytest.raises(TypeError, match="needs a BucketGroup"):
            call(cost)
    with limiter.acquire(1) as permit, pytest.raises(TypeError, match="needs a BucketGroup"):
        permit.settle(cost)
    assert bucket.available_tokens == 4


def test_name_a_bucket_in_a_group_without_names_raises():
    """A mapping for a group whose buckets have no names is told that there are none."""
    group = BucketGroup(TokenBucket(1, 1, clock=ManualClock()))
    with pytest.raises(ValueError, match="names are: none"):
        group.allow({"requests": 1})
    assert group.available_tokens == 1


@pytest.mark.parametrize(
    ("taken", "cost", "expected"),
    [
        (None, 1, 0.0),
        ({"requests": 10}, 1, 0.1),
        ({"requests": 10}, {"tokens": 1}, 0.0),
        ({"requests": 10, "tokens": 100}, {"requests": 1, "tokens": 10}, 0.5),
        (None, 11, math.inf),
        (None, {"tokens": 11}, 0.0),
        (None, {"requests": 1, "tokens": 101}, math.inf),
    ],
)
def test_retry_after_is_that_of_the_slowest_bucket(taken, cost, expected):
    """P6: A group can pay when all its buckets can, and a nanosecond earlier cannot."""
    clock = ManualClock()
    group = make_group(clock)
    assert taken is None or group.allow(taken)
    assert group.retry_after(cost) == expected
    if 0 < expected < math.inf:
        clock.advance(expected - 1e-9)
        assert not group.allow(cost)
        clock.advance(1e-9)
        assert group.allow(cost)


def test_read_group_shows_its_tightest_bucket():
    """Capacity, rate and tokens of a group are the least among its buckets."""
    clock = ManualClock()
    group = BucketGroup(TokenBucket(5, 3, clock=clock), wide=TokenBucket(50, 2, clock=clock))
    assert (group.capacity, group.tokens_per_second, group.available_tokens) == (5, 2, 5)
    group.allow({"wide": 48})
    assert group.available_tokens == 2
    assert list(group.buckets) == ["wide"]


def test_change_the_buckets_shown_changes_no_group():
    """The mapping of buckets is a copy: a name taken out of it is not taken out of the group."""
    group = make_group()
    shown = dict.fromkeys(group.buckets)
    group.buckets.pop("requests")
    assert dict.fromkeys(group.buckets) == shown
    assert group.allow({"requests": 1})


def test_repr_of_group_shows_members_and_names():
    """The repr shows unnamed members first and the named ones with their names."""
    clock = ManualClock()
    first, second = TokenBucket(1, 1, clock=clock), TokenBucket(2, 1, clock=clock)
    assert repr(BucketGroup(first, slow=second)) == f"BucketGroup({first!r}, slow={second!r})"
    assert repr(BucketGroup(first)) == f"BucketGroup({first!r})"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_copy_group_raises(duplicate):
    """P21: A group is neither pickled nor copied, for the copy would be a second limit."""
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        duplicate(make_group())


def test_refund_group_credits_the_buckets_it_names():
    """A refund by name credits that bucket alone, and no further than its capacity."""
    group = make_group()
    assert group.allow({"requests": 5, "tokens": 50})
    group.refund({"tokens": 20})
    assert levels(group) == {"requests": 5, "tokens": 70}
    group.refund(40)
    assert levels(group) == {"requests": 10, "tokens": 100}


def test_pause_group_holds_every_bucket():
    """P36: A paused group admits nothing until then, and one token of each bucket then."""
    clock = ManualClock()
    group = make_group(clock)
    group.pause(5)
    clock.advance(4.999_999_999)
    assert not any(bucket.allow(1e-9) for bucket in group.buckets.values())
    clock.advance(0.000_000_001)
    assert levels(group) == {"requests": 1, "tokens": 1}
    assert group.allow()
    assert group.retry_after(1) == 0.1


def test_allow_nested_group_pays_from_every_level():
    """P7: A group within a group pays with it, or neither pays."""
    clock = ManualClock()
    hour = TokenBucket(3, 1, clock=clock)
    inner = make_group(clock)
    outer = BucketGroup(hour, user=inner)
    assert outer.allow(2)
    assert (hour.available_tokens, levels(inner)) == (1, {"requests": 8, "tokens": 98})
    assert outer.allow({"user": {"tokens": 90}})
    assert (hour.available_tokens, levels(inner)) == (1, {"requests": 8, "tokens": 8})
    assert not outer.allow(2)
    assert (hour.available_tokens, levels(inner)) == (1, {"requests": 8, "tokens": 8})


def test_acquire_from_group_refuses_above_capacity():
    """P7: A refusing limiter tells never from not yet, and takes nothing either way."""
    group = make_group()
    limiter = RateLimiter(group, block=False)
    with pytest.raises(CostExceedsCapacity), limiter.acquire({"tokens": 101}):
        pass
    with limiter.acquire({"requests": 10}):
        pass
    with pytest.raises(RateLimitExceeded) as caught, limiter.acquire({"requests": 1, "tokens": 5}):
        pass
    assert (caught.value.retry_after, caught.value.tokens) == (0.1, {"requests": 1, "tokens": 5})
    assert levels(group) == {"requests": 0, "tokens": 100}


def test_decorate_with_mapping_costs_charges_each_bucket():
    """A decorated call costs the mapping given, or the one computed from its arguments."""
    group = make_group()
    limiter = RateLimiter(group, block=False)

    @limiter.cost({"requests": 1, "tokens": 10})
    def fixed():
        return "fixed"

    @limiter.cost(lambda prompt: {"requests": 1, "tokens": len(prompt)})
    def asked(prompt):
        return prompt

    assert (fixed(), asked("word")) == ("fixed", "word")
    assert levels(group) == {"requests": 8, "tokens": 86}
    with pytest.raises(CostExceedsCapacity):
        limiter.cost({"tokens": 101})


def test_compute_an_unknown_name_stops_the_call():
    """P7: A cost function that names no bucket of the group stops the call; nothing is taken."""
    group, calls = make_group(), []

    @RateLimiter(group).cost(lambda: {"requests": 1, "token": 3})
    def call():
        calls.append(1)

    with pytest.raises(ValueError, match="'token'"):
        call()
    assert (calls, levels(group)) == ([], {"requests": 10, "tokens": 100})


def test_allow_groups_that_share_buckets_in_any_order_never_deadlocks():
    """P7: Threads that take shared buckets in opposite orders all finish, and nothing leaks."""
    clock = ManualClock()
    first, second = (TokenBucket(1_000, 1, clock=clock) for _ in range(2))
    groups = [BucketGroup(a=first, b=second), BucketGroup(b=second, a=first)]
    taken = []

    def take(group):
        taken.extend(group.allow({"a": 2, "b": 1}) for _ in range(300))

    threads = [threading.Thread(target=take, args=(groups[i % 2],), daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert (len(taken), sum(taken)) == (1_200, 500)
    assert (first.available_tokens, second.available_tokens) == (0, 500)


def test_list_members_of_a_group():
    """All buckets are listed in the order in which they were given, with a name or without."""
    inner, plain, named = BucketGroup(TokenBucket(1, 1)), TokenBucket(2, 1), TokenBucket(3, 1)
    group = BucketGroup(inner, plain, named=named)
    assert group.members == (inner, plain, named)


def test_know_the_clock_of_a_bucket_and_of_a_group():
    """The clock of a bucket can be read, for code that has to sleep as its callers do."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock)
    assert bucket.clock is BucketGroup(bucket).clock is clock
