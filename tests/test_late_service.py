"""Callers are charged as of when they leave, whenever anybody looks, and wake when they must."""

import asyncio
import threading
from fractions import Fraction

import pytest

from each import each
from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

TICK = Fraction(1, 10**9)  # a nanosecond


class CountingClock(ManualClock):
    """Counts how often anybody goes to sleep."""

    sleeps = 0

    async def sleep_async(self, sleeper, until):
        self.sleeps += 1
        await super().sleep_async(sleeper, until)


@pytest.fixture
def clock():
    return CountingClock()


def make(clock, capacity=10, rate=1, **options):
    return TokenBucket(capacity, rate, clock=clock, **options)


async def turns(count=8):
    for _ in range(count):
        await asyncio.sleep(0)


def test_refund_that_serves_a_group_charges_its_other_buckets_now(clock):
    """P7: What came back late lets it leave late; the other bucket was full until then."""
    short, full = make(clock, initial_tokens=0), make(clock)
    held = BucketGroup(short, full).reserve(5)
    clock.advance(3)
    short.refund(4)
    assert (held.delay, short.available_tokens, full.available_tokens) == (0, 2, 5)


def test_serve_groups_late_charges_each_as_of_when_the_one_ahead_left(clock):
    """P7, P10: Whoever is behind leaves no earlier, also in a bucket that was full all the time."""
    a, b, c = make(clock), make(clock, initial_tokens=2), make(clock)
    BucketGroup(a=a, b=b).reserve({"a": 2, "b": 10})
    BucketGroup(a, c).reserve(5)
    clock.advance(11)
    assert [bucket.available_tokens for bucket in (a, b, c)] == [6, 3, 8]


def test_wait_many_times_loses_no_part_of_a_nanosecond():
    """P3: Three tokens take a second, a hundred times over."""
    clock = ManualClock(auto_advance=True)
    bucket = make(clock, 1, 3, initial_tokens=0)
    for _ in range(300):
        bucket.wait()
    assert clock.elapsed == 100


@pytest.mark.parametrize("how", ["allow", "reserve", "group"])
def test_take_long_after_a_pause_takes_from_a_full_bucket(clock, how):
    """P4, P36: What has come back since a pause is the capacity at most."""
    bucket = make(clock)
    bucket.pause(1)
    clock.advance(100)
    if how == "allow":
        assert bucket.allow(10)
    elif how == "reserve":
        assert bucket.reserve(10).delay == 0
    else:
        assert BucketGroup(bucket, make(clock)).allow(10)
    assert (bucket.available_tokens, bucket.retry_after()) == (0, 1)


@pytest.mark.parametrize(
    "end",
    [
        lambda bucket, held, clock: held.cancel(),
        lambda bucket, held, clock: clock.advance(50),
        lambda bucket, held, clock: bucket.refund(9),
        lambda bucket, held, clock: held.settle(0),
        lambda bucket, held, clock: bucket._reset(),
        lambda bucket, held, clock: [bucket.pause(5), held.cancel(), bucket.resume()],
        lambda bucket, held, clock: [bucket.pause(5), clock.advance(50), held.delay],
    ],
)
@pytest.mark.fast_path
@pytest.mark.parametrize("shared", [False, True])
def test_end_of_a_line_brings_the_fast_path_back(clock, end, shared):
    """P38: Once nobody waits and no pause is on, a call needs no step any more."""
    bucket = make(clock, initial_tokens=0)
    asked = BucketGroup(bucket, make(clock)) if shared else bucket
    held = asked.reserve(3)
    assert bucket._ledger.when_full() is None
    end(bucket, held, clock)
    assert bucket.level.waiting == 0
    assert bucket._ledger.when_full() is not None


def test_move_up_a_reservation_wakes_who_sleeps_behind_it(clock):
    """P11: A sleeper behind a reservation of other buckets leaves earlier when that does."""

    async def main():
        a, b = make(clock, initial_tokens=0), make(clock)
        BucketGroup(a, b).reserve(5)
        task = asyncio.create_task(b.wait_async(6))
        await turns()
        assert b.retry_after(1) == 7
        a.refund(3)
        await turns()
        clock.advance(3)
        await turns()
        assert task.done()

    asyncio.run(main())


def test_serve_more_than_one_step_can_wakes_who_has_moved_up(clock):
    """P10, P11: Whom the first step moves up hears of it, though a second one is needed."""

    async def main():
        crowded, other = make(clock, 100, initial_tokens=0), make(clock, 100, initial_tokens=0)
        first = crowded.reserve(100)
        for _ in range(63):  # and a sleeper: as many as one step serves
            crowded.reserve()
        sleepers = [asyncio.create_task(crowded.wait_async()) for _ in range(2)]
        await turns()
        first.cancel()
        await turns()
        other.reserve()
        clock.advance(64)
        assert BucketGroup(other, crowded).level.waiting == 1
        await turns()
        clock.advance(1)
        await turns()
        assert [task.done() for task in sleepers] == [True, True]

    asyncio.run(main())


