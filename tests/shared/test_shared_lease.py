"""Leases: tokens taken in advance, spent in this process, and given back in time."""

import asyncio
import gc
import os
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Barrier, Event
from types import SimpleNamespace

import pytest
from dict_store import AsyncDictTokenBucket, DictStore, DictTokenBucket

from rate_limiter import (
    BackendError,
    BucketGroup,
    KeyedRateLimiter,
    Level,
    RateLimiter,
    RateLimitExceeded,
)
from rate_limiter.shared import background, holding, returning
from rate_limiter.shared.failures import NoAnswer, ReplyLost
from rate_limiter.shared.lease import Lease
from rate_limiter.testing import ManualClock

PATIENCE = 5.0  # seconds for something that takes microseconds, unless it hangs


@pytest.fixture(autouse=True)
def untraced(monkeypatch):
    """Let leases decide also while coverage is measured, which is by a tracer."""
    monkeypatch.setattr(holding, "gettrace", lambda: None)


@pytest.fixture
def clock():
    return ManualClock(start=1_790_000_000)


@pytest.fixture
def leased(store, clock):
    """Make a bucket of a hundred tokens with leases of ten for half a second."""
    return lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))


def lease_of(bucket, tokens=10, seconds=0.5):
    bucket._lease(Lease(tokens, seconds))
    return bucket


@pytest.fixture
def level(store, clock):
    """Tell how many tokens the store has."""
    return lambda: DictTokenBucket(store, "bucket", 100, 10, clock=clock).available_tokens


def eventually(condition):
    """Wait until a thread has done something."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.001)


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


def test_what_is_left_is_given_back_when_the_time_is_over(leased, level, clock):
    """P42: It is given back by itself, not at the next call."""
    assert leased.allow(3)
    clock.wait_for_sleepers(1)
    assert level() == 90
    clock.advance(0.5)
    eventually(lambda: level() == 100)  # 7 by giving back, and 5 that came in since
    assert leased.allow(3)


def test_what_is_over_is_not_spent(leased, asked, clock):
    """P42: A process that was stopped for a while spends nothing that is older than its lease."""
    assert leased.allow(3)
    asked()
    clock.advance(0.5)
    assert leased.allow(3)
    assert "lease" in asked()


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


def returners_of(store):
    """Return the threads that give back leases of a store."""
    return [each for each in list(returning._returners.values()) if each._source is store]


def test_tell_a_thread_that_has_just_ended_tells_another_one(leased, store, clock):
    """P42: A lease is not lost between the last look of a thread and its end."""
    bucket = SimpleNamespace(_clock=clock, _source=store)
    key = os.getpid(), id(store), id(clock)
    ended = returning._Returner(key, bucket)
    returning._returners[key] = ended

    ended._tell = lambda news: (ended._leave(), returning._Returner._tell(ended, news))[1]
    assert leased.allow()
    assert returners_of(store) == [each for each in returners_of(store) if each is not ended] != []
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


def test_ask_before_what_is_over_was_given_back_gives_it_back(leased, asked, clock, monkeypatch):
    """P42: Where the thread that gives back is late, the next question does so first."""
    monkeypatch.setattr(type(leased), "_return_later", lambda *_: None)
    assert leased.allow(3)
    clock.advance(1)
    assert leased.allow(3)
    assert asked() == ["lease", "correct", "lease"]


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


def test_configure_gives_a_lease_of_the_old_limit_back(leased):
    """P9: Tokens of the old limit are not spent under the new one, nor lost."""
    assert leased.allow(1)
    leased.configure(capacity=200, tokens_per_second=Fraction(10, 13))
    eventually(lambda: leased.available_tokens == pytest.approx(99))
    assert leased.allow(98)
    assert not leased.allow(2)


def test_configure_with_nothing_held_asks_nothing(leased, asked):
    """P9: There is nothing to give back."""
    leased.configure(capacity=50)
    assert leased.allow(10)
    assert asked() == ["lease"]


@pytest.mark.parametrize("refused", [False, True])
def test_configure_while_a_lease_is_asked_for_gives_it_back(leased, store, level, refused):
    """P42: A lease is of the limit that it was asked for, and nobody spends it under another."""
    ask = store.ask
    if refused:
        assert leased.allow(95)
        assert leased.allow(2)

    def configure_and_ask(question):
        store.ask = ask
        leased.configure(tokens_per_second=Fraction(10, 13))
        return ask(question)

    store.ask = configure_and_ask
    assert leased.allow(4) is not refused
    assert level() == (3 if refused else 96)
    assert leased.allow(3)
    assert not leased._held._over


def test_configure_between_the_cost_and_its_question_asks_without_a_lease(
    leased, asked, monkeypatch
):
    """P42: A cost in units of the old limit is not asked of what is held under the new one."""
    latest = holding.Held.latest

    def configure_and_tell(held):
        monkeypatch.undo()
        monkeypatch.setattr(holding, "gettrace", lambda: None)
        leased.configure(tokens_per_second=Fraction(10, 13))
        return latest(held)

    monkeypatch.setattr(holding.Held, "latest", configure_and_tell)
    assert leased.allow()
    assert asked() == ["take"]


CHANGES = {
    "pause": lambda bucket: bucket.pause(60),
    "reset": lambda bucket: bucket._reset(),
    "refund": lambda bucket: bucket.refund(5),
    "resume": lambda bucket: bucket.resume(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_what_a_lease_was_taken_from_gives_it_back_before(leased, asked, level, change):
    """P36, P42: A process hears of what it does to its bucket by itself."""
    assert leased.allow(3)
    CHANGES[change](leased)
    assert asked()[:2] == ["lease", "correct"]
    assert leased.allow() is (change != "pause")


@pytest.mark.parametrize("change", ["refund", "reset"])
def test_change_what_was_refused_forgets_the_refusal(leased, change):
    """P36, P42: A process does not say no after it has given tokens back by itself."""
    assert leased.allow(100)
    assert not leased.allow(2)
    CHANGES[change](leased)
    assert leased.allow(2)


@pytest.mark.parametrize("back", ["refund", "settle", "cancel"])
def test_give_tokens_back_forgets_the_refusal(leased, back):
    """P36, P42: Nor does it after it has given back what it had taken."""
    with RateLimiter(leased, block=False).acquire(50) as permit:
        reservation = leased.reserve(50)
    assert not leased.allow(2)
    changes = {
        "refund": permit.refund,
        "settle": lambda: permit.settle(40),
        "cancel": reservation.cancel,
    }
    changes[back]()
    assert leased.allow(2)


def test_pause_gives_back_a_lease_that_was_asked_for_before(store, clock):
    """P36: The answer to what was asked before a pause may come after that of the pause."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 100, 10, clock=clock))

    async def main():
        asking = asyncio.create_task(bucket.allow())
        await asyncio.sleep(0)
        await bucket.pause(60)
        assert await asking
        assert not await bucket.allow()
        await bucket.resume()
        assert await bucket.level == Level(100, 10, 1, 9.9, 0, 0)

    asyncio.run(main())


