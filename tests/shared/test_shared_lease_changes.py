"""Leases under changes of their bucket: configure, pause, refund, reset; and forks."""

import asyncio
import os
from fractions import Fraction

import pytest
from dict_store import AsyncDictTokenBucket
from leases import eventually, lease_of

from rate_limiter import (
    Level,
    RateLimiter,
)
from rate_limiter.shared import holding, returning
from rate_limiter.testing import ManualClock

pytestmark = [pytest.mark.usefixtures("untraced"), pytest.mark.fast_path]


@pytest.fixture
def clock():
    return ManualClock(start=1_790_000_000)


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
    assert not leased._held._over
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
