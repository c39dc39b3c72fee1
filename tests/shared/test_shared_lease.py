"""Leases: tokens taken in advance, and spent in this process."""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from dict_store import AsyncDictTokenBucket, DictTokenBucket
from leases import PATIENCE, lease_of

from rate_limiter import (
    BackendError,
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
)
from rate_limiter.shared import background, holding
from rate_limiter.shared.failures import ReplyLost
from rate_limiter.shared.lease import Lease
from rate_limiter.testing import ManualClock

pytestmark = [pytest.mark.usefixtures("untraced"), pytest.mark.fast_path]


@pytest.fixture
def clock():
    return ManualClock(start=1_790_000_000)


def test_allow_with_a_lease_asks_once_for_all_its_tokens(leased, asked, level):
    """Ten calls are one question, and ten tokens are gone at the first of them."""
    assert [leased.allow() for _ in range(10)] == [True] * 10
    assert asked() == ["lease"]
    assert level() == 90
    asked()
    assert leased.allow()
    assert asked() == ["lease"]


def test_allow_more_than_is_left_counts_that_towards_the_cost(leased, asked, level):
    """What is left of one lease is part of the next: nothing is charged twice."""
    assert leased.allow(7)
    assert leased.allow(5)
    assert asked() == ["lease", "lease"]
    assert level() == 100 - 12 - 5


def test_allow_more_than_a_lease_takes_just_that(leased, level):
    """A cost above the lease is taken alone."""
    assert leased.allow(25)
    assert level() == 75


def test_allow_from_a_store_that_has_less_gets_what_is_there(leased, level):
    """The store gives what is there, at least the call's own cost."""
    assert leased.allow(94)
    assert leased.allow(2)
    assert level() == 0
    assert [leased.allow() for _ in range(5)] == [True] * 4 + [False]


def test_refusal_keeps_what_had_been_left(leased, asked, store, clock):
    """P5: A refusal costs nothing, also not what was left of a lease."""
    assert leased.allow(7)
    assert DictTokenBucket(store, "bucket", 100, 10, clock=clock).allow(90)
    asked()
    assert not leased.allow(5)
    assert leased.allow(3)
    assert asked() == ["lease"]


def test_refusal_is_remembered_until_the_instant_that_was_told(leased, asked, clock):
    """A plain no need not be asked for again, but a smaller cost may be there."""
    assert leased.allow(100)
    asked()
    assert not leased.allow(3)
    assert not leased.allow(4)
    assert not leased.allow(3)
    assert asked() == ["lease"]
    assert not leased.allow(2)
    assert asked() == ["lease"]
    clock.advance(0.2)
    assert leased.allow(2)


def test_refusal_by_a_limiter_tells_when_to_come_back(leased, clock):
    """P37: The second refusal tells what is left of the time that the first was told."""
    limiter = RateLimiter(leased, block=False)
    assert leased.allow(100)
    for waited, left in ((0, 0.3), (0.1, 0.2)):
        clock.advance(waited)
        with pytest.raises(RateLimitExceeded) as refusal:
            limiter.acquire(3).__enter__()
        assert refusal.value.retry_after == pytest.approx(left)
        assert refusal.value.levels[None].capacity == 100


def test_refusal_is_remembered_no_longer_than_a_lease_lasts(leased, asked, clock, store):
    """A refund by others is heard of after that time, however long the wait was to be."""
    assert leased.allow(100)
    assert not leased.allow(50)
    DictTokenBucket(store, "bucket", 100, 10, clock=clock).refund(60)
    assert not leased.allow(50)
    clock.advance(0.5)
    assert leased.allow(50)


def test_acquire_with_a_lease_is_decided_here_and_can_be_settled(leased, asked, level):
    """A limiter that does not wait spends the lease; what was paid is corrected at the store."""
    limiter = RateLimiter(leased, block=False)
    permits = [limiter.acquire(2).__enter__() for _ in range(5)]
    assert asked() == ["lease"]
    permits[3].settle(1)
    permits[4].refund()
    assert level() == 93


def test_wait_with_a_lease_goes_to_the_store(leased, asked):
    """Callers that wait stand in the store's line."""
    leased.wait(5)
    assert asked() == ["take"]


def test_what_is_over_is_not_spent(leased, asked, clock):
    """P42: A process that was stopped for a while spends nothing that is older than its lease."""
    assert leased.allow(3)
    asked()
    clock.advance(0.5)
    assert leased.allow(3)
    assert "lease" in asked()


def test_key_of_a_bucket_with_a_lease_is_kept_as_long_as_that_is_spent(store, clock):
    """P42: A limiter by key finds the lease that it has, instead of taking another one."""

    def bucket_of(key):
        return lease_of(DictTokenBucket(store, f"{key}", 100, 0.001, clock=clock), seconds=60)

    limiters = KeyedRateLimiter(bucket_of, block=False)
    for turn in range(100):
        with limiters[turn % 10].acquire():
            pass
    assert len(store.questions) == 10


@pytest.mark.parametrize("error", [BackendError("refused"), ReplyLost("lost"), KeyboardInterrupt()])
def test_fail_to_get_a_lease_keeps_what_was_left(leased, store, asked, error):
    """P29: What had been charged before is there, whatever has become of the rest."""
    assert leased.allow(7)
    store.failures = [error]
    with pytest.raises(type(error)):
        leased.allow(4)
    asked()
    assert leased.allow(3)
    assert asked() == []
    assert leased.allow(1)
    assert asked() == ["lease"]


