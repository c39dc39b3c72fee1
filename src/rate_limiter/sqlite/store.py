"""The store: each question is one transaction, tried at once, and then as the line says.

The threads of a process take turns at one connection, as decisions on a file come one after the
other anyway, and no thread waits for another process while it has its turn. What makes a decision
right is SQLite's transaction. A turn may be entered again by the thread that has it, in a signal
handler or a finalizer: it ends the transaction that it finds, whose owner begins anew (P19).
"""

from __future__ import annotations

import sqlite3
from threading import RLock

from ..shared.store import MICROSECOND, Answer, Question
from .clock import uptime_ns
from .database import COPIED, Database, open_database
from .decisions import Decisions
from .failures import failed, failure_of, is_busy, stayed_locked
from .line import Line, Turn
from .patience import Patience, Worker

__all__ = ["SQLiteStore"]

_LOOKED = 100_000  # microseconds between two looks at whether the file is still there
_HEEDED = 16  # questions of which one heeds the line at first; a longer wait heeds it every time
_ENDINGS = 8  # tries to end a log that is long


class SQLiteStore:
    """Keeps buckets in a file, for threads.

    Args:
        path: The absolute path of the file.

    Attributes:
        inside: Whether a thread has its turn; only a hint.
        turn: The lock of the thread that has its turn; a fork acquires it.
    """

    def __init__(self, path: str) -> None:
        self.inside = False
        self._path = path
        self._line = Line(path)
        self.turn = RLock()
        self._database: Database | None = None
        self._look_at = 0
        self._asked = 0
        self._decisions = Decisions()
        self._waiting: set[Turn] = set()
        self._forsaken = False  # whether a thread was asking when this process was forked
        self._workers: dict[float, Worker] = {}  # for tasks, by how many seconds they wait

    def ask_once(self, question: Question) -> Answer | None:
        """Return the answer; None if somebody else has the file, or is first in line."""
        self._asked += 1
        if self._asked % _HEEDED or not self._line.has_first():
            return self._try(question)
        return None

    def ask_at_once(self, question: Question) -> Answer | None:
        """Return the answer; None if that may take longer than a moment.

        So it neither opens the file nor copies its log, and waits for no thread that does.
        """
        self._asked += 1
        if self.inside or not (self._asked % _HEEDED or not self._line.has_first()):
            return None
        held: list[bool] = []
        release = self.turn.release
        try:
            held.extend(map(self.turn.acquire, [False]))  # in one step, for interrupts
            return self._try(question) if True in held and self._is_ready() else None
        finally:
            if True in held:
                release()

    def _is_ready(self) -> bool:
        """Tell whether an answer takes a moment only; for the thread that has its turn."""
        database = self._database
        return (
            database is not None
            and not database.connection.in_transaction
            and database.writes < COPIED
            and self._is_current(database, uptime_ns() // MICROSECOND)
        )

    def _is_current(self, database: Database, up: int) -> bool:
        """Look now and then whether the path still leads to a database; tell whether it does."""
        if up >= self._look_at:
            if not database.is_there():
                return False
            self._look(database, up)
        return True

    def _look(self, database: Database, up: int) -> None:
        """Look at the log, and say when to look again."""
        self._look_at = up + _LOOKED
        if database.log_is_long():
            database.writes = COPIED

    def ask_in_line(self, question: Question, patience: Patience) -> Answer:
        """Return the answer, in line with others.

        Raises:
            BackendError: There is none, and patience is over.
        """
        turn = Turn(self._line)
        self._waiting.add(turn)
        try:
            while True:
                if turn.first or not self._line.has_first():
                    answered = self._try(question)
                    if answered is not None:
                        return answered
                if patience.is_over():
                    raise stayed_locked(patience.timeout)
                turn.wait()
        finally:
            self._waiting.discard(turn)
            turn.end()

    def worker(self, timeout: float) -> Worker:
        """Return the thread that waits for tasks that are as patient as that."""
        worker = self._workers.get(timeout)
        return self._workers.setdefault(timeout, Worker(timeout)) if worker is None else worker

    def _try(self, question: Question) -> Answer | None:
        """Return the answer; None if somebody else has the file."""
        with self.turn:
            self.inside, database, up = True, self._database, uptime_ns() // MICROSECOND
            try:
                if (
                    database is None
                    or up >= self._look_at
                    or database.writes >= COPIED
                    or database.connection.in_transaction
                ):
                    database = self._ready(database, up)
                    up = uptime_ns() // MICROSECOND  # for that takes its time
                now = question.now
                if now is None:
                    now = database.start + up
                answered = self._decisions.decide(database, question, now)
            except (sqlite3.Error, OSError) as error:
                self._fail(database, error)
                return None
            except BaseException:
                self._give_up(database)
                raise
            finally:
                self.inside = False
            return answered

    def _ready(self, database: Database | None, up: int) -> Database:
        """Return the database that is at the path now, with no transaction and a short log."""
        if (
            database is None
            or database.connection.in_transaction
            or not self._is_current(database, up)
        ):
            database = self._open()
            self._look(database, up)
        if database.writes >= COPIED:
            self._copy_log(database)  # and this thread is the first to write to the new one
        return database

    def _open(self) -> Database:
        """Open the file anew."""
        self._leave()
        if self._forsaken:
            raise failed(
                "this process was forked while another thread was asking, and not by Python's "
                "os.fork; fork before the first question, or start processes by spawn"
            )
        self._line.reopen()
        self._database = database = open_database(self._path)
        return database

    def _leave(self) -> None:
        """Give up the database; this thread may be in the midst of using it."""
        database, self._database = self._database, None
        if database is not None:
            database.disable()

    def _fail(self, database: Database | None, error: sqlite3.Error | OSError) -> None:
        """Raise what an error means, unless another try may succeed."""
        interrupted = database is not None and database is not self._database
        self._give_up(database)
        if database is not None and interrupted:
            database.close()
        elif not is_busy(error):
            self.close()
            raise failure_of(error) from error

    def _give_up(self, database: Database | None) -> None:
        """Roll back what a try has begun."""
        if database is not None:
            try:
                database.roll_back()
            except sqlite3.Error:
                self.close()

    def _copy_log(self, database: Database) -> None:
        """Copy the log, most of it while others write; if that fails, it is done another time."""
        turn = Turn(self._line)
        self._waiting.add(turn)
        try:
            database.copy_log()
            for _ in range(_ENDINGS):
                if not database.log_is_long():
                    break
                turn.move_up()
                database.end_log()
                turn.wait()
        except sqlite3.Error:
            return
        finally:
            self._waiting.discard(turn)
            turn.end()

    # SQLite must not be carried across a fork: the child would take the parent's locks for its
    # own. So the file is closed before, and opened again by the next question (P20, P41).

    def close(self) -> None:
        """Close the files; for the thread that has its turn."""
        self._line.close()
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def after_in_child(self, prepared: bool) -> None:
        """Go on, without what other threads have left.

        Args:
            prepared: Whether the file was closed before the fork, when nobody was asking.
        """
        if not prepared:
            self._close_unprepared()
        self._workers.clear()
        self.inside = False
        self._line.close()
        for turn in list(self._waiting):
            turn.end_in_child()
        self._waiting.clear()

    def _close_unprepared(self) -> None:
        """Close what was forked in C, or while a thread had its turn for long."""
        if self.turn.acquire(blocking=False):
            self.close()
            self.turn.release()
        else:
            self.turn, self._forsaken, database = RLock(), True, self._database
            self._database = None
            if database is not None:
                database.forsake()
