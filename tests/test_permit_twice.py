"""A permit is paid, settled and given back once, whoever asks and however often."""

import copy
import pickle
from threading import Barrier, Thread

import pytest

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def bucket(clock):
    return TokenBucket(10, 1, clock=clock)


@pytest.fixture
def group(clock):
    return BucketGroup(
        requests=TokenBucket(10, 1, clock=clock), tokens=TokenBucket(100, 1, clock=clock)
    )


def enter(limiter, *args):
    with limiter.acquire(*args) as permit:
        return permit


def left(group):
    return [bucket.available_tokens for bucket in group.buckets.values()]


def race(*calls):
    """Make calls at the same time, each in a thread of its own; return what they raised."""
    barrier, errors = Barrier(len(calls)), []

    def run(call):
        barrier.wait(5)
        try:
            call()
        except RuntimeError as error:
            errors.append(str(error))

    threads = [Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    return errors


@pytest.mark.parametrize("busy", [False, True])
def test_refund_from_two_threads_gives_back_once(bucket, busy):
    """P9: However two threads come, the tokens come back once."""
    for _ in range(50):
        permit = enter(RateLimiter(bucket), 3)
        waiting = bucket.reserve(9) if busy else None
        bucket.allow(5)
        before = bucket.level.full_in
        assert race(permit.refund, permit.refund) == []
        assert bucket.level.full_in == before - 3
        if waiting is not None:
            waiting.cancel()
        bucket.refund(10)


def test_settle_and_refund_from_two_threads_are_one_after_the_other(bucket):
    """P9: A refund is the last word; a settlement comes before it, or is refused."""
    for _ in range(50):
        permit = enter(RateLimiter(bucket), 3)
        errors = race(permit.refund, lambda permit=permit: permit.settle(7))
        assert errors in ([], ["cannot settle a permit that is refunded"])
        assert bucket.available_tokens == 10


def test_settle_from_two_threads_leaves_one_of_them(bucket):
    """P9: Of two settlements one is the later, and it alone counts."""
    for _ in range(50):
        permit = enter(RateLimiter(bucket), 3)
        race(lambda permit=permit: permit.settle(7), lambda permit=permit: permit.settle(1))
        assert bucket.available_tokens in (3, 9)
        permit.refund()


def test_refund_while_others_wait_gives_back_once(bucket, clock):
    """P9: With a line, the second refund finds nothing to give back either."""
    permit = enter(RateLimiter(bucket), 10)
    line = [bucket.reserve(10), bucket.reserve(4)]
    permit.refund()
    assert [reservation.delay for reservation in line] == [0, 4]
    permit.refund()
    assert [reservation.delay for reservation in line] == [0, 4]


def test_refund_after_a_partial_settlement_gives_back_what_was_paid(group):
    """P9: A mapping that names some buckets leaves the others as they were paid."""
    permit = enter(RateLimiter(group), {"requests": 1, "tokens": 30})
    permit.settle({"tokens": 50})
    assert left(group) == [9, 50]
    permit.settle({"requests": 0})
    assert left(group) == [10, 50]
    permit.refund()
    assert left(group) == [10, 100]


@pytest.mark.parametrize("how", ["permit", "reservation"])
@pytest.mark.parametrize("number", [0, 1, 2.5])
def test_settle_a_number_on_a_mapping_raises_and_names_the_buckets(group, how, number):
    """A number would charge a request for each model token; it is refused with the names."""
    cost = {"requests": 1, "tokens": 30}
    held = enter(RateLimiter(group), cost) if how == "permit" else group.reserve(cost)

    with pytest.raises(TypeError, match=r"with a mapping.*\{'requests': .*'requests', 'tokens'"):
        held.settle(number)

    assert left(group) == [9, 70]


@pytest.mark.parametrize("how", ["permit", "reservation"])
def test_settle_a_mapping_on_a_number_corrects_the_buckets_it_names(group, how):
    """A mapping settles what was taken with a number as well."""
    held = enter(RateLimiter(group), 2) if how == "permit" else group.reserve(2)
    held.settle({"tokens": 5})
    assert left(group) == [8, 95]


def test_change_a_mapping_after_it_was_given_changes_no_cost(group):
    """A cost is copied when it is taken: a caller may go on with its mapping."""
    cost = {"requests": 1, "tokens": 30}
    permit, reservation = RateLimiter(group).acquire(cost), group.reserve(cost)
    cost["tokens"] = 90
    cost["requests"] = 5
    permit.__enter__()
    assert left(group) == [8, 40]
    permit.tokens["tokens"] = 1
    assert permit.tokens == {"requests": 1, "tokens": 30}
    permit.refund()
    reservation.cancel()
    assert left(group) == [10, 100]


def test_change_a_nested_mapping_changes_no_cost(group):
    """The mapping of a group within a group is copied as well."""
    outer = BucketGroup(inner=group)
    cost = {"inner": {"requests": 1}}
    permit = RateLimiter(outer).acquire(cost)
    cost["inner"]["requests"] = 7
    permit.__enter__()
    assert left(group) == [9, 100]


@pytest.mark.parametrize("zero", [0, 0.0])
def test_take_a_mapping_with_zeros_leaves_those_buckets_alone(group, zero):
    """P7: A bucket that costs nothing is neither asked nor joined, paused or not."""
    group.buckets["requests"].pause(60)
    cost = {"requests": zero, "tokens": 10}

    assert group.allow(cost)
    group.wait(cost)
    assert group.reserve(cost).delay == 0
    permit = enter(RateLimiter(group, block=False), cost)
    assert left(group) == [0, 60]
    assert group.retry_after(cost) == 0
    permit.settle({"requests": 2, "tokens": zero})
    assert group.buckets["tokens"].available_tokens == 70
    group.refund(cost)
    assert group.buckets["tokens"].available_tokens == 80


def test_take_a_mapping_of_zeros_is_free(group):
    """A call that costs nothing anywhere passes whatever there is."""
    group.pause(60)
    cost = {"requests": 0, "tokens": 0}

    assert group.allow(cost)
    group.wait(cost, timeout=0)
    permit = enter(RateLimiter(group, block=False), cost)
    reservation = group.reserve(cost)
    assert (reservation.delay, group.retry_after(cost), permit.waited) == (0, 0, 0)
    assert permit.levels["tokens"].paused_for == 60
    reservation.cancel()
    permit.refund()
    group.refund(cost)
    assert group.level.waiting == 0


@pytest.mark.parametrize("wrong", [-1, True, False, "0", None, float("nan")])
def test_take_a_mapping_with_what_is_no_cost_raises(group, wrong):
    """P22: Nothing but a number is a cost, in a mapping as elsewhere."""
    with pytest.raises((TypeError, ValueError), match="tokens must be"):
        group.allow({"requests": 1, "tokens": wrong})
    assert left(group) == [10, 100]


DUPLICATES = [copy.copy, copy.deepcopy, pickle.dumps, lambda it: it.__reduce_ex__(2)]


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_duplicate_a_permit_raises(bucket, duplicate):
    """P21: A copy would give the same tokens back again."""
    permit = enter(RateLimiter(bucket))
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        duplicate(permit)


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_duplicate_a_reservation_raises(bucket, duplicate):
    """P21: So would a copy of a reservation."""
    with pytest.raises(TypeError, match="reservation cannot be pickled or copied"):
        duplicate(bucket.reserve())


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_duplicate_a_keyed_limiter_raises(duplicate):
    """P21: A copy would be a second limit for each key."""
    with pytest.raises(TypeError, match="KeyedRateLimiter cannot be pickled or copied"):
        duplicate(KeyedRateLimiter(lambda: TokenBucket(1, 1)))
