"""Buckets in a file, asked by tasks of asyncio and of trio."""

import asyncio
import threading
from contextlib import suppress
from time import monotonic

import pytest
import trio
from processes import PATIENCE

from rate_limiter import BackendError, BucketGroup, RateLimiter, RateLimitExceeded
from rate_limiter.sqlite import database, store
from rate_limiter.sqlite.line import Line, Turn


@pytest.fixture
def locked(make_bucket, other):
    """Make the file, and lock it as another program does; return how to unlock it."""
    make_bucket(name="first").allow()
    connection = other()
    connection.execute("BEGIN IMMEDIATE")
    return lambda: connection.execute("ROLLBACK")


async def in_line(bucket, count):
    """Return once this many callers wait in line."""
    while bucket.level.waiting < count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def beats():
    """Return once the loop has gone round for some time."""
    for _ in range(20):
        await asyncio.sleep(0.002)


def test_task_and_thread_share_one_bucket(make_bucket):
    """P15: One object serves threads and the tasks of successive loops."""
    bucket = make_bucket(3, 0.001)
    assert bucket.allow()
    for _ in range(2):
        asyncio.run(bucket.wait_async())
    assert not bucket.allow()


def test_task_of_trio_is_served(make_bucket):
    """P15: Tasks of trio are served as those of asyncio are."""
    bucket = make_bucket(2, 0.001)
    trio.run(bucket.wait_async)
    trio.run(bucket.wait_async)
    assert bucket.available_tokens == 0.0


def test_task_waits_in_a_thread_while_the_file_is_locked(make_bucket, locked):
    """P16: The loop goes on while somebody else has the file."""
    bucket = make_bucket(2, 0.001)

    async def main():
        waiting = asyncio.create_task(bucket.wait_async())
        await beats()
        assert not waiting.done()
        locked()
        await waiting

    asyncio.run(main())
    assert bucket.available_tokens == 1.0


def in_threads(monkeypatch, owner, name):
    """Return a list of the threads that call a function from now on."""
    called, real = [], getattr(owner, name)

    def call(*arguments):
        called.append(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(owner, name, call)
    return called


def test_log_is_copied_by_a_thread(make_bucket, monkeypatch):
    """P16: What waits for the disk once in 1000 decisions does so beside the loop."""
    bucket = make_bucket(10_000, 0.001)
    threads = in_threads(monkeypatch, database.Database, "copy_log")

    async def main():
        for _ in range(2100):
            await bucket.wait_async()

    asyncio.run(main())
    assert threads == ["rate_limiter sqlite_0"] * 2
    assert bucket.available_tokens == 7900.0


def test_file_is_opened_by_a_thread(make_bucket, monkeypatch, path):
    """P16: A file is opened beside the loop, at first and when it was replaced."""
    bucket = make_bucket(3, 0.001)
    threads = in_threads(monkeypatch, store, "open_database")

    async def main():
        await bucket.wait_async()
        for file in path.parent.iterdir():
            file.unlink()
        await asyncio.sleep(0.11)
        await bucket.wait_async(2)
        await bucket.wait_async()

    asyncio.run(main())
    assert threads == ["rate_limiter sqlite_0"] * 2
    assert bucket.available_tokens == 0.0


def test_task_does_not_wait_for_a_thread_that_has_its_turn(make_bucket):
    """P16: A thread may be copying the log, or open the file, for as long as a disk takes."""
    bucket = make_bucket(3, 0.001)
    assert bucket.allow()
    busy, over = threading.Event(), threading.Event()

    def keep():
        with bucket._source.turn:
            busy.set()
            over.wait(PATIENCE)

    thread = threading.Thread(target=keep)
    thread.start()
    busy.wait()

    async def main():
        waiting = asyncio.create_task(bucket.wait_async())
        await beats()
        assert not waiting.done()
        assert not over.is_set()
        over.set()
        await waiting

    began = monotonic()
    asyncio.run(main())
    thread.join()
    assert monotonic() - began < PATIENCE
    assert bucket.available_tokens == 1.0


def test_tasks_give_way_to_the_first_in_line(make_bucket, path, monkeypatch):
    """P38: A process of tasks alone that asks without a pause gives way as one of threads does."""
    monkeypatch.setattr("rate_limiter.sqlite.line._STUCK", PATIENCE)
    bucket, line = make_bucket(100, 0.001), Line(str(path))
    assert bucket.allow()
    line.reopen()
    first = Turn(line)

    async def main():
        first.move_up()
        asking = asyncio.create_task(ask())
        while not bucket._source._waiting and not asking.done():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        assert not asking.done()
        first.end()
        await asking

    async def ask():
        for _ in range(17):
            await bucket.wait_async()

    asyncio.run(main())
    assert bucket.available_tokens == 82.0


def test_task_of_trio_waits_in_a_thread_while_the_file_is_locked(make_bucket, locked):
    """P16: A loop of trio goes on as well."""
    bucket = make_bucket(2, 0.001)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.wait_async)
            await trio.sleep(0.03)
            locked()

    trio.run(main)
    assert bucket.available_tokens == 1.0