def test_configure_in_tasks_gives_a_lease_of_the_old_limit_back(store, clock, level):
    """P9: So it is in a task; outside of a loop, the next call does."""
    bucket = lease_of(AsyncDictTokenBucket(store, "bucket", 100, 10, clock=clock))

    async def main(*, inside):
        assert await bucket.allow()
        if inside:
            bucket.configure(tokens_per_second=10)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert level() == 99
        return asyncio.get_running_loop()

    asyncio.run(main(inside=True))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(inside=False))
    bucket.configure(tokens_per_second=10)
    assert level() == 89
    assert loop.run_until_complete(bucket.allow())
    assert level() == 88
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert level() == 97


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is nothing to fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_drops_the_lease_in_the_child(leased, store):
    """P20: The child spends nothing of its parent's, and asks for itself."""
    assert leased.allow(1)
    leased._held.holding.asker = object()  # as if another thread was asking
    child = os.fork()
    if not child:  # pragma: no cover - the child is not measured
        leased.allow(1)
        os._exit(0 if [q.operation for q in store.questions] == ["lease", "lease"] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is nothing to fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("change", ["close", "end", "configure", "pause", "task"])
def test_fork_leaves_what_is_held_to_the_parent(leased, store, change):
    """P20: The child gives nothing back of what its parent spends."""
    assert leased.allow(1)
    leased.configure(capacity=99)
    assert leased.allow(1)
    child = os.fork()
    if not child:  # pragma: no cover - the child is not measured
        store.questions.clear()
        changes = {
            "close": lambda: returning.give_back(leased, early=True),
            "end": returning._give_all_back,
            "configure": lambda: leased.configure(capacity=50),
            "pause": lambda: leased.pause(5),
            "task": lambda: asyncio.run(returning.give_back_async(leased, early=True)),
        }
        changes[change]()
        os._exit(any(question.operation == "correct" for question in store.questions))
    assert os.waitpid(child, 0)[1] == 0


def test_what_was_held_before_a_fork_is_neither_spent_nor_given_back(
    leased, asked, level, monkeypatch
):
    """P20: So it is when a process finds that it is another one."""
    assert leased.allow(3)
    leased._held.drop()
    monkeypatch.setattr(holding, "_forks", holding._forks + 1)
    returning.give_back(leased, early=False)
    assert level() == 90
    asked()
    assert leased.allow(3)
    assert asked() == ["lease"]
    monkeypatch.setattr(holding, "_forks", holding._forks + 1)
    assert leased.allow(3)
    assert asked() == ["lease"]


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
