"""Forks at any moment: SQLite is carried across none (P20, P41)."""

import gc
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import PATIENCE, Child, in_child

from rate_limiter import BackendError
from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.sqlite.opened import _recent, after_in_child, after_in_parent, before_fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def answer(bucket):
    """Return what a child does: ask, and write the answer."""
    return lambda write: write(b"+" if bucket.allow() else b"-")


def test_child_shares_the_bucket_of_its_parent(make_bucket, is_whole):
    """P20: A child asks by the object that it was forked with, and it is one limit."""
    bucket = make_bucket(3, 0.001)
    assert bucket.allow()
    assert in_child(answer(bucket)) == b"+"
    assert bucket.allow()
    assert in_child(answer(bucket)) == b"-"
    assert is_whole()


def test_children_that_outlive_their_parent_keep_the_limit(make_bucket, is_whole):
    """P20: A server that forks its workers may end before them, and the file stays theirs."""
    bucket = make_bucket(6, 0.001)
    assert bucket.allow()

    def parent(write):
        bucket.allow()
        children = [Child(lambda _: (time.sleep(0.1), answer(bucket)(write))) for _ in range(6)]
        assert len(children) == 6

    parent = Child(parent)
    assert parent.wait() == 0
    assert sorted(parent.read()) == sorted(b"++++--")  # it ends when all have ended
    assert is_whole()


def test_fork_while_threads_ask_hangs_nobody(make_bucket, is_whole):
    """P20: A child can use the bucket at once, whatever other threads were doing."""
    bucket, over, granted, errors = make_bucket(100_000, 0.001), threading.Event(), [], []

    def ask():
        try:
            while not over.is_set():
                granted.append(bucket.allow())
        except BackendError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    written = b"".join(in_child(answer(bucket)) for _ in range(25))
    over.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert written == b"+" * 25
    assert bucket.available_tokens == 100_000 - len(granted) - 25
    assert is_whole()


