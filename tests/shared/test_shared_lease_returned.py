"""Leases that are given back in time, whoever calls, and whatever a store does meanwhile."""

import asyncio
import gc
import os
import threading
import time
import weakref
from threading import Event
from types import SimpleNamespace

import pytest
from dict_store import AsyncDictTokenBucket, DictStore, DictTokenBucket
from leases import PATIENCE, eventually, lease_of, returners_of

from rate_limiter import (
    BackendError,
)
from rate_limiter.shared import background, holding, returning
from rate_limiter.shared.failures import NoAnswer
from rate_limiter.testing import ManualClock

pytestmark = [pytest.mark.usefixtures("untraced"), pytest.mark.fast_path]


@pytest.fixture
def clock():
    return ManualClock(start=1_790_000_000)


def test_what_is_left_is_given_back_when_the_time_is_over(leased, level, clock):
    """P42: It is given back by itself, not at the next call."""
    assert leased.allow(3)
    clock.wait_for_sleepers(1)
    assert level() == 90
    clock.advance(0.5)
    eventually(lambda: level() == 100)  # 7 by giving back, and 5 that came in since
    assert leased.allow(3)


def test_leases_one_after_the_other_are_each_given_back(leased, level, clock):
    """A lease that follows another has a time of its own."""
    assert leased.allow(10)
    clock.wait_for_sleepers(1)
    clock.advance(0.25)
    assert leased.allow(1)
    clock.advance(0.25)
    time.sleep(0.02)
    assert level() == 85  # 100 - 20 + 5 since: the second is still held
    clock.advance(0.25)
    eventually(lambda: level() == pytest.approx(96.5))


def test_what_could_not_be_given_back_runs_out(leased, store, level, clock):
    """P40: The thread that gives back outlives a failure of the store."""
    assert leased.allow(3)
    clock.wait_for_sleepers(1)
    store.failures = [BackendError("away")]
    clock.advance(0.5)
    eventually(lambda: not store.failures)
    assert leased.allow(1)
    clock.wait_for_sleepers(1)
    before = level()
    clock.advance(0.5)
    eventually(lambda: level() > before + 6)


@pytest.mark.parametrize(("late", "given"), [(0, 9), (0.3, 6), (0.85, 0.5), (0.9, 0), (50, 0)])
def test_what_is_given_back_late_has_run_out_since(store, clock, monkeypatch, late, given):
    """P42: A process that was stopped adds no lease to a bucket that has become full meanwhile."""
    leased = lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))
    monkeypatch.setattr(type(leased), "_return_later", lambda *_: None)
    assert leased.allow()
    clock.advance(0.5 + late)
    look = DictTokenBucket(store, "bucket", 100, 10, clock=clock)
    look.allow(look.available_tokens)
    questions = len(store.questions)
    returning.give_back(leased, early=False)
    assert len(store.questions) - questions == (given > 0)
    assert look.available_tokens == given


def test_server_that_does_not_answer_holds_up_its_own_leases_alone(clock):
    """P42: Leases of one client are given back whatever another client's server does."""
    hanging, well = DictStore(), DictStore()
    slow, fine = [
        lease_of(DictTokenBucket(each, "bucket", 100, 10, clock=clock)) for each in (hanging, well)
    ]
    ask, answers = hanging.ask, Event()

    def hang(question):
        answers.wait(PATIENCE)
        return ask(question)

    assert slow.allow()
    assert fine.allow()
    hanging.ask = hang
    clock.wait_for_sleepers(2)
    clock.advance(0.5)
    try:
        eventually(lambda: well.questions[-1].operation == "correct")
        assert [question.operation for question in hanging.questions] == ["lease"]
    finally:
        answers.set()


@pytest.mark.parametrize("error", [RuntimeError("no token from the cloud"), BackendError("away")])
def test_thread_that_gives_back_outlives_whatever_a_client_raises(
    leased, store, level, clock, error
):
    """P42: One lease that could not be given back is one lease."""
    other = lease_of(DictTokenBucket(store, "other", 100, 10, clock=clock), seconds=1)
    assert other.allow()
    assert leased.allow()
    clock.wait_for_sleepers(1)
    store.failures = [error]
    clock.advance(0.5)
    eventually(lambda: not store.failures)
    clock.advance(0.5)
    eventually(lambda: store.questions[-1].charges[0][0].key == b"other")
    assert other.available_tokens == 100


def test_thread_ends_with_the_last_lease_and_another_one_begins(leased, store, clock):
    """P42: A process has no thread for a client whose buckets hold nothing."""
    for _ in range(3):
        assert leased.allow()
        clock.wait_for_sleepers(1)
        clock.advance(0.5)
        eventually(lambda: not returners_of(store))


def test_tell_a_thread_that_has_just_ended_tells_another_one(leased, store, clock):
    """P42: A lease is not lost between the last look of a thread and its end."""
    bucket = SimpleNamespace(_clock=clock, _source=store)
    key = os.getpid(), id(store), id(clock)
    ended = returning._returners[key] = returning._Returner(key, bucket)
    tell = ended._tell

    def end_and_tell(news):
        ended._leave()
        return tell(news)

    ended._tell = end_and_tell
    assert leased.allow()
    (other,) = returners_of(store)
    assert other is not ended
    assert ended.give_all_back().is_set()


def test_serve_once_more_what_comes_at_the_end_of_a_thread(leased, store, clock, level):
    """P42: What a thread is told while it ends is still looked at."""
    returner = returning._Returner("key", leased)
    serve, added = returner._serve, []

    def serve_and_add(leases):
        serve(leases)
        if not added:
            added.append(True)
            leased._held.watched = True
            assert leased.allow()
            leased._held.drop()
            returner._news.put((clock.now(), 0, leased, False))

    returner._serve = serve_and_add
    returner._run()
    assert level() == 99


