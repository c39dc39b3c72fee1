"""A limiter that only counts."""

import asyncio

import pytest

from rate_limiter import (
    AsyncPermit,
    BackendError,
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    TokenBucket,
    rate_limited,
)
from rate_limiter.instrumentation import set_hooks
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def bucket(clock):
    return TokenBucket(3, 1, clock=clock)


def enter(limiter, *args, **options):
    with limiter.acquire(*args, **options) as permit:
        return permit


def await_permit(limiter, *args, **options):
    async def main():
        return await limiter.acquire(*args, **options)

    return asyncio.run(main())


def owed(bucket):
    """Return how many tokens are missing of a full bucket, those in line counted."""
    return bucket.level.full_in * bucket.tokens_per_second


@pytest.mark.parametrize("take", [enter, await_permit])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [2, 4, 6]),  # they would have waited: charged in line
        ({"timeout": 1}, [2, 4, 4]),  # the third would have been refused: charged nothing
        ({"timeout": 0}, [2, 2, 2]),
        ({"block": False}, [2, 2, 2]),
    ],
)
def test_acquire_counts_as_the_policy_would_and_lets_pass(bucket, clock, take, policy, expected):
    """A call never waits and is never refused; the bucket is charged as if it had been."""
    limiter = RateLimiter(bucket, dry_run=True, **policy)

    for charged in expected:
        permit = take(limiter, 2)
        assert (owed(bucket), permit.waited, bool(permit)) == (charged, 0, True)

    assert (clock.elapsed, limiter.dry_run, clock.sleepers) == (0, True, 0)


@pytest.mark.parametrize("take", [enter, await_permit])
@pytest.mark.parametrize("block", [True, False])
def test_acquire_above_the_capacity_passes(bucket, take, block):
    """A cost that never fits waits in line, or would have been refused."""
    limiter = RateLimiter(bucket, block=block, dry_run=True)

    take(limiter, 5)

    assert owed(bucket) == (5 if block else 0)


@pytest.mark.parametrize("take", [enter, await_permit])
def test_acquire_of_a_strict_bucket_above_the_capacity_passes(clock, take):
    """What a strict rate would have refused for ever is charged nothing."""
    bucket = TokenBucket.from_rate("60/minute", 3, strict=True, clock=clock)

    take(RateLimiter(bucket, dry_run=True), 5)

    assert owed(bucket) == 0


def test_acquire_with_a_policy_of_its_own_only_counts_as_well(bucket):
    """A call that says how long to wait is counted so."""
    limiter = RateLimiter(bucket, dry_run=True)
    for options, charged in (({}, 2), ({"block": False}, 2), ({"timeout": 1}, 4)):
        enter(limiter, 2, **options)
        assert owed(bucket) == charged


PAYERS = {"taken": 0, "in line": 2, "refused": 2}


@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize("payer", PAYERS)
def test_correct_a_counted_permit_corrects_what_it_was_charged(bucket, payer, in_task):
    """Settling and refunding work as they would; what was charged nothing stays so."""
    limiter = RateLimiter(bucket, block=payer != "refused", dry_run=True)
    if PAYERS[payer]:
        bucket.allow(PAYERS[payer])
    permit = (await_permit if in_task else enter)(limiter, 2)
    charged = owed(bucket)
    assert charged == PAYERS[payer] + 2 * (payer != "refused")

    permit.settle(1)
    assert owed(bucket) == charged - (payer != "refused")
    permit.refund()
    permit.refund()
    assert owed(bucket) == PAYERS[payer]
    with pytest.raises(RuntimeError, match="refunded"):
        permit.settle(1)
    assert owed(bucket) == PAYERS[payer]


@pytest.mark.parametrize(
    ("actual", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), ({"a": 1}, TypeError)],
)
@pytest.mark.parametrize("payer", PAYERS)
def test_settle_a_counted_permit_with_what_is_invalid_raises(bucket, payer, actual, error):
    """P22: What was used is a number of tokens, whether or not anything was charged."""
    limiter = RateLimiter(bucket, block=payer != "refused", dry_run=True)
    if PAYERS[payer]:
        bucket.allow(PAYERS[payer])
    permit = enter(limiter, 2)
    charged = owed(bucket)

    with pytest.raises(error):
        permit.settle(actual)
    assert owed(bucket) == charged