@pytest.mark.parametrize("grouped", [False, True])
def test_pause_in_a_task_goes_on_while_the_file_is_locked(make_bucket, locked, grouped):
    """P16: A pause that is awaited leaves the loop alone, as a wait does."""
    bucket = make_bucket(2, 0.001)
    paused = BucketGroup(bucket, make_bucket(3, 0.001, name="second")) if grouped else bucket

    async def main():
        pausing = asyncio.create_task(paused.pause_async(60))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not pausing.done()
        locked()
        await pausing

    asyncio.run(main())
    assert 59 < bucket.level.paused_for <= 60


def test_cancel_while_the_file_is_locked_takes_nothing(make_bucket, locked):
    """P11: A task that leaves while its question is under way gives back what it gets."""
    bucket = make_bucket(5, 0.001)

    async def main():
        tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(3)]
        await asyncio.sleep(0.03)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())
    locked()
    bucket._store.worker().end()  # all that it was given is done then
    bucket._source._workers.clear()
    assert bucket.available_tokens == 5.0


def test_cancel_a_wait_for_tokens_gives_back(make_bucket):
    """P11: A task that is cancelled amid its wait leaves no trace."""
    bucket = make_bucket(1, 0.01, clock=None)
    assert bucket.allow()

    async def main():
        task = asyncio.create_task(bucket.wait_async())
        await in_line(bucket, 1)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert bucket.level.waiting == 0
    assert 99 < bucket.retry_after() <= 100


def test_cancel_a_crowd_of_waits_gives_all_back_within_a_moment(make_bucket):
    """P40: What a cancelled crowd had is there again at once."""
    bucket = make_bucket(1, 0.01, clock=None)
    assert bucket.allow()

    async def main():
        tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(200)]
        await in_line(bucket, 200)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(main())
    assert bucket.level.waiting == 0
    assert bucket.retry_after() <= 100


def test_give_back_while_the_file_is_locked_is_done_later(make_bucket, other):
    """P40: A cancelled wait gives back when it can, though its loop has ended meanwhile."""
    bucket = make_bucket(1, 0.01, clock=None)
    assert bucket.allow()
    connection = other()

    async def main():
        task = asyncio.create_task(bucket.wait_async())
        await in_line(bucket, 1)
        connection.execute("BEGIN IMMEDIATE")
        task.cancel()
        await asyncio.sleep(0.01)
        connection.execute("ROLLBACK")
        await asyncio.wait([task])

    asyncio.run(main())
    assert bucket.level.waiting == 0


def test_group_in_tasks_is_all_or_nothing(make_bucket):
    """P7: A group in a file serves tasks as well, and settles for them."""
    group = BucketGroup(a=make_bucket(3, 0.001, name="a"), b=make_bucket(5, 0.001, name="b"))

    async def main():
        async with RateLimiter(group).acquire({"a": 2, "b": 3}) as permit:
            permit.settle({"a": 1})

    asyncio.run(main())
    assert BucketGroup(nested=group).allow({"nested": {"a": 2, "b": 2}})


def test_task_meets_a_failure_of_the_file(make_bucket, locked):
    """P31: A file that stays locked is a BackendError in tasks as in threads."""
    bucket = make_bucket(2, 0.001, busy_timeout=0.05)
    with pytest.raises(BackendError, match="locked"):
        asyncio.run(bucket.wait_async())


