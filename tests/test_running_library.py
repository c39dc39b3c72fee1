"""Which library runs: asyncio, trio, one as the guest of the other, or none of them."""

import asyncio
import subprocess
import sys
import threading
from types import ModuleType

import pytest
import sniffio
import trio

from rate_limiter import TokenBucket
from rate_limiter.sleeping import (
    _AsyncioSleeper,
    _TrioSleeper,
    checkpoint,
    in_trio_task,
    running_loop,
    task_sleeper,
)
from rate_limiter.testing import ManualClock


def half_imported(name, **attributes):
    """Return a module as another thread's import leaves it for a while."""
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


def answering(answer):
    """Return a sniffio that answers so, or raises."""

    def current_async_library():
        if isinstance(answer, Exception):
            raise answer
        return answer

    return half_imported("sniffio", current_async_library=current_async_library)


async def kind_of_sleeper():
    return type(task_sleeper())


@pytest.mark.parametrize(
    "module",
    [None, half_imported("trio"), half_imported("trio", lowlevel=half_imported("trio.lowlevel"))],
)
def test_wait_in_asyncio_while_trio_is_half_imported_serves(monkeypatch, module):
    """P15: A module of trio that another thread is just importing is no trio."""
    monkeypatch.setitem(sys.modules, "trio", module)
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=ManualClock(auto_advance=True))

    async def main():
        await bucket.wait_async()
        return in_trio_task(), running_loop(), type(task_sleeper())

    assert asyncio.run(main()) == (False, True, _AsyncioSleeper)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (None, _TrioSleeper),
        (half_imported("sniffio"), _TrioSleeper),
        (answering(sniffio.AsyncLibraryNotFoundError()), _TrioSleeper),
        (answering("trio"), _TrioSleeper),
    ],
)
def test_make_sleeper_in_trio_with_any_sniffio_is_of_trio(monkeypatch, module, expected):
    """P15: A task of trio is one whether sniffio is there, half there, silent, or says so."""

    async def main():
        monkeypatch.setitem(sys.modules, "sniffio", module)
        kind = await kind_of_sleeper()
        monkeypatch.undo()
        return kind

    assert trio.run(main) is expected


def test_make_sleeper_in_task_of_asyncio_within_trio_is_of_asyncio(monkeypatch):
    """P15: Where a task of trio runs a loop of asyncio, sniffio tells which of the two it is."""

    async def main():
        monkeypatch.setattr(sniffio.thread_local, "name", "asyncio")
        try:
            return in_trio_task()
        finally:
            monkeypatch.undo()

    assert not trio.run(main)


@pytest.mark.parametrize(
    "answer", ["trio", "asyncio", "curio", sniffio.AsyncLibraryNotFoundError()]
)
def test_make_sleeper_in_asyncio_with_any_sniffio_is_of_asyncio(monkeypatch, answer):
    """P15: No answer of sniffio makes a task of trio of one that is none."""
    monkeypatch.setitem(sys.modules, "sniffio", answering(answer))
    assert asyncio.run(kind_of_sleeper()) is _AsyncioSleeper


async def beside_guest(work):
    """Do it in a task of asyncio whose loop has a trio run as its guest, and once in that run."""
    loop, kinds = asyncio.get_running_loop(), []
    done, waiting = loop.create_future(), trio.Event()

    async def guest():
        kinds.append(await work())
        await waiting.wait()

    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=done.set_result,
        strict_exception_groups=True,
    )
    while not kinds:  # noqa: ASYNC110 - what ends it belongs to another library
        await asyncio.sleep(0)
    assert trio.lowlevel.in_trio_run()
    kinds.append(await work())
    waiting.set()
    (await done).unwrap()
    return kinds


@pytest.mark.parametrize("module", [sniffio, None])
def test_make_sleepers_of_guest_and_host_are_of_their_own_library(monkeypatch, module):
    """P15: Tasks of asyncio and of the trio run that is its guest share a thread, not a sleeper."""
    monkeypatch.setitem(sys.modules, "sniffio", module)
    assert asyncio.run(beside_guest(kind_of_sleeper)) == [_TrioSleeper, _AsyncioSleeper]


def test_wait_in_guest_and_in_host_serves_both():
    """P15: Tasks of asyncio and of the trio run that is its guest wait on one bucket."""
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=ManualClock(auto_advance=True))

    assert asyncio.run(beside_guest(bucket.wait_async)) == [None, None]
    assert bucket._clock.elapsed == 2


async def ask():
    return running_loop()


def test_tell_of_running_loop_where_one_runs():
    """P16: A loop runs in tasks of asyncio and of trio, and in the callbacks of a loop."""
    answers = []

    async def main():
        asyncio.get_running_loop().call_soon(lambda: answers.append(running_loop()))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (asyncio.run(ask()), trio.run(ask), answers) == (True, True, [True])


def test_tell_of_running_loop_where_none_runs():
    """P16: No loop runs in a plain thread, nor in the worker threads of either library."""

    async def in_asyncio():
        return await asyncio.to_thread(running_loop)

    async def in_trio():
        return await trio.to_thread.run_sync(running_loop)

    answers = [running_loop(), asyncio.run(in_asyncio()), trio.run(in_trio)]
    thread = threading.Thread(target=lambda: answers.append(running_loop()))
    thread.start()
    thread.join()
    assert answers == [False] * 4


@pytest.mark.parametrize("module", [None, half_imported("asyncio")])
def test_tell_of_running_loop_while_asyncio_is_half_imported(monkeypatch, module):
    """P16: A module of asyncio that another thread is just importing runs no loop."""
    monkeypatch.setitem(sys.modules, "asyncio", module)
    assert not running_loop()
    monkeypatch.undo()


def test_tell_what_runs_imports_no_library():
    """Who uses threads alone pays for the import of no event loop."""
    code = (
        "import sys; from rate_limiter.sleeping import in_trio_task, running_loop;"
        "print(in_trio_task(), running_loop(), {'asyncio', 'trio', 'sniffio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "False False set()\n"


def test_checkpoint_in_asyncio_gives_no_turn():
    """P16: A checkpoint costs a task of asyncio nothing, not even a turn of its loop."""
    turns = []

    async def main():
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await checkpoint()
        return list(turns)

    assert asyncio.run(main()) == []
