"""Work in the background: neither a cancellation nor the end of a loop cuts it short."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import pytest

from rate_limiter.shared import background
from rate_limiter.shared.background import in_background, unfinished


class Work:
    """Something that takes a few turns of the loop."""

    def __init__(self, seconds=0.005):
        self.seconds, self.done = seconds, 0

    async def run(self):
        """Do it."""
        await asyncio.sleep(self.seconds)
        self.done += 1
        return "result"


def test_await_work_returns_its_result():
    """P11: Whoever is not cancelled hears what came of it."""

    async def main():
        assert await asyncio.shield(in_background(Work().run())) == "result"
        assert unfinished() == set()

    asyncio.run(main())


def test_cancel_who_awaits_work_lets_it_go_on():
    """P11: A task that is cancelled, even twice, does not take its work along."""
    work = Work()

    async def leave():
        await asyncio.shield(in_background(work.run()))

    async def main():
        task = asyncio.ensure_future(leave())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not work.done
        assert len(unfinished()) == 1
        await asyncio.wait(unfinished())

    asyncio.run(main())
    assert work.done == 1


def test_end_the_loop_waits_for_work_that_goes_on():
    """P40: `asyncio.run` cancels every task that it knows of, and still the work is done."""
    work = Work()

    async def main():
        in_background(work.run())

    asyncio.run(main())
    assert work.done == 1


def test_end_the_loop_waits_for_work_that_begins_meanwhile():
    """P40: What a cancelled task begins when the loop ends is finished as well."""
    first, second = Work(), Work()

    async def follow():
        await first.run()
        in_background(second.run())

    async def leave():
        try:
            await asyncio.sleep(60)
        finally:
            in_background(follow())

    async def main():
        task = asyncio.ensure_future(leave())
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(main())
    assert (first.done, second.done) == (1, 1)


def test_end_the_loop_waits_no_longer_than_patience(monkeypatch):
    """P31: Work that never ends, for a store without a timeout, does not keep a program alive."""
    monkeypatch.setattr(background, "PATIENCE", 0.02)
    work = Work(seconds=60)

    async def main():
        in_background(work.run())

    asyncio.run(main())
    assert not work.done


def test_fail_in_the_background_is_heard_by_who_awaits_it_only(caplog):
    """P11: A failure of what nobody waits for any more is nobody's."""

    async def fail():
        raise ValueError("no")

    async def main():
        with pytest.raises(ValueError, match="no"):
            await asyncio.shield(in_background(fail()))
        in_background(fail())
        await asyncio.sleep(0.001)

    asyncio.run(main())
    gc.collect()
    assert caplog.records == []


def test_use_several_loops_keeps_their_work_apart():
    """P15: Each loop waits for its own work, one after the other."""
    works = [Work() for _ in range(3)]

    async def main(work):
        assert unfinished() == set()
        in_background(work.run())
        assert len(unfinished()) == 1

    for work in works:
        asyncio.run(main(work))
        assert work.done == 1


def test_close_a_loop_without_its_generators_leaves_nothing_behind():
    """P15: A loop that is closed in haste gives its work up, and the next one works."""
    work = Work(seconds=60)
    loop = asyncio.new_event_loop()

    async def main():
        in_background(work.run()).cancel()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    asyncio.run(main())
    assert not work.done


@pytest.mark.parametrize("in_haste", [False, True])
def test_end_a_loop_lets_it_be_collected(in_haste):
    """P24: A program that makes a loop for each job does not keep them all."""
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.shield(in_background(Work(0).run()))

    for _ in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        if not in_haste:
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    del loop
    asyncio.run(main())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 6


def test_begin_work_in_another_loop_forgets_none_that_is_open():
    """P11: The work of a loop that stands still for a while goes on when that runs again."""
    event = asyncio.Event()

    async def begin():
        in_background(event.wait())

    async def go_on():
        (work,) = unfinished()
        event.set()
        return await work

    with asyncio.Runner() as still:
        still.run(begin())
        asyncio.run(in_a_loop_of_its_own())
        assert still.run(go_on())


async def in_a_loop_of_its_own():
    await asyncio.shield(in_background(Work().run()))
