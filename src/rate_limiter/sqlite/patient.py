"""A store as one bucket asks it: with a patience of its own."""

from __future__ import annotations

from ..shared.store import Answer, Question
from .patience import Worker, patience_of_call
from .store import SQLiteStore

__all__ = ["PatientStore"]


class PatientStore:
    """Asks the store of a file, for threads.

    Args:
        shared: The store, which all buckets of the file have in common.
        timeout: How many seconds a call waits for others who have the file locked.

    Attributes:
        shared: The store.
    """

    __slots__ = ("_timeout", "shared")

    def __init__(self, shared: SQLiteStore, timeout: float) -> None:
        self.shared = shared
        self._timeout = timeout

    def ask(self, question: Question) -> Answer:
        """Return the answer; see `Store.ask`."""
        answered = self.shared.ask_once(question)
        return self.ask_in_line(question) if answered is None else answered

    def ask_in_line(self, question: Question) -> Answer:
        """Return the answer, in line with others; see `SQLiteStore.ask_in_line`."""
        return self.shared.ask_in_line(question, patience_of_call(self._timeout))

    def worker(self) -> Worker:
        """Return the thread that waits for tasks."""
        return self.shared.worker(self._timeout)
