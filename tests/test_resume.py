"""Ending a pause early, and what a pause leaves alone."""

import asyncio
from threading import Thread

import pytest

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def make(clock, capacity=10, rate=2, **options):
    return TokenBucket(capacity, rate, clock=clock, **options)


@pytest.mark.parametrize(
    ("capacity", "taken", "available"),
    [(10, 0, 1), (10, 9, 1), (10, 9.5, 0.5), (10, 10, 0), (0.5, 0, 0.5), (0.5, 0.25, 0.25)],
)
def test_resume_leaves_at_most_one_token(clock, capacity, taken, available):
    """P36: No burst follows a pause that is ended, and nothing is minted."""
    bucket = make(clock, capacity)
    if taken:
        bucket.allow(taken)
    bucket.pause(60)

    bucket.resume()

    assert (bucket.available_tokens, bucket.level.paused_for) == (available, 0)
    assert bucket.level.full_in == (capacity - available) / 2
    clock.advance(0.25)
    assert bucket.available_tokens == min(available + 0.5, capacity)


def test_resume_without_a_pause_does_nothing(clock):
    """P36: A bucket that is not paused keeps its tokens."""
    bucket = make(clock)
    bucket.allow(3)
    bucket.resume()
    assert bucket.available_tokens == 7


@pytest.mark.parametrize(("after", "available"), [(3, 1), (4, 3), (60, 10)])
def test_resume_after_the_end_changes_nothing(clock, after, available):
    """P36: A pause that is over was followed by the rate, and goes on so."""
    bucket = make(clock)
    bucket.pause(3)
    clock.advance(after)
    bucket.resume()
    assert bucket.available_tokens == available


def test_resume_keeps_debt(clock):
    """P36: A debt survives a pause and its end."""
    bucket = make(clock)
    bucket.reserve(10).settle(20)
    bucket.pause(60)
    clock.advance(1)
    bucket.resume()
    assert bucket.retry_after() == 4.5


def test_resume_group_ends_the_pause_of_every_bucket(clock):
    """A group is resumed as it is paused, and a bucket of it alone as well."""
    buckets = [make(clock), make(clock)]
    group = BucketGroup(*buckets)
    group.pause(60)
    buckets[0].resume()
    assert [bucket.available_tokens for bucket in buckets] == [1, 0]
    group.resume()
    assert [bucket.available_tokens for bucket in buckets] == [1, 1]


def test_resume_with_reservations_moves_them_up(clock):
    """P36: One leaves at once, and the others follow at the rate."""
    bucket = make(clock, 1)
    bucket.allow()
    line = [bucket.reserve() for _ in range(3)]
    bucket.pause(60)
    clock.advance(10)
    assert [reservation.delay for reservation in line] == [50, 50.5, 51]

    bucket.resume()

    assert [reservation.delay for reservation in line] == [0, 0.5, 1]


def test_resume_with_group_reservations_moves_the_other_lines_up(clock):
    """P36: Those who wait elsewhere behind whoever was paused move up as well."""
    paused, other = make(clock), make(clock, initial_tokens=0)
    paused.pause(60)
    both, behind = BucketGroup(paused, other).reserve(1), other.reserve(1)
    assert (both.delay, behind.delay) == (60, 60)

    paused.resume()

    assert (both.delay, behind.delay) == (0.5, 1)


def test_resume_wakes_a_task_whose_tokens_are_there(clock):
    """P36: A sleeping task does not sleep to the end of a pause that is gone."""

    async def main():
        bucket = make(clock)
        bucket.pause(60)
        tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(2)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert clock.sleepers == 2
        bucket.resume()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True, False]
        clock.advance(0.5)
        await tasks[1]

    asyncio.run(main())


def test_resume_wakes_a_thread_to_sleep_less(clock):
    """P36: A thread whose tokens are not there yet sleeps on until they are."""
    bucket = make(clock, initial_tokens=0)
    thread = Thread(target=bucket.wait, args=(3,), daemon=True)
    bucket.pause(60)
    thread.start()
    clock.wait_for_sleepers()
    bucket.resume()
    clock.advance(1.5)
    thread.join(5)
    assert not thread.is_alive()


CHANGES = {
    "refund": lambda bucket, _: bucket.refund(10),
    "settle": lambda _, held: held.settle(0),
    "cancel": lambda _, held: held.cancel(),
    "configure": lambda bucket, _: bucket.configure(capacity=20),
    "shorter pause": lambda bucket, _: bucket.pause(1),
    "no pause": lambda bucket, _: bucket.pause(0),
    "refused": lambda bucket, _: bucket.allow(),
    "left": lambda bucket, _: bucket.reserve(5).cancel(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("taken", [1, 10])
def test_change_a_paused_bucket_neither_shortens_nor_bursts(clock, change, taken):
    """P36: Nothing but `resume` shortens a pause, and one token at most is there at its end."""
    bucket = make(clock)
    held = bucket.reserve(taken)
    bucket.pause(3)

    CHANGES[change](bucket, held)

    assert (bucket.level.paused_for, bucket.retry_after(1e-9), bucket.available_tokens) == (3, 3, 0)
    clock.advance(3 - 1e-9)
    assert not bucket.allow(1e-9)
    clock.advance(1e-9)
    assert [bucket.allow() for _ in range(3)] == [True, False, False]
    clock.advance(0.5)
    assert [bucket.allow() for _ in range(2)] == [True, False]


def test_pause_for_nothing_changes_nothing(clock):
    """`pause(0)` takes no tokens away."""
    bucket = make(clock)
    bucket.pause(0)
    assert bucket.available_tokens == 10


def test_configure_in_a_pause_finds_the_level_that_is_there(clock):
    """P36: What comes after a pause is not told of tokens that it took."""
    bucket = make(clock)
    bucket.pause(3)
    clock.advance(5)
    bucket.configure(capacity=100, tokens_per_second=1)
    assert bucket.available_tokens == 5


def test_pause_keeps_a_debt_that_lasts_longer(clock):
    """P36: A pause neither pays a debt nor adds to it."""
    bucket = make(clock)
    bucket.reserve(10).settle(20)
    bucket.pause(3)
    clock.advance(3)
    assert bucket.retry_after(1) == 2.5


def test_pause_a_bucket_below_one_token_gives_all_at_its_end(clock):
    """P36: A capacity of less than a token is there as a whole."""
    bucket = make(clock, 0.5)
    bucket.pause(3)
    assert bucket.retry_after(0.5) == 3
    clock.advance(3)
    assert bucket.available_tokens == 0.5


def test_pause_again_after_the_end_begins_anew(clock):
    """P36: A second pause counts from when it was asked for."""
    bucket = make(clock)
    bucket.pause(3)
    clock.advance(5)
    bucket.pause(1)
    assert bucket.level.paused_for == 1
    clock.advance(1)
    assert bucket.available_tokens == 1
