"""What a bucket is like: of the bucket, of a permit, and of a refusal."""

import asyncio
import pickle
from functools import partial

import pytest

from injection.injectors import Moment
from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    Level,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def make(clock, capacity=10, rate=2, **options):
    return TokenBucket(capacity, rate, clock=clock, **options)


def level(available, *, full_in, paused_for=0.0, waiting=0, capacity=10.0, rate=2.0):
    return Level(capacity, rate, available, full_in, paused_for, waiting)


def refused(limiter, cost=1, error=RateLimitExceeded, **options):
    with pytest.raises(error) as caught:
        limiter.acquire(cost, **options).__enter__()
    return caught.value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _: None, level(10.0, full_in=0.0)),
        (lambda bucket: bucket.allow(4), level(6.0, full_in=2.0)),
        (lambda bucket: bucket.allow(10), level(0.0, full_in=5.0)),
        (lambda bucket: bucket.reserve(10).settle(14), level(0.0, full_in=7.0)),
        (lambda bucket: bucket.pause(3), level(0.0, full_in=7.5, paused_for=3.0)),
        (lambda bucket: bucket.pause(0), level(10.0, full_in=0.0)),
        (lambda bucket: bucket.reserve(14), level(0.0, full_in=7.0, waiting=1)),
        (
            lambda bucket: [bucket.reserve(cost) for cost in (14, 2)],
            level(0.0, full_in=8.0, waiting=2),
        ),
        (
            lambda bucket: [bucket.reserve(14), bucket.pause(3)],
            level(0.0, full_in=14.5, paused_for=3.0, waiting=1),
        ),
        (lambda bucket: bucket.configure(4, 1), level(4.0, full_in=0.0, capacity=4.0, rate=1.0)),
    ],
)
def test_read_level_tells_what_the_bucket_is_like(clock, change, expected):
    """P37: Tokens, debt, a pause and the line are all in one answer."""
    bucket = make(clock)
    change(bucket)

    assert bucket.level == expected
    assert bucket.level.available_tokens == bucket.available_tokens
    if expected.full_in:
        clock.advance(expected.full_in - 1e-9)
        assert bucket.level.full_in == 1e-9
        clock.advance(1e-9)
    assert (bucket.level.full_in, bucket.available_tokens) == (0.0, bucket.capacity)


def test_read_level_gives_a_value_that_stays(clock):
    """A level is of its instant, and cannot be changed."""
    bucket = make(clock)
    before = bucket.level
    bucket.allow(4)

    assert before == level(10.0, full_in=0.0)
    with pytest.raises(AttributeError, match="can't set attribute"):
        before.waiting = 5


def test_read_level_of_a_group_gives_the_scarcest(clock):
    """Of several buckets, all of which are needed, the least counts."""
    small, slow = make(clock, 4, 8), make(clock, 20, 1)
    group = BucketGroup(small, slow=slow)
    slow.allow(18)
    assert group.level == Level(4.0, 1.0, 2.0, 18.0, 0.0, 0)
    small.pause(2)
    slow.reserve(3)
    assert group.level == Level(4.0, 1.0, 0.0, 21.0, 2.0, 1)
    assert BucketGroup(slow).level == slow.level


def copy(error):
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - just dumped


def enter(permit, in_task):
    if not in_task:
        return permit.__enter__()

    async def main():
        return await permit

    return asyncio.run(main())


def labels(group):
    return list(RateLimiter(group).acquire().__enter__().levels)


def test_label_is_the_name_the_position_or_both(clock):
    """P37: A lone bucket has no label; in a group it is called by its name or its position."""
    a, b, c, d, e = (make(clock) for _ in range(5))
    inner = BucketGroup(a, x=b)

    assert labels(a) == [None]
    assert labels(inner) == [0, "x"]
    assert labels(BucketGroup(c, inner, d, outer=BucketGroup(y=e))) == [
        *(0, "1.0", "1.x", 2),
        "outer.y",
    ]
    assert labels(BucketGroup.from_rate("10/second; 1000/hour", clock=clock)) == [
        *("10/second", "1000/hour")
    ]