def test_threads_that_fork_at_once_hang_nobody(make_bucket, is_whole):
    """P20: Each thread that forks lets go of what it has acquired itself."""
    bucket = make_bucket(100_000, 0.001)
    assert bucket.allow()
    written = []

    def fork():
        written.extend(in_child(answer(bucket)) for _ in range(15))

    threads = [threading.Thread(target=fork, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    asking = threading.Thread(target=bucket.allow, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    assert not asking.is_alive()
    assert written == [b"+"] * 45
    assert bucket.available_tokens == 100_000 - 47
    assert is_whole()


def test_handler_that_forks_amid_a_fork_lets_go_of_its_own(make_bucket):
    """P20: A fork within the hooks of another releases no more and no less than it acquired."""
    bucket = make_bucket(5, 0.001)
    assert bucket.allow()
    before_fork()
    assert in_child(answer(bucket)) == b"+"
    assert is_held(bucket)
    after_in_parent()
    assert not is_held(bucket)
    assert bucket.allow()
    after_in_parent()  # a hook without a fork, which has nothing to let go of
    assert not is_held(bucket)


def test_child_that_closes_all_files_keeps_those_that_it_opens(make_bucket, held):
    """P20: A daemon closes what it inherited, and no number is closed or used by mistake later."""
    bucket = make_bucket(5, 0.001)
    assert bucket.allow()

    def daemon(write):
        os.closerange(3, 256)
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        assert bucket.allow()
        gc.collect()
        assert {str(Path(f"/proc/self/fd/{file}").readlink()) for file in files} == {os.devnull}

    in_child(daemon)
    let_go = held()
    waiting = threading.Thread(target=bucket.allow)
    waiting.start()
    time.sleep(0.03)  # it is in line then
    child = Child(daemon)
    let_go()
    waiting.join()
    assert child.wait() == 0
    assert bucket.available_tokens == 1.0


def is_held(bucket):
    """Tell whether another thread would have to wait for its turn."""
    free = []

    def look():
        turn = bucket._source.turn
        free.append(turn.acquire(blocking=False))
        if free[0]:
            turn.release()

    looking = threading.Thread(target=look)
    looking.start()
    looking.join()
    return not free[0]


def amid_a_decision(bucket):
    """Leave a thread amid a decision; return how to let it go on to its end."""
    amid, go_on = threading.Event(), threading.Event()

    def trace(frame, event, argument):
        if frame.f_code.co_name == "_decide":
            amid.set()
            go_on.wait()

    def ask():
        sys.settrace(trace)
        bucket.allow()

    thread = threading.Thread(target=ask)
    thread.start()
    amid.wait()

    def end():
        go_on.set()
        thread.join()

    return end


# A server written in C forks past Python's hooks, and tells Python only in the child, before that
# runs anything. Here it runs a little: if another thread had asked for the interpreter by the fork,
# the child would wait for it to take it. So this is a process of its own, where nobody ever asks.
FORK_IN_C = """
import ctypes, os, sys, threading
sys.setswitchinterval(1000)
from rate_limiter import BackendError
from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.sqlite.opened import after_in_child

bucket = SQLiteTokenBucket(path, "bucket", 3, 0.001)
if sys.version_info < (3, 12):
    tell_python = ctypes.pythonapi.PyOS_AfterFork_Child
else:  # where that asks for more than such a server does
    tell_python = after_in_child

def ask():
    try:
        return str(bucket.allow())
    except BackendError as error:
        return str(error)

def child_says():
    read, write = os.pipe()
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        tell_python()
        os.write(write, ask().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said

assert bucket.allow()
"""
AMID_A_DECISION = """
amid, go_on = threading.Event(), threading.Event()

def trace(frame, event, argument):
    if frame.f_code.co_name == "_decide":
        amid.set()
        go_on.wait()

def traced():
    sys.settrace(trace)
    bucket.allow()

thread = threading.Thread(target=traced)
thread.start()
amid.wait()
print(child_says().replace(" ", "_"))
go_on.set()
thread.join()
print(bucket.allow())
"""


def test_fork_past_python_closes_what_was_inherited(run_script, is_whole):
    """P20: A server written in C forks past Python's hooks; its children open the file anew."""
    said = run_script(FORK_IN_C + "print(child_says(), bucket.allow(), bucket.allow())")
    assert said == ["True", "True", "False"]
    assert is_whole()


def test_fork_past_python_amid_a_decision_is_refused(run_script):
    """P41: What cannot be put right is an error, never a silent yes."""
    told, after = run_script(FORK_IN_C + AMID_A_DECISION)
    assert "forked_while_another_thread_was_asking" in told
    assert after == "True"


def test_fork_does_not_wait_for_a_thread_that_is_stuck(make_bucket, monkeypatch):
    """P20: A thread that a debugger has stopped holds up no fork for long."""
    monkeypatch.setattr("rate_limiter.sqlite.opened._WAIT", 0.05)
    bucket = make_bucket(3, 0.001)
    assert bucket.allow()

    def child(write):
        with pytest.raises(BackendError, match="forked while another thread"):
            bucket.allow()

    end = amid_a_decision(bucket)
    in_child(child)
    end()
    assert bucket.allow()


def test_child_leaves_the_line_that_a_thread_of_its_parent_is_in(make_bucket, held):
    """P20: Who waits in the parent is not first in line in the child as well."""
    bucket = make_bucket(5, 0.001)
    bucket.allow()
    let_go = held()
    waiting = [threading.Thread(target=bucket.allow) for _ in range(2)]
    for thread in waiting:
        thread.start()
    time.sleep(0.03)
    child = Child(answer(bucket))
    let_go()
    for thread in waiting:
        thread.join()
    assert child.wait() == 0
    assert child.read() == b"+"
    assert bucket.available_tokens == 1.0


def test_hooks_of_a_child_open_the_file_anew(make_bucket, path, is_whole):
    """P20: After the hooks of a fork, in either process, the file is opened by whoever asks."""
    bucket = make_bucket(3, 0.001)
    log = path.with_name("limits.db-wal")
    for after in (after_in_parent, after_in_child):
        assert bucket.allow()
        assert log.exists()
        before_fork()
        assert not log.exists()
        after()
    after_in_child()  # forked in C: nothing was done before
    assert not log.exists()
    assert (bucket.allow(), bucket.allow()) == (True, False)
    assert is_whole()


def test_hook_of_a_child_leaves_what_a_thread_was_amid(path, clock):
    """P41: What another thread had in use is neither used nor closed, and calls say so."""
    bucket = SQLiteTokenBucket(path, "b", 3, 0.001, clock=clock)
    assert bucket.allow()
    end = amid_a_decision(bucket)
    bucket._source.after_in_child(prepared=False)
    with pytest.raises(BackendError, match="forked while another thread"):
        bucket.allow()
    end()


def test_file_that_a_thread_was_amid_is_never_closed_in_the_child(path, clock, monkeypatch):
    """P20: When nobody has the bucket any more, its file is not closed by a number that is gone."""
    monkeypatch.setattr("rate_limiter.sqlite.opened._WAIT", 0.05)
    bucket = SQLiteTokenBucket(path, "b", 3, 0.001, clock=clock)
    assert bucket.allow()

    def daemon(write):
        nonlocal bucket
        os.closerange(3, 256)
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        bucket = None
        _recent.clear()
        gc.collect()
        for file in files:
            os.close(file)  # raises if somebody has closed it

    end = amid_a_decision(bucket)
    in_child(daemon)
    end()


def test_hook_of_a_child_leaves_a_file_that_a_thread_was_opening(make_bucket):
    """P41: So it is when the file was not even open."""
    bucket = make_bucket(3, 0.001)
    busy, over = threading.Event(), threading.Event()

    def keep():
        with bucket._source.turn:
            busy.set()
            over.wait(PATIENCE)

    thread = threading.Thread(target=keep)
    thread.start()
    busy.wait()
    bucket._source.after_in_child(prepared=False)
    with pytest.raises(BackendError, match="forked while another thread"):
        bucket.allow()
    over.set()
    thread.join()


def test_hook_of_a_child_leaves_the_line(make_bucket, held):
    """P20: Who waits in line when the hook runs begins to wait anew."""
    bucket = make_bucket(3, 0.001)
    assert bucket.allow()
    let_go = held()
    waiting = threading.Thread(target=bucket.allow)
    waiting.start()
    time.sleep(0.03)
    before_fork()
    after_in_child()
    let_go()
    waiting.join()
    assert bucket.available_tokens == 1.0
