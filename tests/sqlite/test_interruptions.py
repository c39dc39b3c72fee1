"""Whatever comes between any two lines of a decision: nothing is torn, and nothing hangs (P19)."""

import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from processes import Child, in_child

import rate_limiter.sqlite
from rate_limiter import BucketGroup
from rate_limiter.sqlite.database import COPIED

FOLDER = str(Path(rate_limiter.sqlite.__file__).parent)
CAPACITY = 50


class Between:
    """Lets something happen once, before the nth line of the package that a call passes."""

    def __init__(self, line, happen):
        self.left = line
        self.happen = happen

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.happen()
        return self.trace

    @property
    def happened(self):
        return self.left <= 0


def is_free(path):
    """Tell whether another program could write at once."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


@pytest.fixture(params=["one", "group"])
def decide(request, make_bucket):
    """Return what asks for a token of one bucket, or of two together; and the first of them."""
    first = make_bucket(CAPACITY, 0.001, name="first")
    if request.param == "one":
        return first.allow, first
    return BucketGroup(first, make_bucket(CAPACITY, 0.001, name="second")).allow, first


def lines(decide, happen):
    """Let something happen before each line in turn; return how often, and how many were let in."""
    line, admitted = 0, 0
    while True:
        line += 1
        between = Between(line, happen)
        try:
            with between:
                admitted += decide()
        except KeyboardInterrupt:
            pass
        if not between.happened:
            return line - 1, admitted


def test_interrupt_before_any_line_leaves_the_file_free(decide, path):
    """P19: An interrupt at any line costs at most that call's token, and leaves no lock behind."""
    ask, bucket = decide
    ask()
    free = []

    def interrupt():
        raise KeyboardInterrupt

    def ask_and_look():
        try:
            return ask()
        finally:
            free.append(is_free(path))

    count, admitted = lines(ask_and_look, interrupt)
    assert count > 15
    assert all(free)
    assert CAPACITY - 1 - admitted - count <= bucket.available_tokens <= CAPACITY - 1 - admitted
    assert ask()


def test_handler_that_asks_amid_a_decision_is_answered(decide, path):
    """P19: A signal handler or finalizer may ask for the bucket that its thread was asking for."""
    ask, bucket = decide
    nested = []
    count, admitted = lines(ask, lambda: nested.append(ask()))
    assert len(nested) == count > 15
    assert admitted + sum(nested) == CAPACITY or bucket.available_tokens > 0
    assert bucket.available_tokens == CAPACITY - admitted - sum(nested)
    assert is_free(path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_fork_amid_a_decision_leaves_both_sides_whole(decide, path, is_whole):
    """P20: A handler that forks amid a decision: the call is made twice, as the process is."""
    ask, bucket = decide
    children = []

    def fork():
        pid = os.fork()
        if pid:
            children.append(pid)
        else:
            sys.settrace(None)
            forked.append(True)

    forked, line, admitted = [], 0, 0
    while True:
        line += 3
        between = Between(line, fork)
        with between:
            admitted += ask()
        if forked:
            os._exit(0 if ask() in {True, False} else 1)
        if not between.happened:
            break
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    assert len(children) > 5
    least = CAPACITY - admitted - 2 * len(children)  # unless it was charged before the fork
    assert least <= bucket.available_tokens <= least + len(children)
    assert is_free(path)
    assert is_whole()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside a thread"])
def test_daemon_that_is_forked_amid_a_decision_is_whole(make_bucket, is_whole, busy):
    """P20: A handler that forks twice and closes all files, amid any step of the store."""
    bucket = make_bucket(10**7, 1)
    over = threading.Event()
    taken = [bucket.allow()]

    def ask():
        while not over.is_set():
            taken.append(bucket.allow())

    def steps():
        yield bucket.allow()
        database = bucket._source._database
        if database is not None:  # unless that has just been forked
            database.writes = COPIED  # so that the log is copied as well
        yield bucket.allow()

    def daemon(write):
        sys.settrace(None)
        os.closerange(3, 256)
        if os.fork():
            os.wait()
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        assert bucket.allow()
        assert {str(Path(f"/proc/self/fd/{file}").readlink()) for file in files} == {os.devnull}

    thread = threading.Thread(target=ask, daemon=True)
    if busy:
        thread.start()
    forks, between = 0, Between(1, lambda: in_child(daemon))
    while between.happened or not forks:
        between = Between(1 + 3 * forks, lambda: in_child(daemon))
        with between:
            taken.extend(steps())
        forks += between.happened
    over.set()
    if busy:
        thread.join()
    assert forks > 15
    assert all(taken)
    assert bucket.available_tokens == 10**7 - len(taken) - 2 * forks
    assert is_whole()


def test_interrupt_while_waiting_in_line_leaves_it(make_bucket, other, path):
    """P19: An interrupt while others have the file leaves the line in front of it empty."""
    bucket = make_bucket(CAPACITY, 0.001)
    bucket.allow()
    connection = other()
    connection.execute("BEGIN IMMEDIATE")
    for line in range(10, 200, 7):

        def interrupt():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Between(line, interrupt):
            bucket.allow()
    connection.execute("ROLLBACK")
    assert bucket.allow()
    assert bucket.available_tokens == CAPACITY - 2


def test_child_inherits_no_wait(make_bucket, held):
    """P20: A child that is forked while its own thread waits in line goes on by itself."""
    bucket = make_bucket(CAPACITY, 0.001)
    bucket.allow()
    let_go = held()
    children = []

    def fork():
        children.append(Child(lambda write: write(b"+" if bucket.allow() else b"-")))
        let_go()

    with Between(150, fork):
        assert bucket.allow()
    assert children[0].wait() == 0
    assert children[0].read() == b"+"