@pytest.mark.parametrize("in_task", [False, True])
def test_read_levels_of_a_permit_tells_what_was_left(clock, in_task):
    """P37: They are of the instant at which the tokens were taken, whatever came later."""
    requests, tokens = make(clock), make(clock, 100, 1)
    group = BucketGroup(requests=requests, tokens=tokens)
    permit = RateLimiter(group).acquire({"requests": 1, "tokens": 30})
    assert permit.levels == {}
    enter(permit, in_task)
    clock.advance(1)
    group.pause(5)
    tokens.configure(7, 7)

    assert permit.levels == {
        "requests": level(9.0, full_in=0.5),
        "tokens": level(70.0, full_in=30.0, capacity=100.0, rate=1.0),
    }
    permit.refund()
    assert permit.levels["tokens"].available_tokens == 70


@pytest.mark.parametrize("in_task", [False, True])
def test_read_levels_of_a_permit_that_waited(in_task):
    """P37: After a wait they are of the instant at which it was over."""
    clock = ManualClock(auto_advance=True)
    bucket = make(clock, initial_tokens=0)
    permit = RateLimiter(bucket).acquire(3)
    enter(permit, in_task)
    bucket.refund(5)

    assert (permit.waited, permit.levels) == (1.5, {None: level(0.0, full_in=5.0)})


class EarlyClock(ManualClock):
    """A clock whose first sleep ends a nanosecond early."""

    def sleep(self, sleeper, until):
        self.advance(max(until - self.now() - 1, 1) / 10**9)


def come_late(bucket, clock):
    clock.advance(5)
    assert bucket.level.waiting == 0  # whoever looks serves who is due


def enter_while(act, line, grouped):
    """Return a permit that waited while something happened before a line, and whether it did."""
    clock = EarlyClock()
    bucket = make(clock, initial_tokens=0)
    limited = BucketGroup(paid=bucket, other=make(clock)) if grouped else bucket
    permit = RateLimiter(limited).acquire({"paid": 3} if grouped else 3)
    moment = Moment(line, partial(act, bucket, clock))
    with moment.watching():
        permit.__enter__()
    return permit, moment.passed >= line


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    "act",
    [
        come_late,
        lambda bucket, clock: bucket.refund(5),
        lambda bucket, clock: bucket._reset(),
    ],
    ids=["come late", "refund", "reset"],
)
def test_read_levels_of_a_permit_that_a_handler_served(act, grouped):
    """P37: Whoever serves a waiter, and when, it is not in line any more in its levels."""
    line, happened = 0, True
    while happened:
        line += 1
        permit, happened = enter_while(act, line, grouped)
        assert {one.waiting for one in permit.levels.values()} == {0}, line
    assert line > 100


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("beside", ["line", "pause"])
def test_read_levels_of_buckets_that_a_cost_leaves_out(waits, beside):
    """P37: Whoever is due there has been served, though nothing is taken from them."""
    clock = ManualClock(auto_advance=True)
    paid, other = make(clock), make(clock, initial_tokens=0)
    limiter = RateLimiter(BucketGroup(paid=paid, other=other))
    if beside == "line":
        other.reserve(1)  # nobody wakes for it
    else:
        other.pause(30)
    clock.advance(100)
    permit = limiter.acquire({"paid": 1})
    if waits:
        paid.reserve(11)
    permit.__enter__()

    assert (permit.waited > 0) is waits
    assert permit.levels["other"] == level(10.0, full_in=0.0)
    error = refused(RateLimiter(limiter.bucket, block=False), {"paid": 10})
    assert error.levels["other"] == level(10.0, full_in=0.0)