# Who reserves what in empty buckets, who waits behind that for a token, what it is settled to, and
# when the one who waits leaves: without the change at 6 s, in the bucket `b` alone at 5 s.
SETTLED = [
    ("a", 5, "a", 4, 5),
    ("a", 5, "a", 1, 2),
    ("a", 5, "a", 0, 1),
    ("a", 5, "a", 8, 9),
    ("ab", {"a": 5, "b": 5}, "ab", {"a": 1, "b": 2}, 3),
    ("ab", {"a": 5, "b": 5}, "ab", {"a": 8, "b": 1}, 9),
    ("ab", {"a": 5, "b": 1}, "ab", {"a": 1}, 2),
    ("ab", {"a": 5, "b": 1}, "ab", {"a": 8}, 9),
    ("ab", {"a": 5, "b": 1}, "a", {"a": 1}, 2),
    ("ab", {"a": 5, "b": 1}, "b", {"a": 1}, 2),
    ("ab", {"a": 5, "b": 1}, "b", {"a": 8}, 8),
    ("ab", {"a": 5, "b": 1}, "b", {"b": 7}, 8),
]


def reserve_in(clock, names, tokens):
    """Return a reservation in two empty buckets or one of them, and these and their group."""
    a, b = (make(clock, initial_tokens=0) for _ in range(2))
    buckets = {"a": a, "b": b, "ab": BucketGroup(a=a, b=b)}
    return buckets[names].reserve(tokens), buckets


@each(("reserves", "reserved", "waits", "settled", "leaves"), SETTLED)
def test_settle_a_reservation_moves_the_task_that_sleeps_behind_it(
    reserves, reserved, waits, settled, leaves
):
    """P9: A task behind a reservation leaves when what that costs by now has come in."""

    async def main():
        clock = ManualClock()
        held, buckets = reserve_in(clock, reserves, reserved)
        task = asyncio.create_task(buckets[waits].wait_async())
        await turns()
        held.settle(settled)
        await turns()
        clock.advance(leaves - TICK)
        await turns()
        assert not task.done()
        clock.advance(TICK)
        await turns()
        assert task.done()

    asyncio.run(main())


@each(("reserves", "reserved", "waits", "settled", "leaves"), SETTLED)
def test_settle_a_reservation_moves_the_thread_that_sleeps_behind_it(
    reserves, reserved, waits, settled, leaves
):
    """P9: A thread behind a reservation does the same."""
    clock, left = ManualClock(), threading.Event()
    held, buckets = reserve_in(clock, reserves, reserved)
    call = threading.Thread(target=lambda: (buckets[waits].wait(), left.set()), daemon=True)
    call.start()
    clock.wait_for_sleepers()
    held.settle(settled)
    clock.advance(leaves - TICK)
    assert not left.is_set()
    clock.advance(TICK)
    assert left.wait(5)
    call.join(5)


@pytest.mark.parametrize(
    "change",
    [
        lambda bucket: bucket.pause(5),
        lambda bucket: bucket.configure(tokens_per_second=0.5),
        lambda bucket: bucket.reserve(3).cancel(),
        lambda bucket: bucket.reserve(3).settle(9),
        lambda bucket: bucket.available_tokens,
    ],
)
def test_change_that_serves_nobody_earlier_wakes_nobody(clock, change):
    """P13: A sleeper sleeps on when its time has not come nearer."""

    async def main():
        bucket = make(clock, initial_tokens=0)
        tasks = [asyncio.create_task(bucket.wait_async(2)) for _ in range(3)]
        await turns()
        assert clock.sleeps == 3
        change(bucket)
        await turns()
        assert clock.sleeps == 3
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("shared", [False, True])
def test_wait_sleeps_once_for_each_grant(clock, shared):
    """P13: Each sleeper sets its own alarm, alone or behind others, of one bucket or of two."""

    async def main():
        bucket = make(clock, initial_tokens=0)
        asked = BucketGroup(bucket, make(clock)) if shared else bucket
        tasks = [asyncio.create_task(asked.wait_async(2)) for _ in range(5)]
        for _ in range(5):
            await turns()
            clock.advance(2)
        await asyncio.gather(*tasks)
        return clock.sleeps

    assert asyncio.run(main()) == 5


@pytest.mark.fast_path
@pytest.mark.parametrize("who", ["task", "reservation", "group"])
def test_serve_at_the_end_of_a_pause_leaves_no_trace_of_it(clock, who):
    """P36: What is given back after a pause is there, for it is over and has been served from."""

    async def main():
        bucket = make(clock)
        with RateLimiter(bucket).acquire(5) as permit:
            assert bucket.allow(5)
        asked = BucketGroup(bucket, make(clock)) if who == "group" else bucket
        waiting = [asked.reserve()] if who != "task" else [asyncio.create_task(bucket.wait_async())]
        await turns()
        bucket.pause(2)
        clock.advance(2)
        await turns()
        if who != "task":
            assert waiting[0].delay == 0
        assert bucket._ledger.when_full() is not None
        permit.refund()
        assert bucket.available_tokens == 5

    asyncio.run(main())


@pytest.mark.parametrize("idle", [0, 100])
def test_reserve_above_an_idle_bucket_waits_for_the_rest(clock, idle):
    """P1, P4: What a full bucket would have gained while it was idle is not there."""
    bucket = make(clock, 10, 2)
    clock.advance(idle)
    assert bucket.reserve(14).delay == 2
    clock.advance(2)
    assert (bucket.available_tokens, bucket.retry_after()) == (0, 0.5)


def test_wait_while_the_clock_steps_back_has_waited_no_less_than_nothing(clock):
    """P8: A bad clock makes no wait negative."""

    async def main():
        bucket = make(clock, initial_tokens=0)

        async def acquire():
            return await RateLimiter(bucket).acquire()

        task = asyncio.create_task(acquire())
        await turns()
        clock.advance(-5)
        bucket._reset()
        await turns()
        assert (await task).waited == 0

    asyncio.run(main())
