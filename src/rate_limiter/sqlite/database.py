"""The database: a table of values by key, and two small ones for its clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias
from weakref import finalize

from .clock import boot_of, start_of, uptime, wall_time
from .failures import corrupt_value, refused
from .mounts import network_of

__all__ = ["COPIED", "REPLACE", "SWEPT", "Database", "open_database"]

_APPLICATION: Final = 0x524C544B  # what the header of a file of ours says
_VERSION: Final = 1  # of what it holds
_SCHEMA = (
    """CREATE TABLE rate_limiter_buckets (
        key BLOB PRIMARY KEY, value TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE rate_limiter_boots (boot TEXT PRIMARY KEY, start INTEGER NOT NULL)",
    "CREATE TABLE rate_limiter_seen (instant INTEGER NOT NULL)",
    "INSERT INTO rate_limiter_seen VALUES (0)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_READ = "SELECT value FROM rate_limiter_buckets WHERE key = ?"
_UPDATE = "UPDATE rate_limiter_buckets SET value = ?, until = ? WHERE key = ?"
REPLACE: Final = _UPDATE + " AND value = ?"
"""Writes a value on condition of the one that is there."""
_INSERT = "INSERT INTO rate_limiter_buckets (value, until, key) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM rate_limiter_buckets WHERE key = ?"
_STRETCH = "SELECT key FROM rate_limiter_buckets WHERE key > ? ORDER BY key LIMIT 512"
_END = f"SELECT max(key) FROM ({_STRETCH})"  # noqa: S608 - constants
_SWEEP = f"DELETE FROM rate_limiter_buckets WHERE key IN ({_STRETCH}) AND until <= ?"  # noqa: S608
_SEEN = "SELECT instant FROM rate_limiter_seen"
_SEE = "UPDATE rate_limiter_seen SET instant = max(instant, ?)"
_START = "SELECT start FROM rate_limiter_boots WHERE boot = ?"
_BOOT = "INSERT OR REPLACE INTO rate_limiter_boots VALUES (?, ?)"
SWEPT: Final = 128
"""Writes between two sweeps, so that 4 rows are looked at for each that may be new."""
COPIED: Final = 1000
"""Writes between two times that the log is copied into the database."""
_NOTED = 60 * 10**6  # microseconds between the instants that are noted
_LONG = 8 << 20  # bytes of a log that is to end, some 2000 writes
Identity: TypeAlias = tuple[int, int]
_forsaken: list[sqlite3.Connection] = []


def open_database(path: str) -> Database:
    """Open a file, or make it.

    Raises:
        BackendError: It cannot be used.
        sqlite3.Error: It cannot be used, or not now.
    """
    kind = network_of(path)
    if kind is not None:
        raise refused(
            f"its file lies on a network file system ({kind}), where processes cannot share it; "
            "put it on a disk of this machine, or use RedisTokenBucket"
        )
    before, connection = _identity(path), _connect(path)
    identity = _identity(path)
    # One that was replaced meanwhile has an identity that is not known, and is opened anew soon.
    database = Database(path, connection, identity if before in {None, identity} else None)
    try:
        database.prepare()
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: str) -> sqlite3.Connection:
    # Without a timeout of SQLite's: how to wait for others is `line.py`'s business.
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _identity(path: str) -> Identity | None:
    """Return what tells a file from others; None if there is none."""
    try:
        status = Path(path).stat()  # not opened, for to close it would end SQLite's locks
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Database:
    """An open file.

    Args:
        path: Its absolute path.
        connection: A connection to it, which may have a transaction that was begun and not ended.
        identity: The file that is open; None if that is not known.

    Attributes:
        execute: Runs a statement.
        writes: How many transactions have been written since the log was copied.
        note_at: The microsecond from which an instant should be noted, by `tidy`.
        start: The microsecond at which the machine has started, for all who use this file.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_hand",
        "_identity",
        "_path",
        "connection",
        "execute",
        "note_at",
        "start",
        "writes",
    )

    def __init__(
        self, path: str, connection: sqlite3.Connection, identity: Identity | None
    ) -> None:
        self._path, self.connection, self._identity = path, connection, identity
        self._hand, self.start = b"", 0
        # Dropping it closes the file, also when the collector finds both at once.
        self._closing = finalize(self, connection.close)
        self._closing.atexit = False  # it may be a fork's that is not to be closed
        self.execute: Callable[..., sqlite3.Cursor] = connection.cursor().execute
        self.writes = self.note_at = 0

    def prepare(self) -> None:
        """Make the tables, unless they are there, and read the clock's."""
        if not self.is_ours():
            self._transact(self._make)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA wal_autocheckpoint = 0")
        self.execute("PRAGMA secure_delete = 0")
        self._read_start()

    def is_ours(self) -> bool:
        """Tell whether the tables are there; False if nothing is.

        Raises:
            Refused: The file belongs to another program, or to another version of this one.
        """
        application = self._one("PRAGMA application_id")
        if application == _APPLICATION:
            if self._one("PRAGMA user_version") != _VERSION:
                raise refused("its file was made by another version of this library; use another")
            return True
        if application or self._one("SELECT count(*) FROM sqlite_master"):
            raise refused("its file belongs to another program; give the limits one of their own")
        return False

    def _one(self, statement: str, *arguments: object) -> Any:
        """Return the one value that a query finds; None if it finds none."""
        row = self.execute(statement, arguments).fetchone()
        return None if row is None else row[0]

    def _make(self) -> None:
        if not self.is_ours():
            for statement in _SCHEMA:
                self.execute(statement)

    def _transact(self, change: Callable[[], None]) -> None:
        self.execute("BEGIN IMMEDIATE")
        change()
        self.execute("COMMIT")

    def _read_start(self) -> None:
        """Read when the machine has started; note it if nobody has."""
        boot = boot_of()
        if not self._knows(boot):
            self._transact(lambda: None if self._knows(boot) else self._note_start(boot))
        self.start = self._one(_START, boot)

    def _knows(self, boot: str) -> bool:
        """Tell whether a start of the machine is noted, and not later than what was noted since."""
        seen, start = self._one(_SEEN), self._one(_START, boot)
        self.note_at = seen + _NOTED
        return start is not None and start + uptime() >= seen

    def _note_start(self, boot: str) -> None:
        self.execute(_BOOT, (boot, start_of(wall_time(), uptime(), self._one(_SEEN))))

    def read(self, key: bytes) -> str | None:
        """Return the value under a key.

        Raises:
            BucketFailure: It is not that of a bucket.
        """
        value: str | bytes | None = self._one(_READ, key)
        if isinstance(value, bytes):
            raise corrupt_value()
        return value

    def keep(self, key: bytes, old: str | None, value: str | None, until: int) -> None:
        """Keep what has changed under a key; None for nothing."""
        if value is None:
            self.execute(_DELETE, (key,))
        else:
            self.execute(_INSERT if old is None else _UPDATE, (value, until, key))

    def count(self, now: int) -> None:
        """Count a transaction, and tidy up now and then; within it."""
        self.writes += 1
        if not self.writes % SWEPT or now >= self.note_at:
            self.tidy(now)

    def tidy(self, now: int) -> None:
        """Delete those of the next rows whose buckets are full; in a transaction.

        The instant is noted as well, so that time does not go back with the wall clock.
        """
        end = self._one(_END, self._hand)
        self.execute(_SWEEP, (self._hand, now))
        self._hand = b"" if end is None else end
        present = self.start + uptime()
        if present >= self.note_at:
            self.execute(_SEE, (present,))
            self.note_at = present + _NOTED

    def copy_log(self) -> None:
        """Copy the log into the database, so that it begins anew unless others write meanwhile."""
        self.writes = 0
        self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def log_is_long(self) -> bool:
        """Tell whether the log has grown though each process copies what it writes itself.

        For processes may end before they do, or write while another copies.
        """
        try:
            return Path(self._path + "-wal").stat().st_size > _LONG
        except OSError:
            return False

    def end_log(self) -> None:
        """Copy the rest of the log and empty it, unless somebody writes or reads at the moment."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def is_there(self) -> bool:
        """Tell whether the path still leads to this file."""
        return self._identity is not None and _identity(self._path) == self._identity

    def roll_back(self) -> None:
        """End a transaction, if there is one, without a change."""
        if self.connection.in_transaction:
            self.connection.rollback()

    def disable(self) -> None:
        """Roll back, and make this connection refuse what is still written over it.

        It may be in use by a call that this thread is in the midst of, and so is not closed.
        """
        self.roll_back()
        self.connection.execute("PRAGMA query_only = 1")

    def close(self) -> None:
        """Close the file; a transaction is rolled back."""
        self._closing()

    def forsake(self) -> None:
        """Leave the file open for good, as a thread that is no more was in the midst of using it.

        Nobody knows any more whose files the numbers are that SQLite would close.
        """
        self._closing.detach()
        _forsaken.append(self.connection)