def test_begin_a_thread_at_the_same_time_as_another_thread_begins_one(leased, store, monkeypatch):
    """P42: One of the two looks after the leases of both."""

    class Late(dict):
        """Shows nothing at the first look, as if it came later."""

        def get(self, key):
            return super().get(key) if self.pop("looked", None) else self.update(looked=True)

    assert leased.allow()
    (first,) = returners_of(store)
    monkeypatch.setattr(returning, "_returners", Late({first._key: first}))
    returning.return_now(leased)
    assert returners_of(store) == [first]


def test_no_thread_to_be_had_leaves_the_lease_to_the_next_call(leased, asked, clock, monkeypatch):
    """P42: At the end of a process no thread can be made; tokens run out then."""

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(returning.Thread, "start", refuse)
    assert leased.allow(3)
    assert not leased._held.watched
    assert leased.allow(3)
    clock.advance(0.5)
    assert leased.allow(3)
    assert asked() == ["lease", "correct", "lease"]


def test_clock_that_fails_ends_the_thread_and_the_next_lease_has_another(store, clock, monkeypatch):
    """P42: A clock of the user's may raise anything."""
    leased = lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(ManualClock, "sleep", lambda *_: 1 / 0)
    assert leased.allow()
    eventually(lambda: not leased._held.watched)
    monkeypatch.undo()
    monkeypatch.setattr(holding, "gettrace", lambda: None)
    assert leased.allow(10)
    clock.wait_for_sleepers(1)
    assert leased._held.watched


def test_end_of_a_process_does_not_wait_for_a_server_that_does_not_answer(
    store, clock, monkeypatch
):
    """P42: The end of a process waits for its leases, but not long."""
    monkeypatch.setattr(returning, "_PATIENCE", 0.01)
    leased = lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))
    assert leased.allow()
    ask, answers = store.ask, Event()

    def hang(question):
        answers.wait(PATIENCE)
        return ask(question)

    store.ask = hang
    try:
        returning._give_all_back()
        assert [question.operation for question in store.questions] == ["lease"]
    finally:
        answers.set()


@pytest.mark.parametrize(("error", "tried"), [(NoAnswer("away"), 1), (RuntimeError("odd"), 3)])
def test_end_of_a_process_tries_a_server_that_does_not_answer_once(store, clock, error, tried):
    """P42: Twelve leases on a server that hangs take one timeout, not twelve."""
    buckets = [lease_of(DictTokenBucket(store, name, 100, 10, clock=clock)) for name in "abc"]
    for bucket in buckets:
        assert bucket.allow()
    store.questions.clear()
    store.failures = [error] * 3
    returning._give_all_back()
    assert len(store.questions) == tried


def test_many_leases_in_tasks_are_watched_by_one_task(store, clock):
    """P42: A lease that is used up leaves no task behind that sleeps until its time."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 1000, 10, clock=clock), seconds=60)

    async def main():
        for _ in range(100):
            assert await bucket.allow()
        assert len(background.unfinished()) == 1
        clock.advance(30)
        assert await bucket.allow(10)
        await asyncio.sleep(0)
        clock.advance(30)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(background.unfinished()) == 1  # for the lease that has followed
        clock.advance(30)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not background.unfinished()

    asyncio.run(main())


def test_end_of_the_process_gives_all_back(leased, level):
    """P42: What a process holds when it ends in the ordinary way is given back."""
    assert leased.allow(3)
    returning._give_all_back()
    assert level() == 97
    returning._give_all_back()
    assert level() == 97


def test_a_bucket_that_is_dropped_is_given_back(store, clock, level):
    """P42: Whoever drops a bucket has no use for what it holds, but others have."""
    bucket = lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))
    assert bucket.allow(3)
    clock.wait_for_sleepers(1)
    dropped = weakref.ref(bucket)
    del bucket
    gc.collect()
    clock.advance(0.5)
    eventually(lambda: level() == 100)
    eventually(lambda: dropped() is None)


def test_ask_before_what_is_over_was_given_back_gives_it_back(leased, asked, clock, monkeypatch):
    """P42: Where the thread that gives back is late, the next question does so first."""
    monkeypatch.setattr(type(leased), "_return_later", lambda *_: None)
    assert leased.allow(3)
    clock.advance(1)
    assert leased.allow(3)
    assert asked() == ["lease", "correct", "lease"]


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_end_the_loop_gives_a_lease_back_and_waits_for_nothing(store, clock, level, turns):
    """P40: The end of a loop does not wait for the lease to be over."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 100, 10, clock=clock))

    async def main():
        assert await bucket.allow()
        for _ in range(turns):
            await asyncio.sleep(0)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < PATIENCE
    assert level() == 99


def test_what_is_left_in_tasks_is_given_back_in_time(store, clock, level):
    """P42: A task gives back what is left when the time is over."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 100, 10, clock=clock))

    async def main():
        assert await bucket.allow(3)
        await asyncio.sleep(0)
        clock.advance(0.5)
        for _ in range(5):
            await asyncio.sleep(0)
        assert level() == 100

    asyncio.run(main())


def test_give_back_what_a_bucket_without_a_lease_holds_asks_nothing(store, clock):
    """P42: A bucket without a lease may be closed as well."""
    returning.give_back(DictTokenBucket(store, "bucket", 100, 10, clock=clock), early=True)
    assert not store.questions
