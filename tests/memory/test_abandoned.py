"""Waiters whose event loop was closed."""

import asyncio

import pytest

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.memory import abandoned
from rate_limiter.memory.abandoned import drop_abandoned, forget_sleeper, note_sleeper
from rate_limiter.memory.line import Waiter
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def make(clock, **options):
    return TokenBucket(10, 1, initial_tokens=0, clock=clock, **options)


@pytest.fixture
def abandon():
    """Let tasks begin to wait on a loop that is then closed under them."""
    tasks = []

    def abandon(*waits):
        loop = asyncio.new_event_loop()
        tasks.extend(loop.create_task(wait) for wait in waits)
        for _ in range(5):
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()

    yield abandon
    for task in tasks:  # or they would complain that nobody ever ran them to their end
        task._log_destroy_pending = False
        task.get_coro().close()


CALLS = {
    "level": lambda bucket: bucket.level.waiting,
    "allow": lambda bucket: bucket.allow(),
    "acquire": lambda bucket: RateLimiter(bucket, block=False).acquire(0.5).__enter__(),
    "retry_after": lambda bucket: bucket.retry_after(),
    "reserve": lambda bucket: bucket.reserve().cancel(),
    "refund": lambda bucket: bucket.refund(1),
    "pause": lambda bucket: bucket.pause(0),
}


@pytest.mark.parametrize("call", CALLS)
def test_close_the_loop_drops_its_waiters_for_the_next_caller(clock, abandon, call):
    """P15: Whoever comes next finds no line of the dead, and all that they would have taken."""
    bucket = make(clock)
    abandon(bucket.wait_async(4), bucket.wait_async(4))
    clock.advance(1)

    CALLS[call](bucket)

    assert (bucket.level.waiting, abandoned._waiters) == (0, {})
    clock.advance(2)
    assert bucket.retry_after(4) <= 2


def test_close_the_loop_moves_up_the_waiters_of_others(clock, abandon):
    """P15: Those behind the dead are served when their own tokens are there."""
    bucket = make(clock)
    abandon(bucket.wait_async(8))
    behind = bucket.reserve(2)
    clock.advance(2)
    assert (bucket.level.waiting, behind.delay) == (0, 0)


def test_close_the_loop_of_a_group_frees_every_bucket(clock, abandon):
    """P7, P15: A dead waiter of several buckets leaves all their lines."""
    a, b = make(clock), make(clock)
    abandon(BucketGroup(a, b).wait_async(5))
    clock.advance(1)
    assert (a.allow(), b.level.waiting, b.available_tokens) == (True, 0, 1)


def test_leave_a_loop_that_runs_keeps_its_waiters(clock):
    """P15: A loop that is not closed may go on."""
    bucket = make(clock)

    async def main():
        task = asyncio.create_task(bucket.wait_async(2))
        await asyncio.sleep(0)
        assert bucket.level.waiting == 1
        clock.advance(2)
        await task

    asyncio.run(main())
    assert abandoned._waiters == {}


def test_forget_sleeper_forgets_its_loop_with_the_last_one():
    """P14: Nothing is kept of loops in which nobody sleeps."""
    loop, first, second = object(), Waiter(), Waiter()
    for waiter in (first, second):
        note_sleeper(loop, waiter)
        note_sleeper(None, waiter)
    assert list(abandoned._waiters.items()) == [(loop, {first: None, second: None})]
    for waiter in (first, second, second):
        forget_sleeper(loop, waiter)
        forget_sleeper(None, waiter)
    assert abandoned._waiters == {}


def test_drop_abandoned_reads_again_what_changes_while_it_reads(monkeypatch):
    """P19: A finalizer may note a sleeper while the loops are being looked at."""

    class Changing(dict):
        failures = 1

        def __iter__(self):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

        def keys(self):
            raise AssertionError

    loop = asyncio.new_event_loop()
    changing = Changing({loop: {Waiter(): None}})
    monkeypatch.setattr(abandoned, "_waiters", changing)
    drop_abandoned(0)
    assert list(changing) == [loop]
    loop.close()
    drop_abandoned(0)
    assert not changing


def test_note_sleeper_while_a_finalizer_forgets_the_last_one_keeps_it(monkeypatch):
    """P19: Between looking up a loop and noting a sleeper its entry may go."""

    class Vanished(dict):
        def setdefault(self, key, default):
            found = super().setdefault(key, default)
            self.pop(key)
            return found

    loop, waiter = object(), Waiter()
    monkeypatch.setattr(abandoned, "_waiters", Vanished())
    note_sleeper(loop, waiter)
    assert abandoned._waiters == {loop: {waiter: None}}
