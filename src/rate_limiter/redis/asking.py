"""What asking a server has in common, by blocking and by awaiting."""

from __future__ import annotations

from typing import Any

from ..shared.store import Question
from ..shared.terms import SECOND
from .client import client_errors, is_cluster, spare_retries
from .failures import code_of, is_answer, is_shortage
from .script import SOURCE, Request
from .turns import Shortage

__all__ = ["Asking", "Broken", "is_urgent", "patience_for", "sourced", "unknown_script"]

_SPENT = ("NOAUTH", "READONLY")
_GIVING = ("cancel", "correct")  # which go before others: waiters are served by them


class Broken(Exception):
    """A connection failed after something was sent; the cause says how."""


class Asking:
    """A client, and what its errors mean."""

    def __init__(self, client: Any, library: str) -> None:
        self._client = client
        self._failures = client_errors(library)
        if not is_cluster(client):  # which does not try again what is addressed to one node
            spare_retries(client)

    def _spoils(self, error: BaseException) -> bool:
        """Tell whether a connection is spent.

        Its reply may yet come, to the next caller (P32); or a new one would be better off: that of
        a replica goes to what is the primary by then, and one that has not greeted greets. Some
        clients keep those, if what an application gives them for their password has failed.
        """
        return not is_answer(error) or code_of(error) in _SPENT

    def _breaks(self, error: BaseException) -> bool:
        """Tell whether an error after something was sent leaves open what has been done.

        It need not be the client's own: what an application gives it may raise anything, such as
        for its password when the connection is made anew.
        """
        return isinstance(error, Exception) and not is_answer(error)

    @staticmethod
    def _raise_shortage(error: BaseException) -> None:
        """Raise a shortage instead of an error that tells of one."""
        if is_shortage(error):
            raise Shortage from error


def sourced(command: Request) -> Request:
    """Return a call for a server that does not know the script."""
    return (b"EVAL", SOURCE, *command[2:])


def unknown_script(error: BaseException) -> bool:
    """Tell whether the server has said that it does not know the script."""
    return type(error).__name__ == "NoScriptError"


def is_urgent(question: Question) -> bool:
    """Tell whether a question gives something back."""
    return question.operation in _GIVING


def patience_for(question: Question, patience: float) -> float:
    """Return for how many seconds a question may wait for a connection.

    A caller with a timeout of its own waits no longer than that.
    """
    if question.operation == "take" and question.longest > 0:
        return min(patience, question.longest / SECOND)
    return patience