@pytest.mark.parametrize(
    ("actual", "error"), [(1, TypeError), ({"c": 1}, ValueError), ({"a": -1}, ValueError)]
)
def test_settle_a_refused_permit_of_a_group_with_what_is_invalid_raises(clock, actual, error):
    """P22: A permit of a group is settled in the terms in which it was taken."""
    group = BucketGroup(a=TokenBucket(1, 1, clock=clock), b=TokenBucket(1, 1, clock=clock))
    permit = enter(RateLimiter(group, block=False, dry_run=True), {"a": 5})

    with pytest.raises(error):
        permit.settle(actual)
    permit.settle({"a": 3})
    assert [owed(bucket) for bucket in group.buckets.values()] == [0, 0]


def test_read_levels_of_a_permit_that_would_have_waited_tells_what_it_met(bucket):
    """A call that would have waited has the levels of the moment in which it came."""
    limiter = RateLimiter(bucket, dry_run=True)
    bucket.allow(bucket.capacity)
    bucket.reserve(1)

    level = enter(limiter, 1).levels[None]

    assert (level.available_tokens, level.waiting) == (0, 1)


def test_read_levels_of_a_counted_permit_tells_what_is_known(bucket):
    """A call that would have been refused, or would have waited, has the levels of that."""
    limiter = RateLimiter(bucket, block=False, dry_run=True)
    waiting = RateLimiter(bucket, dry_run=True)

    assert enter(limiter, 2).levels[None].available_tokens == 1
    assert enter(limiter, 2).levels[None].available_tokens == 1
    assert enter(waiting, 2).levels[None].available_tokens == 1


@pytest.mark.parametrize("take", [enter, await_permit])
def test_acquire_a_group_counts_each_bucket(clock, take):
    """A mapping is counted of the buckets that it names, all or nothing."""
    a, b = TokenBucket(3, 1, clock=clock), TokenBucket(5, 1, clock=clock)
    limiter = RateLimiter(BucketGroup(a=a, b=b), block=False, dry_run=True)

    for cost in ({"a": 2, "b": 1}, {"a": 2}, {"a": 1, "b": 5}, {"b": 4}):
        take(limiter, cost)

    assert (owed(a), owed(b)) == (2, 5)


def test_call_decorated_function_only_counts(clock):
    """`@rate_limited(dry_run=True)` lets every call pass at once."""

    @rate_limited(2, 1, block=False, dry_run=True, clock=clock)
    def work(value):
        return value

    @rate_limited(2, 1, dry_run=True, clock=clock)
    async def work_async(value):
        return value

    async def main():
        return [await work_async(value) for value in range(5)]

    assert [work(value) for value in range(5)] == asyncio.run(main()) == list(range(5))
    assert owed(work.limiter.bucket) == 2
    assert (owed(work_async.limiter.bucket), clock.elapsed) == (5, 0)


def test_call_plain_function_of_a_coroutine_in_a_task_only_counts(clock):
    """A client's plain function is called at once in a loop too, whatever is there."""
    bucket = TokenBucket(1, 1, clock=clock)

    async def fetch():
        return "done"

    def sdk():
        return fetch()

    sdk.__wrapped__ = fetch

    async def main():
        limited = RateLimiter(bucket, dry_run=True)(sdk)
        return [await limited() for _ in range(3)]

    assert asyncio.run(main()) == ["done"] * 3
    assert owed(bucket) == 3


def test_acquire_by_key_counts_each_key(clock):
    """A keyed limiter that only counts does so for each key."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(2, 1, clock=clock), block=False, dry_run=True)
    for _ in range(5):
        enter(limiters["ada"])
    enter(limiters["bob"])

    assert [owed(limiters[key].bucket) for key in ("ada", "bob")] == [2, 1]


def test_decorate_by_key_only_counts(clock):
    """A decorator with a key as well."""
    limited = rate_limited(1, 1, block=False, dry_run=True, key=len, clock=clock)(str.upper)

    assert [limited(text) for text in ("a", "b", "cc")] == ["A", "B", "CC"]


@pytest.mark.parametrize("wrong", [0, 1, None, "yes"])
def test_make_with_a_dry_run_that_is_no_bool_raises(bucket, wrong):
    """P22: A switch is True or False."""
    for make in (
        lambda: RateLimiter(bucket, dry_run=wrong),
        lambda: KeyedRateLimiter(list, dry_run=wrong),
        lambda: rate_limited(1, 1, dry_run=wrong),
    ):
        with pytest.raises(TypeError, match="dry_run must be True or False"):
            make()


def test_repr_says_that_it_only_counts(bucket):
    """Whoever looks at a limiter sees that it limits nothing."""
    assert repr(RateLimiter(bucket, dry_run=True)).endswith("timeout=None, dry_run=True)")
    assert "dry_run" not in repr(RateLimiter(bucket))


def test_correct_from_a_task_what_is_counted_in_line(bucket):
    """A permit that is awaited settles its place in line by the bucket's own calls."""
    limiter = RateLimiter(bucket, dry_run=True)
    bucket.allow(3)

    async def main():
        permit = await AsyncPermit(limiter, 2)
        await permit.settle(1)
        assert owed(bucket) == 4
        await permit.refund()

    asyncio.run(main())
    assert owed(bucket) == 3


