"""Decisions: a question and its answer as one transaction.

A process is often the only one that asks for a bucket for a while. So what it has written last is
as good as read: the answer follows from that, and is written by one statement, which is a
transaction of its own, on condition that it is what is there.
"""

from __future__ import annotations

from ..shared.algorithm import answer
from ..shared.store import Answer, Question
from .database import REPLACE, SWEPT, Database

__all__ = ["Decisions"]

_REMEMBERED = 1000  # values


class Decisions:
    """Answers questions from a database; for the thread that has its turn."""

    __slots__ = ("_alone", "_written")

    def __init__(self) -> None:
        self._written: dict[bytes, str] = {}  # by key, what this process has written last
        self._alone = False  # whether nobody else seems to have written since

    def decide(self, database: Database, question: Question, now: int) -> Answer:
        """Return the answer, with what follows from it written.

        Args:
            database: An open file without a transaction.
            question: What is asked.
            now: The microsecond that it is.

        Raises:
            BucketFailure: A value is not that of a bucket.
            sqlite3.Error: The file cannot be used, or not now.
        """
        answered = self._repeat(database, question, now) if self._alone else None
        return self._decide(database, question, now) if answered is None else answered

    def _repeat(self, database: Database, question: Question, now: int) -> Answer | None:
        """Take from a bucket as this process left it; return None if that is not known to do."""
        key = question.charges[0][0].key
        old = self._written.get(key)
        writes = database.writes + 1
        if old is None or len(question.charges) != 1 or not writes % SWEPT:
            return None
        answered, changes = answer(question, (old,), now)
        if changes is None or (value := changes[0][0]) is None or now >= database.note_at:
            return None
        # Over a cursor of its own, as a handler may use the usual one before the count is read.
        done = database.connection.execute(REPLACE, (value, changes[0][1], key, old))
        if done.rowcount != 1:  # somebody else has written
            self._alone = False
            return None
        self._written[key], database.writes = value, writes
        return answered

    def _decide(self, database: Database, question: Question, now: int) -> Answer:
        """Ask and answer in one transaction."""
        if len(question.charges) != 1:
            return self._decide_together(database, question, now)
        execute, key = database.execute, question.charges[0][0].key
        execute("BEGIN IMMEDIATE")
        old = database.read(key)
        answered, changes = answer(question, (old,), now)
        self._alone = old is not None and self._written.get(key) == old
        if changes is None:
            execute("ROLLBACK")
            return answered
        value, until = changes[0]
        database.keep(key, old, value, until)
        database.count(now)
        execute("COMMIT")
        self._remember(key, value)
        return answered

    def _remember(self, key: bytes, value: str | None) -> None:
        """Remember what has been written under a key."""
        if len(self._written) >= _REMEMBERED:
            self._written.clear()
        if value is not None:
            self._written[key] = value

    def _decide_together(self, database: Database, question: Question, now: int) -> Answer:
        """Do as `_decide` for any number of buckets."""
        database.execute("BEGIN IMMEDIATE")
        keys = [limit.key for limit, _ in question.charges]
        values = [database.read(key) for key in keys]
        answered, changes = answer(question, values, now)
        if changes is None:
            database.execute("ROLLBACK")
            return answered
        for key, old, change in zip(keys, values, changes, strict=True):
            database.keep(key, old, *change)
        database.count(now)
        database.execute("COMMIT")
        return answered
