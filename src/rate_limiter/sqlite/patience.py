"""How long a call waits for others who have the file locked, from when it was made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import local
from time import monotonic
from typing import TypeVar

from ..exceptions import BackendError

__all__ = ["Patience", "Tries", "Worker", "patience_of_call"]

T = TypeVar("T")
_TRIES = 40  # for each second of waiting, of about a thousand that there is time for


class Tries:
    """Counts tries in vain."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Patience:
    """When a call is given up: after its time, and after some tries in vain.

    For a process that gets no processor has not waited.

    Args:
        timeout: How many seconds to wait from now.
        tries: The tries that count; None for those of the call alone.
    """

    __slots__ = ("_enough", "_tries", "_until", "timeout")

    def __init__(self, timeout: float, tries: Tries | None = None) -> None:
        self.timeout = timeout
        self._until = monotonic() + timeout
        self._tries = Tries() if tries is None else tries
        self._enough = self._tries.number + timeout * _TRIES

    def is_over(self) -> bool:
        """Count a try in vain; return whether it was the last."""
        self._tries.number += 1
        return self._tries.number >= self._enough and monotonic() >= self._until


class _Current(local):
    """What is under way in this thread."""

    patience: Patience | None = None


_current = _Current()


def patience_of_call(timeout: float) -> Patience:
    """Return the patience of the call that is under way in a worker, or else a new one."""
    current = _current.patience
    return Patience(timeout) if current is None else current


class Worker:
    """The thread that makes the blocking calls of tasks, one after the other.

    The time of a call runs while it waits for those before it, and their tries count for it as
    well. So when the file stays locked, each of a crowd is told in time.

    Args:
        timeout: How many seconds each call waits for others who have the file locked.
    """

    __slots__ = ("_pool", "_timeout", "_tries")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._tries = Tries()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rate_limiter sqlite")

    def make(self, call: Callable[[], T]) -> Future[T]:
        """Make a call, and return what is to come of it."""
        patiently = partial(_make, call, Patience(self._timeout, self._tries))
        try:
            return self._pool.submit(patiently)
        except RuntimeError:  # the interpreter is about to end, and starts nothing any more
            return _finished(patiently)

    def end(self) -> None:
        """Wait until all calls have been made."""
        self._pool.shutdown()


def _make(call: Callable[[], T], patience: Patience) -> T:
    before, _current.patience = _current.patience, patience
    try:
        return call()
    finally:
        _current.patience = before


def _finished(call: Callable[[], T]) -> Future[T]:
    done: Future[T] = Future()
    try:
        done.set_result(call())
    except BackendError as error:
        done.set_exception(error)
    return done