def test_crowd_of_tasks_meets_a_locked_file_in_time(make_bucket, other):
    """P16: However many calls of tasks wait behind each other, each has its own time alone."""
    bucket = make_bucket(100, 0.001, busy_timeout=0.3)
    connection = other()

    async def main():
        permits = [await RateLimiter(bucket).acquire(3) for _ in range(8)]
        connection.execute("BEGIN IMMEDIATE")
        calls = [permit.settle_async(1) for permit in permits]
        calls += [bucket.wait_async() for _ in range(20)]
        began = monotonic()
        told = await asyncio.gather(*calls, return_exceptions=True)
        return monotonic() - began, told

    took, told = asyncio.run(main())
    assert [type(error) for error in told] == [BackendError] * 28
    assert 0.3 <= took < 4  # and not 28 times 0.3


def test_hasty_task_does_not_wait_for_a_patient_one(make_bucket, locked):
    """P16: Tasks that wait for different times wait in different threads."""
    patient, hasty = make_bucket(5, 0.001), make_bucket(5, 0.001, busy_timeout=0.05)

    async def main():
        waiting = asyncio.create_task(patient.wait_async())
        await asyncio.sleep(0.01)
        with pytest.raises(BackendError, match=r"locked for 0\.05 s"):
            await hasty.wait_async()
        assert not waiting.done()
        locked()
        await waiting

    asyncio.run(main())


def test_cancelled_question_that_fails_is_forgotten(make_bucket, locked):
    """P11: Nobody hears of what fails for a task that has left."""
    bucket = make_bucket(2, 0.001, busy_timeout=0.05)

    async def main():
        task = asyncio.create_task(bucket.wait_async())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    bucket._store.worker().end()


def test_worker_that_takes_nothing_more_is_done_without(make_bucket, monkeypatch):
    """P16: When the interpreter ends and starts no threads, the question is asked all the same."""
    bucket = make_bucket(2, 0.001)
    bucket._store.worker().end()
    asyncio.run(bucket.wait_async())
    bucket._source.close()
    monkeypatch.setattr(bucket._source, "_path", "/nowhere/at all")
    with pytest.raises(BackendError):
        asyncio.run(bucket.wait_async())


def test_loops_in_threads_share_one_bucket(make_bucket):
    """P15: Loops of several threads ask at once."""
    bucket, granted = make_bucket(50, 0.001), []

    async def work():
        for _ in range(20):
            with suppress(RateLimitExceeded):
                await bucket.wait_async(timeout=0)
                granted.append(1)

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 50


@pytest.mark.parametrize("correct", ["settle", "refund"])
def test_correct_a_permit_in_a_task_lets_the_loop_go_on(make_bucket, other, correct):
    """P16: A task that settles while somebody else has the file suspends, and blocks nobody."""
    bucket = make_bucket(5, 0.001)
    connection = other()

    async def main():
        permit = await RateLimiter(bucket).acquire(3)
        connection.execute("BEGIN IMMEDIATE")
        call = permit.settle_async(1) if correct == "settle" else permit.refund_async()
        correcting = asyncio.create_task(call)
        await beats()
        assert not correcting.done()
        connection.execute("ROLLBACK")
        await correcting

    asyncio.run(main())
    assert bucket.available_tokens == (4.0 if correct == "settle" else 5.0)


def test_settle_in_a_task_of_trio(make_bucket):
    """P15: Tasks of trio settle and refund as those of asyncio do; a second refund does nothing."""
    bucket = make_bucket(5, 0.001)

    async def main():
        async with RateLimiter(bucket).acquire(3) as permit:
            await permit.settle_async(1)
            assert bucket.available_tokens == 4.0
            await permit.refund_async()
            await permit.refund_async()
            with pytest.raises(RuntimeError, match="refunded"):
                await permit.settle_async(1)

    trio.run(main)
    assert bucket.available_tokens == 5.0


def test_cancel_a_settlement_makes_it_all_the_same(make_bucket, other):
    """P11: A task that is cancelled while it settles leaves no doubt about what was paid."""
    bucket = make_bucket(5, 0.001)
    connection = other()

    async def main():
        permit = await RateLimiter(bucket).acquire(3)
        connection.execute("BEGIN IMMEDIATE")
        settling = asyncio.create_task(permit.settle_async(1))
        await asyncio.sleep(0.02)
        settling.cancel()
        with suppress(asyncio.CancelledError):
            await settling
        connection.execute("ROLLBACK")
        permit.settle(2)  # after the one that was cancelled, for corrections take turns

    asyncio.run(main())
    assert bucket.available_tokens == 3.0
