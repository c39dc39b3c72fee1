"""Files are read line by line: plain, compressed, or from a pipe."""

from __future__ import annotations

import gzip
import io
import os

import pytest

from rate_limiter.simulate import lines as lines_module
from rate_limiter.simulate.lines import CannotRead, LogFile
from rate_limiter.simulate.progress import watched


def lines_of(path):
    with LogFile(str(path)) as log:
        return list(log)


def test_read_lines_without_their_ends(tmp_path):
    """Both kinds of line ends and a byte order mark are left out; odd bytes are escaped."""
    path = tmp_path / "log"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\n \xff three")
    assert lines_of(path) == ["one", "two", "", "\\xff three"]


def test_read_compressed_file_by_what_it_is(tmp_path):
    """A file of gzip is read whatever its name, and tells how far it has been read."""
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    with LogFile(str(path)) as log:
        lines = iter(log)
        assert next(lines) == "one"
        assert log.position == log.size == path.stat().st_size
        assert list(lines) == ["two"]


def test_read_line_too_long_to_be_one(tmp_path, monkeypatch):
    """A line without an end takes no memory, and those behind it are read."""
    monkeypatch.setattr(lines_module, "LONGEST", 8)
    path = tmp_path / "log"
    path.write_bytes(b"1234567\n" + b"x" * 100 + b"\nnext\n" + b"y" * 8)
    assert lines_of(path) == ["1234567", None, "next", None]


@pytest.mark.parametrize(
    "content", [b"one\n", gzip.compress(b"one\n")], ids=["plain", "compressed"]
)
def test_read_standard_input_for_a_dash(content, monkeypatch):
    """A dash reads standard input, compressed or not."""
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))
    monkeypatch.setattr("sys.stdin", stream)
    assert lines_of("-") == ["one"]


def piped(content, monkeypatch):
    """Put a pipe with this content in the place of standard input."""
    read_end, write_end = os.pipe()
    os.write(write_end, content)
    os.close(write_end)
    stream = os.fdopen(read_end)
    monkeypatch.setattr("sys.stdin", stream)
    return stream


def test_read_pipe_has_no_size(monkeypatch):
    """What has no end to go by has no size and no position."""
    with piped(b"one\n", monkeypatch), LogFile("-") as log:
        assert (log.size, log.position, list(log)) == (0, 0, ["one"])


def test_read_file_that_is_not_there_names_it(tmp_path):
    """A file that cannot be opened is named, and the reason."""
    with pytest.raises(CannotRead, match=r"cannot read .*absent: No such file"):
        LogFile(str(tmp_path / "absent"))
    with pytest.raises(CannotRead, match="directory"):
        LogFile(str(tmp_path))


@pytest.mark.parametrize("damage", [lambda data: data[:-6], lambda data: data[:12] + b"\0" * 9])
def test_read_broken_compressed_file_says_so(tmp_path, damage):
    """A file of gzip that ends early or is damaged is an error, not a short log."""
    path = tmp_path / "log.gz"
    path.write_bytes(damage(gzip.compress(b"one\n" * 1000)))
    with pytest.raises(CannotRead, match=r"cannot read .*log\.gz to its end"):
        lines_of(path)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watch(path, *terminal):
    """Read a file with its progress shown; return how many lines it has."""
    with LogFile(str(path)) as log:
        return len(list(watched(log, *terminal)))


def seconds_per_look(step):
    """Return a clock that is later by a step at each look."""
    now = iter(range(1_000_000))
    return lambda: next(now) * step


def test_show_progress_of_a_long_file_and_take_it_away(tmp_path):
    """On a terminal a long file has a bar, which is gone at the end."""
    path = tmp_path / "log"
    path.write_bytes(b"1 a\n" * 5_000)
    terminal = Terminal()
    assert watch(str(path), terminal, seconds_per_look(1)) == 5_000
    shown = terminal.getvalue()
    assert "[########################......]  82%  4,096 lines" in shown
    assert shown.endswith("\r")
    assert shown.split("\r")[-2].strip() == ""


def test_show_progress_of_a_pipe_as_lines(monkeypatch):
    """Without a size the lines are told."""
    terminal = Terminal()
    with piped(b"1 a\n" * 3_000, monkeypatch):
        assert watch("-", terminal, seconds_per_look(1)) == 3_000
    assert "\r2,048 lines" in terminal.getvalue()


def test_show_no_progress_of_a_short_file_or_elsewhere(tmp_path):
    """What is read quickly shows nothing, nor does what goes to a file."""
    path = tmp_path / "log"
    path.write_bytes(b"1 a\n" * 5_000)
    terminal, file = Terminal(), io.StringIO()
    assert watch(str(path), terminal, seconds_per_look(0.01)) == 5_000
    assert watch(str(path), file) == 5_000
    assert terminal.getvalue() + file.getvalue() == ""
