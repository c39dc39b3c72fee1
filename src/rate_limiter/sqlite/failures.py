"""What can go wrong with a file, and what is said of it: neither its path nor a name (P26)."""

from __future__ import annotations

import errno
import os
import sqlite3

from ..exceptions import BackendError
from ..shared.failures import BucketFailure, NoConnection, Refused

__all__ = ["corrupt_value", "failed", "failure_of", "is_busy", "refused", "stayed_locked"]

_PRIMARY = 0xFF  # the part of an error's code that names its kind
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_NOT_OPEN = "it cannot be opened; does its directory exist, and may this process write there?"
_READ_ONLY = "this process may not write to the file and its directory"
_DAMAGED = (
    "the file is damaged or not a database; move it away, together with those beside it whose "
    "names end in -wal and -shm, which costs at most one capacity"
)
_NO_CAUSE = "SQLite has refused"
_REFUSED = {
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _NOT_OPEN,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
}
_FAILED = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk or file system has failed",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


def failed(hint: str) -> BackendError:
    """Return the error for a store that has failed."""
    return BackendError(f"the store of the bucket failed: {hint}")


def refused(hint: str) -> Refused:
    """Return the error for a file that no later call can use either, until somebody sees to it."""
    return Refused(f"the store of the bucket failed: {hint}")


def stayed_locked(timeout: float) -> BackendError:
    """Return the error for a file that somebody else has kept locked."""
    return failed(
        f"another program has kept the file locked for {timeout:g} s; end its transaction, or "
        "give a longer busy_timeout"
    )


def corrupt_value() -> BucketFailure:
    """Return the error for a value that is not that of a bucket."""
    return BucketFailure(
        "the store of the bucket failed: the value under its name is not that of a bucket; "
        "use another name"
    )


def is_busy(error: sqlite3.Error | OSError) -> bool:
    """Tell whether somebody else has the file locked, so that a later try may succeed."""
    return _code_of(error) in _BUSY


def failure_of(error: sqlite3.Error | OSError) -> BackendError:
    """Return the error to raise for what SQLite or the system has raised."""
    code, name = _code_of(error), getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_CANTOPEN and _out_of_files():
        return NoConnection(
            "the store of the bucket failed: this process may open no more files; raise its limit"
        )
    if isinstance(error, OSError):
        return refused(f"{_NOT_OPEN} ({name})")
    if code in _REFUSED:
        return refused(f"{_REFUSED[code]} ({name})")
    if code == sqlite3.SQLITE_OK and "UTF-8" in str(error):
        return corrupt_value()
    return failed(f"{_FAILED.get(code, _NO_CAUSE)} ({name})")


def _code_of(error: sqlite3.Error | OSError) -> int:
    """Return the kind of an error; 0 for one that Python's module has raised by itself."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & _PRIMARY


def _out_of_files() -> bool:
    """Tell whether nothing can be opened, which SQLite does not say."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return False
