"""What buckets of every kind have in common, wherever their tokens are."""

import asyncio

import pytest

from rate_limiter import AsyncBucket, AsyncPermit, Bucket, BucketGroup, RateLimiter, TokenBucket
from rate_limiter.exceptions import RateLimitExceeded
from rate_limiter.level import Level
from rate_limiter.testing import ManualClock

LOW, LATE = (Level(5.0, 5.0, tokens, 1.0, 0.0, 0) for tokens in (1.0, 0.0))


class Plain(Bucket):
    """A bucket that can do nothing by itself."""


class Awaited(AsyncBucket):
    """A bucket whose answers are awaited; it has some tokens, and a line that it tells of."""

    capacity = tokens_per_second = 5.0
    available_tokens = None

    def __init__(self, tokens):
        self.tokens = tokens
        self.told = []

    async def allow(self, tokens=1):
        return tokens <= self.tokens

    async def wait(self, tokens=1, timeout=None):
        self.told.append(("wait", tokens, timeout))

    async def reserve(self, tokens=1, timeout=None):
        if timeout == 0:
            raise RateLimitExceeded("not in time", levels={None: LATE})
        return Reserved(self)

    async def _admit_async(self, tokens, block, timeout, source=None):
        if tokens > self.tokens:
            raise RateLimitExceeded("no", levels={None: LOW})
        self.tokens -= tokens
        return 0.0, self, None

    def _check(self, tokens):
        pass


class Reserved:
    def __init__(self, bucket):
        self._bucket = bucket

    async def settle(self, actual):
        self._bucket.told.append(("settle", actual))

    async def cancel(self):
        self._bucket.told.append(("cancel",))


Plain.__abstractmethods__ = Awaited.__abstractmethods__ = frozenset()


def test_ask_awaited_bucket_by_its_other_names_does_the_same():
    """`try_consume` is `allow`, and `wait_async` is `wait`."""
    bucket = Awaited(3)

    async def main():
        await bucket.wait_async(2, timeout=7)
        return await bucket.try_consume(3), await bucket.try_consume(4)

    assert asyncio.run(main()) == (True, False)
    assert bucket.told == [("wait", 2, 7)]


def test_join_buckets_of_two_kinds_raises():
    """P7: What decides in one step must be of one kind."""
    with pytest.raises(TypeError, match="a Awaited does not go with a TokenBucket"):
        BucketGroup(TokenBucket(1, 1), Awaited(1))


@pytest.mark.parametrize(
    ("tokens", "options", "told", "levels"),
    [
        (1, {}, [("settle", 2), ("cancel",), ("cancel",)], {None: LOW}),
        (1, {"block": False}, [], {None: LOW}),
        (1, {"timeout": 0}, [], {None: LATE}),
    ],
)
def test_count_only_on_an_awaited_bucket_corrects_what_it_charged(tokens, options, told, levels):
    """A limiter that only counts does so for buckets whose answers are awaited as well."""
    bucket = Awaited(tokens)

    async def main():
        async with RateLimiter(bucket, dry_run=True, **options).acquire(2) as permit:
            assert permit.levels == levels
            await permit.settle(2)
        await permit.refund()
        await permit.refund()
        with pytest.raises(RuntimeError, match="refunded"):
            await permit.settle(1)

    asyncio.run(main())
    assert bucket.told == told


def test_correct_from_a_task_what_memory_has_decided():
    """A bucket in memory that decides for one elsewhere is corrected over the loop as well."""
    bucket = TokenBucket(5, 1, clock=ManualClock())

    async def main():
        permit = await AsyncPermit(RateLimiter(bucket), 2)
        await permit.settle(4)
        assert bucket.available_tokens == 1
        await permit.refund()
        with pytest.raises(RuntimeError, match="refunded"):
            await permit.settle(1)

    asyncio.run(main())
    assert bucket.available_tokens == 5


def test_drop_a_permit_that_is_half_made_says_nothing():
    """P19: An interrupt may leave a permit without a state; there is nothing to warn of."""
    del_half_made = object.__new__(AsyncPermit)
    del del_half_made


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda _: None, "TokenBucket(capacity=10, tokens_per_second=2, available_tokens=10)"),
        (
            lambda bucket: bucket.pause(60),
            "TokenBucket(capacity=10, tokens_per_second=2, available_tokens=0, paused_for=60)",
        ),
        (
            lambda bucket: bucket.reserve(10).settle(20),
            "TokenBucket(capacity=10, tokens_per_second=2, available_tokens=0, retry_after=5.5)",
        ),
        (
            lambda bucket: bucket.reserve(12),
            "TokenBucket(capacity=10, tokens_per_second=2, available_tokens=0)",
        ),
    ],
)
def test_repr_says_of_a_pause_or_a_debt(change, shown):
    """Whoever looks at a bucket sees why nothing is there."""
    bucket = TokenBucket(10, 2, clock=ManualClock())
    change(bucket)
    assert repr(bucket) == shown


@pytest.mark.parametrize("rate", [2, 3, 7, 0.3, 100 / 60])
def test_repr_of_an_empty_bucket_tells_of_no_debt(rate):
    """A bucket that is just empty owes nothing, whatever the rate."""
    bucket = TokenBucket(10, rate, initial_tokens=0, clock=ManualClock())
    assert "retry_after" not in repr(bucket)


def test_repr_of_a_nested_group_shows_all_of_it():
    """A group within a group is shown by its members."""
    bucket = TokenBucket(1, 1, clock=ManualClock())
    assert repr(BucketGroup(inner=BucketGroup(a=bucket))) == (
        f"BucketGroup(inner=BucketGroup(a={bucket!r}))"
    )