def test_fail_to_get_a_lease_leaves_it_to_the_fallback(store, clock):
    """P39: A failed call is decided by the fallback, and the next one asks."""
    bucket = DictTokenBucket(store, "bucket", 100, 10, clock=clock, fallback="deny")
    lease_of(bucket)
    store.failures = [BackendError("away")]
    assert [bucket.allow(), bucket.allow()] == [False, True]


def test_only_one_thread_takes_a_lease_at_a_time(leased, store, level):
    """P42: A process holds one lease, however many threads it has."""
    ask, together = store.ask, Barrier(8)

    def ask_together(question):
        together.wait(PATIENCE)
        return ask(question)

    store.ask = ask_together
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: leased.allow(), range(8)))
    store.ask = ask
    assert sum(question.operation == "lease" for question in store.questions) == 1
    assert level() == 100 - 10 - 7


def test_allow_just_after_another_thread_got_a_lease_spends_it(leased, asked, monkeypatch):
    """P42: What another thread has got since this one looked is spent, and not lost."""
    monkeypatch.setattr(holding.Held, "decide", lambda *_: None)
    assert [leased.allow() for _ in range(10)] == [True] * 10
    assert asked() == ["lease"]


async def admitted(limiter):
    """Tell whether a limiter that does not wait admits."""
    try:
        async with limiter.acquire():
            return True
    except RateLimitExceeded:
        return False


@pytest.mark.parametrize("by_limiter", [False, True], ids=["bucket", "limiter"])
def test_crowd_spends_what_one_of_it_has_leased(store, clock, by_limiter):
    """P39: Whoever is refused while another caller takes a lease finds its tokens there."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 10, 10, clock=clock))
    limiter = RateLimiter(bucket, block=False)

    async def main():
        asks = [admitted(limiter) if by_limiter else bucket.allow() for _ in range(12)]
        return sum(await asyncio.gather(*asks))

    assert asyncio.run(main()) == 10


def test_count_with_threads_is_exact(leased, store):
    """P18: Threads that spend one lease spend each token once."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            taken = sum(threads.map(lambda _: sum(leased.allow() for _ in range(50)), range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert taken == 100


@pytest.mark.parametrize(("name", "value"), [("gettrace", lambda: print), ("_FREE_THREADED", True)])
def test_threads_amid_a_line_leave_the_decision_to_the_store(
    leased, asked, monkeypatch, name, value
):
    """P18: Where a tracer may switch threads anywhere, or nothing stops them, the store decides."""
    monkeypatch.setattr(holding, name, value)
    assert leased.allow()
    assert leased.allow()
    assert asked() == ["take", "take"]


def test_allow_in_tasks_spends_a_lease(store, clock, asked, level):
    """P42: A bucket of tasks spends leases as well, and its loop's end gives back at once."""
    began = time.monotonic()
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 100, 10, clock=clock))

    async def main():
        limiter = RateLimiter(bucket, block=False)
        for _ in range(3):
            assert await bucket.allow()
            await asyncio.sleep(0)
            async with limiter.acquire():
                pass
        assert asked() == ["lease"]

    asyncio.run(main())
    assert level() == 94
    assert time.monotonic() - began < background.PATIENCE


@pytest.mark.parametrize(
    ("tokens", "seconds", "error", "said"),
    [
        (0, 1, ValueError, "tokens must be"),
        (-1, 1, ValueError, "tokens must be"),
        (float("nan"), 1, ValueError, "tokens must be"),
        ("5", 1, TypeError, "tokens must be"),
        (5, 0, ValueError, "seconds must be"),
        (5, -1, ValueError, "seconds must be"),
        (5, float("inf"), ValueError, "seconds must be"),
        (5, None, TypeError, "seconds must be"),
    ],
)
def test_make_a_lease_of_what_is_none_is_refused(tokens, seconds, error, said):
    """P22: A lease is a positive number of tokens for a positive number of seconds."""
    with pytest.raises(error, match=said):
        Lease(tokens, seconds)


@pytest.mark.parametrize(
    ("tokens", "seconds", "said"),
    [
        (101, 1, r"at most the capacity of 100 tokens, got 101"),
        (100, 11, r"at most the 10 seconds that the bucket takes to fill, got 11"),
    ],
)
def test_lease_more_than_a_bucket_can_give_is_refused(store, clock, tokens, seconds, said):
    """P42: A lease that would hold more than the bucket, or for longer than that lasts, is none."""
    bucket = DictTokenBucket(store, "bucket", 100, 10, clock=clock)
    with pytest.raises(ValueError, match=said):
        lease_of(bucket, tokens, seconds)


def test_lease_what_is_no_lease_is_refused(store, clock):
    """P22: A number is no lease."""
    bucket = DictTokenBucket(store, "bucket", 100, 10, clock=clock)
    with pytest.raises(TypeError, match="lease must be a Lease, got 50"):
        bucket._lease(50)


def test_group_buckets_with_leases_is_refused(leased):
    """A group decides for all its buckets in one step, which a lease would have done before."""
    with pytest.raises(ValueError, match="a bucket with a lease cannot be in a BucketGroup"):
        BucketGroup(leased)
