"""Which caller may try next: fair among processes, with nothing that a dead one could keep.

SQLite has a lock, and no line in front of it: the process that has just had it gets it again. So a
caller that has tried in vain for some milliseconds becomes the first in line, by an flock on a file
beside the database, which nobody else can have and which ends with its process. While there is a
first, nobody else tries; it gets the lock as soon as it is free (P38).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

__all__ = ["Line", "Turn", "locks_of_files"]

_PATIENCE = 0.005  # seconds of trying in vain before a caller wants to be the first
_STUCK = 0.25  # seconds after which the first in line must have been stopped, and is passed
_PAUSE = 0.0005  # seconds between two tries
_SHORT_PAUSE = 0.0001  # of a caller that wants to be the first, or is
_MODE = 0o666  # less the umask, as for the database


def locks_of_files() -> Any:
    """Return the module with `flock`; None where the system has no such thing."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl


_LOCKS = locks_of_files()


class _Opened:
    """An open file, which is closed when nobody has it any more: a thread may be amid using it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._descriptor)  # a default, for `os` may be gone when the interpreter ends


class Line:
    """The file beside a database.

    Where there is none, as it cannot be made or locked, callers try as they come. It is closed
    before a fork: a child that closes all files would later close somebody else's by its number.

    Args:
        path: The path of the database.
    """

    __slots__ = ("_file", "_passed_until", "_path")

    def __init__(self, path: str) -> None:
        self._path = path + "-line"
        self._file: _Opened | None = None
        self._passed_until = 0.0

    def open(self) -> _Opened | None:
        """Open the file; each time with locks of its own. Return None if there is none."""
        if _LOCKS is None:
            return None
        try:
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            return _Opened(os.open(self._path, flags, _MODE))
        except OSError:
            return None

    def reopen(self) -> None:
        """Open the file anew, as somebody may have removed it together with the database."""
        self._file = self.open()

    def close(self) -> None:
        """Close the file, and do without it until it is opened anew."""
        self._file = None

    def has_first(self) -> bool:
        """Tell whether somebody is first in line, so that others should not try."""
        file = self._file
        if file is None:
            return False
        try:
            _LOCKS.flock(file, _LOCKS.LOCK_SH | _LOCKS.LOCK_NB)
        except BlockingIOError:
            return monotonic() >= self._passed_until
        except OSError:  # a file system without locks
            self.close()
            return False
        _unlock(file)
        return False

    def let_pass(self) -> None:
        """Ignore the first in line for a second, because it has not moved."""
        self._passed_until = monotonic() + 1.0


class Turn:
    """One caller's way through the line.

    Attributes:
        first: Whether it is first in line.
    """

    __slots__ = ("_began", "_file", "_line", "first")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._began = monotonic()
        self._file: _Opened | None = None
        self.first = False

    def wait(self) -> None:
        """Wait a little until the next try; move up if it has been long."""
        waited = monotonic() - self._began
        if waited > _PATIENCE and not self.first:
            self.move_up()
        if waited > _STUCK and not self.first:
            self._line.let_pass()
        sleep(_SHORT_PAUSE if waited > _PATIENCE and waited < _STUCK else _PAUSE)

    def move_up(self) -> None:
        """Become the first, unless somebody is."""
        if self._file is None:
            self._file = self._line.open()
        file = self._file
        if file is not None:
            try:
                _LOCKS.flock(file, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
            except OSError:  # somebody else is, or there are no locks
                return
            self.first = True

    def end(self) -> None:
        """Leave the line."""
        file = self._file
        if file is not None:
            _unlock(file)  # not only closed, as a child may have it open as well
        self.end_in_child()

    def end_in_child(self) -> None:
        """Leave the line to the parent, which may be first in it."""
        self.first, self._file = False, None


def _unlock(file: _Opened) -> None:
    with suppress(OSError):
        _LOCKS.flock(file, _LOCKS.LOCK_UN)
