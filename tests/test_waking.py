"""Waking tasks of asyncio: from tasks, threads and forked children, and after their loop."""

import asyncio
import os
import sys
import threading

import pytest

from rate_limiter.sleeping import ThreadSleeper, is_closed, task_sleeper


def in_thread(call):
    """Start a thread that does it."""
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def in_child(call):
    """Do it in a forked child, and return 0 if that raised nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def run_in_new_loop(main):
    """Run it in a loop that is not closed afterwards, and return that loop."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    return loop


async def fall_asleep(sleeper):
    """Return a sleep that has begun, which nobody awaits."""
    sleep = sleeper.sleep(None)
    sleep.send(None)
    return sleep


def test_wake_task_asleep_in_closed_loop_does_nothing():
    """P15: A wake-up for a task whose loop was closed is no error, whoever gives it."""
    found = []

    async def main():
        found.append(task_sleeper())
        found.append(await fall_asleep(found[0]))

    async def wake_in_another_loop():
        sleeper._heard = None
        sleeper.wake()

    run_in_new_loop(main).close()
    sleeper, sleep = found
    sleeper.wake()
    sleeper._heard = None
    in_thread(sleeper.wake).join()
    asyncio.run(wake_in_another_loop())
    sleep.close()

    assert is_closed(sleeper.loop)


def test_tell_whether_loop_of_sleeper_is_closed():
    """A sleeper knows its loop, which is closed or not; a thread has none that could be."""
    sleepers = []

    async def main():
        sleepers.append(task_sleeper())
        return {sleepers[0].loop: asyncio.get_running_loop()}

    loop = run_in_new_loop(main)
    assert (sleepers[0].loop, is_closed(loop)) == (loop, False)
    assert {loop, sleepers[0].loop} == {loop}
    loop.close()
    assert is_closed(sleepers[0].loop)
    assert not is_closed(ThreadSleeper().loop)


class Deliveries:
    """What counts how often a loop is told of something from outside its tasks."""

    def __init__(self, monkeypatch, loop, *errors):
        self.count = 0
        self._errors = list(errors)
        self._deliver = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", self)

    def __call__(self, *args):
        self.count += 1
        if self._errors:
            raise self._errors.pop()
        return self._deliver(*args)


def test_wake_task_from_task_of_its_loop_needs_no_delivery(monkeypatch):
    """P13: A task wakes another of its loop at once, without a signal to the loop."""

    async def main():
        sleeper = task_sleeper()
        deliveries = Deliveries(monkeypatch, sleeper.loop)
        asleep = asyncio.create_task(sleeper.sleep(None))
        await asyncio.sleep(0)
        sleeper.wake()
        sleeper.wake()
        await asleep
        return deliveries.count

    assert asyncio.run(main()) == 0


def test_wake_task_often_from_elsewhere_delivers_once_a_sleep(monkeypatch):
    """P13: However often threads and callbacks wake a task, its loop hears of it once a sleep."""

    async def main():
        sleeper = task_sleeper()
        deliveries = Deliveries(monkeypatch, sleeper.loop)
        counts = []
        for wake in (lambda: in_thread(sleeper.wake).join(), sleeper.wake):
            asleep = asyncio.create_task(sleeper.sleep(None))
            await asyncio.sleep(0)
            for _ in range(3):
                asyncio.get_running_loop().call_soon(wake)
            await asleep
            counts.append(deliveries.count)
        return counts

    assert asyncio.run(main()) == [1, 2]


def test_wake_interrupted_amid_delivery_is_delivered_by_the_next(monkeypatch):
    """P19: A wake-up that an interrupt stopped is not taken for delivered."""

    def interrupted():
        with pytest.raises(KeyboardInterrupt):
            sleepers[0].wake()

    async def main():
        sleepers.append(task_sleeper())
        Deliveries(monkeypatch, sleepers[0].loop, KeyboardInterrupt())
        asleep = asyncio.create_task(sleepers[0].sleep(None))
        await asyncio.sleep(0)
        in_thread(interrupted).join()
        in_thread(sleepers[0].wake).join()
        await asyncio.wait_for(asleep, 10)
        return True

    sleepers = []
    assert asyncio.run(main())


class Overtaken(asyncio.Future):
    """A future that a signal handler ends just after somebody saw that it is not done."""

    handlers = ()

    def done(self):
        done = super().done()
        while not done and self.handlers:
            self.handlers.pop()()
        return done


def test_wake_interrupted_by_handler_that_wakes_ends_one_sleep(monkeypatch):
    """P19: A handler that wakes the task that is just being woken is no error."""

    async def main():
        sleeper = task_sleeper()
        monkeypatch.setattr(sleeper.loop, "create_future", lambda: Overtaken(loop=sleeper.loop))
        asleep = asyncio.create_task(sleeper.sleep(None))
        await asyncio.sleep(0)
        monkeypatch.setattr(Overtaken, "handlers", [sleeper.wake])
        sleeper.wake()
        await asleep
        return len(Overtaken.handlers)

    assert asyncio.run(main()) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_wake_task_in_forked_child_does_nothing():
    """P20: A child may wake the sleepers that it inherits; its parent's task sleeps on."""

    async def main():
        sleeper = task_sleeper()
        asleep = asyncio.create_task(sleeper.sleep(None))
        await asyncio.sleep(0)
        status = in_child(sleeper.wake)
        for _ in range(10):
            await asyncio.sleep(0)
        still = not asleep.done()
        asleep.cancel()
        return status, still

    assert asyncio.run(main()) == (0, True)


def test_wake_task_when_nothing_can_be_imported_ends_its_sleep(monkeypatch):
    """P19: A finalizer may wake a task while the interpreter shuts down."""

    async def main():
        sleeper = task_sleeper()
        asleep = asyncio.create_task(sleeper.sleep(None))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(wake_without_imports, sleeper)
        await asleep

    def wake_without_imports(sleeper):
        monkeypatch.setitem(sys.modules, "asyncio", None)
        sleeper.wake()
        monkeypatch.undo()
        woken.append(sleeper)

    woken = []
    asyncio.run(main())
    assert len(woken) == 1
