"""The line in front of a file: fair, and held up by nobody who is dead or stopped (P38)."""

import errno
import os
import signal
import sys
import time

import pytest
from processes import Child, in_child

from rate_limiter.sqlite import line as line_module
from rate_limiter.sqlite.line import Line, Turn, locks_of_files


@pytest.fixture
def line(path):
    line = Line(str(path))
    line.reopen()
    return line


def test_first_in_line_holds_back_others(line):
    """P38: While somebody is first, nobody else should try, and nobody else becomes first."""
    one, two = Turn(line), Turn(line)
    assert not line.has_first()
    one.move_up()
    two.move_up()
    assert (one.first, two.first, line.has_first()) == (True, False, True)
    one.end()
    assert not line.has_first()
    two.move_up()
    assert two.first


def test_wait_moves_up_after_some_milliseconds(line):
    """P38: A caller that has tried in vain for a while becomes the first."""
    turn = Turn(line)
    turn.wait()
    assert not turn.first
    while not turn.first:
        turn.wait()
    turn.wait()
    assert turn.first


def test_first_that_dies_holds_up_nobody(path, line):
    """P40: Who is killed is in no line any more."""

    def be_first(write):
        line.reopen()
        turn = Turn(line)
        turn.move_up()
        time.sleep(60)

    child = Child(be_first)
    while not line.has_first():
        time.sleep(0.001)
    child.kill(signal.SIGKILL)
    child.wait()
    assert not line.has_first()


def test_first_that_is_stopped_is_passed(path, line):
    """P38: A process that was stopped while it was first holds up others for a moment only."""
    stopped, other = Turn(line), Turn(line)
    stopped.move_up()
    while line.has_first():
        other.wait()
    assert not other.first


def test_line_that_cannot_be_made_is_done_without(tmp_path):
    """P38: Without a file beside the database, callers try as they come."""
    line = Line(str(tmp_path / "missing" / "limits.db"))
    line.reopen()
    turn = Turn(line)
    turn.move_up()
    assert (turn.first, line.has_first()) == (False, False)


def test_line_on_a_system_without_locks_is_done_without(path, monkeypatch):
    """P38: So do they on a system that has no flock."""
    assert locks_of_files() is sys.modules["fcntl"]
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert locks_of_files() is None
    monkeypatch.setattr("rate_limiter.sqlite.line._LOCKS", None)
    line = Line(str(path))
    line.reopen()
    assert not line.has_first()
    assert not path.with_name("limits.db-line").exists()


class NoLocks:
    """What a file system without locks does to a call of flock."""

    LOCK_SH = LOCK_EX = LOCK_NB = LOCK_UN = 0

    def flock(self, *_):
        raise OSError(errno.ENOLCK, "No locks available")


def test_line_on_a_file_system_without_locks_is_done_without(line, make_bucket, monkeypatch):
    """P41: A file that cannot be locked is as good as none, and no call hears of it."""
    bucket, turn, early = make_bucket(100, 0.001), Turn(line), Turn(line)
    early.move_up()
    monkeypatch.setattr("rate_limiter.sqlite.line._LOCKS", NoLocks())
    early.end()
    turn.move_up()
    assert (turn.first, line.has_first()) == (False, False)
    assert [bucket.allow() for _ in range(48)] == [True] * 48


def test_first_that_leaves_is_first_no_more_though_a_child_has_the_file(line):
    """P38: What a child has inherited holds up nobody once its parent has left the line."""
    turn = Turn(line)
    turn.move_up()
    inherited = os.dup(turn._file.fileno())
    assert line.has_first()
    turn.end()
    assert not line.has_first()
    os.close(inherited)


def test_first_stays_first_when_its_child_leaves(line):
    """P20: A child leaves the line of its parent to it."""
    turn = Turn(line)
    turn.move_up()

    def leave(write):
        turn.end_in_child()
        assert not turn.first

    in_child(leave)
    assert line.has_first()
    turn.end()


def test_first_in_line_is_let_in_by_a_process_that_never_stops(make_bucket, path):
    """P38: A process that asks without a pause gives way to one that has waited."""
    bucket = make_bucket(1_000_000, 0.001)
    line = Line(str(path))
    bucket.allow()
    line.reopen()
    first = Turn(line)
    first.move_up()
    began = time.monotonic()
    for _ in range(17):
        bucket.allow()
    assert time.monotonic() - began > 0.1  # it has waited until it took the first for stopped
    first.end()


def test_close_a_file_when_the_interpreter_ends_needs_no_module(tmp_path, monkeypatch):
    """P41: Modules may be gone before what they have opened."""
    descriptor = os.open(tmp_path / "line", os.O_CREAT | os.O_RDWR)
    opened = line_module._Opened(descriptor)
    with monkeypatch.context() as patched:
        patched.setattr(line_module, "os", None)
        del opened

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