@pytest.mark.parametrize("take", [enter, await_permit])
@pytest.mark.parametrize("make", [lambda bucket: bucket, lambda bucket: BucketGroup(only=bucket)])
def test_ask_for_more_than_comes_in_for_ever_keeps_a_thousand_in_line(clock, take, make):
    """Nobody is held up, so the line would grow; each call passes, and is told."""
    events = []
    set_hooks([events.append])
    bucket = TokenBucket(1, 0.001, clock=clock)
    limiter = RateLimiter(make(bucket), dry_run=True)

    for _ in range(1_100):
        permit = take(limiter)

    assert bucket.level.waiting == 1_000
    assert [event.kind for event in events] == ["would_wait"] * 1_099
    assert events[-1].seconds == pytest.approx(1_001_000)
    set_hooks([])
    take(limiter)
    permit.settle(2)
    permit.refund()
    assert bucket.level.waiting == 1_000


def test_would_wait_behind_a_thousand_beyond_the_timeout_would_be_refused(clock):
    """A timeout is judged by the whole line."""
    events = []
    limiter = RateLimiter(TokenBucket(1, 1, clock=clock), dry_run=True)
    hasty = RateLimiter(limiter.bucket, dry_run=True, timeout=1_000)
    for _ in range(1_001):
        enter(limiter)
    set_hooks([events.append])
    enter(hasty)
    clock.advance(1.5)  # nobody has left the line who has not been served
    enter(hasty)
    set_hooks([])
    assert [event.kind for event in events] == ["would_refuse", "would_wait"]


def test_would_wait_for_more_than_a_century_passes(clock):
    """A wait that a limiter would refuse as a mistake is only counted."""
    limiter = RateLimiter(TokenBucket(10, 1e-8, clock=clock), dry_run=True)
    for _ in range(10):
        enter(limiter, 10)
    assert await_permit(limiter, 10).levels[None].available_tokens == 0


def test_have_no_room_for_a_key_lets_it_pass(clock):
    """`max_keys` is a part of the limit that is only tried."""
    events = []
    set_hooks([events.append])
    users = KeyedRateLimiter.from_rate("1000/day", max_keys=3, dry_run=True, clock=clock)

    @rate_limited(1000, "1000/day", key=lambda user: user, dry_run=True, clock=clock)
    def function(user):
        return user

    function.limiter._max_keys = 3
    held = []
    for user in "abcdef":
        held.append(users[user])
        enter(held[-1])
        assert function(user) == user
    set_hooks([])
    assert len(users) == 3
    assert {event.kind for event in events} == {"would_refuse"}


class Away(TokenBucket):
    """A bucket whose store is away."""

    def _admit(self, *_, **__):
        raise BackendError("the store is away")

    async def _admit_async(self, *_, **__):
        raise BackendError("the store is away")


@pytest.mark.parametrize("take", [enter, await_permit])
def test_count_in_a_store_that_is_away_passes_and_says_so_once(take, caplog):
    """A limit that is only tried must not fail a call."""
    limiter = RateLimiter(Away(3, 1), dry_run=True, name="tried")
    for _ in range(3):
        permit = take(limiter)
    permit.settle(2)
    assert permit.levels == {}
    (record,) = caplog.records
    assert record.getMessage() == (
        "limiter tried, a dry run, lets calls pass uncounted: the store is away"
    )
    with pytest.raises(TypeError):
        permit.settle("2")