@pytest.mark.parametrize("in_task", [False, True])
def test_read_levels_of_a_permit_that_waited_for_one_bucket_of_a_group(in_task):
    """P37: A bucket that the cost leaves out has its level all the same."""
    clock = ManualClock(auto_advance=True)
    group = BucketGroup(requests=make(clock), tokens=make(clock, initial_tokens=0))
    permit = RateLimiter(group).acquire({"tokens": 3})
    enter(permit, in_task)

    assert permit.waited == 1.5
    assert permit.levels == {
        "requests": level(10.0, full_in=0.0),
        "tokens": level(0.0, full_in=5.0),
    }


@pytest.mark.parametrize(
    ("cost", "options", "refused_by"),
    [
        (3, {"block": False}, "slow"),
        ({"small": 4}, {"block": False}, "small"),
        ({"small": 4, "slow": 2}, {"block": False}, "small"),
        ({"small": 4, "slow": 3}, {"block": False}, "slow"),
        (3, {"timeout": 0.5}, "slow"),
        ({"small": 9}, {"timeout": 0.5}, "small"),
    ],
)
def test_refuse_names_the_bucket_that_holds_up_longest(clock, cost, options, refused_by):
    """P37: `retry_after`, `refused_by` and the levels are one answer, and nothing was taken."""
    small, slow = make(clock, 4, 8), make(clock, 20, 1)
    group = BucketGroup(small=small, slow=slow)
    small.allow(2)
    slow.allow(18)
    error = refused(RateLimiter(group), cost, **options)
    seen = {"small": small.level, "slow": slow.level}
    clock.advance(5)
    small.configure(1, 1)

    assert (error.refused_by, error.levels) == (refused_by, seen)
    assert f"bucket '{refused_by}'" in str(error)
    assert error.retry_after > 0
    assert copy(error).levels == seen


def test_refuse_names_the_first_of_buckets_that_hold_up_as_long(clock):
    """P37: Of equals the one that was given first is named."""
    group = BucketGroup(*(make(clock, initial_tokens=0) for _ in range(3)))
    assert refused(RateLimiter(group, block=False)).refused_by == 0


def test_refuse_of_a_lone_bucket_names_none(clock):
    """A bucket that is alone has no label."""
    bucket = make(clock, initial_tokens=0.5)
    error = refused(RateLimiter(bucket, block=False))

    assert (error.refused_by, error.levels) == (None, {None: level(0.5, full_in=4.75)})
    assert "bucket" not in str(error)
    assert error.levels is error.levels


def test_refuse_a_cost_above_the_capacity_names_the_bucket(clock):
    """P37: A refusal for ever has its levels and its bucket as well."""
    group = BucketGroup(make(clock), small=make(clock, 4))
    error = refused(RateLimiter(group, block=False), 5, CostExceedsCapacity)

    assert (error.refused_by, error.tokens) == ("small", 5)
    assert error.levels["small"] == level(4.0, full_in=0.0, capacity=4.0)
    assert "capacity of 4 of bucket 'small'" in str(error)
    assert copy(error).levels == error.levels


@pytest.mark.parametrize("pause", [0, 3])
@pytest.mark.parametrize("line", [0, 14])
@pytest.mark.parametrize("taken", [0, 9.75, 10])
def test_refuse_agrees_with_the_levels_it_tells(clock, pause, line, taken):
    """P37: What is there by the levels does not cover a refused cost."""
    bucket = make(clock)
    if taken:
        bucket.allow(taken)
    if line:
        bucket.reserve(line)
    bucket.pause(pause)
    if bucket.retry_after() == 0:
        return
    error = refused(RateLimiter(bucket, block=False))

    assert error.levels[None].available_tokens < 1
    assert error.retry_after == bucket.retry_after() > 0


@pytest.mark.parametrize("error", [RateLimitExceeded("no"), CostExceedsCapacity("no")])
def test_read_levels_of_an_error_of_ones_own_is_empty(error):
    """What nobody has told is empty."""
    assert (error.levels, error.refused_by) == ({}, None)
