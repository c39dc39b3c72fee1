"""The stores of this process, one for each file, and what happens to them when it is forked."""

from __future__ import annotations

import os
from collections import deque
from itertools import compress
from operator import methodcaller
from threading import RLock, local
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from ..rates import Number, positive, shown
from .patient import PatientStore
from .store import SQLiteStore

__all__ = ["Path", "after_in_child", "after_in_parent", "before_fork", "store_at"]

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""How the path of a file may be given."""

_LONGEST = 3600  # seconds
_KEPT = 4  # files that stay open without a bucket: a program may make its buckets for each request
_stores: WeakValueDictionary[str, SQLiteStore] = WeakValueDictionary()
_recent: deque[SQLiteStore] = deque(maxlen=_KEPT)
_making = RLock()
_WAIT = 2.0  # the most seconds for which a fork waits until a decision has ended
_release = methodcaller("release")


class _Forks(local):
    """The forks that this thread is amid: a signal handler may fork amid a fork.

    Attributes:
        held: What each has acquired; other threads may fork at the same time.
    """

    def __init__(self) -> None:
        self.held: list[list[Any]] = []


_forks = _Forks()


def store_at(path: Path, timeout: Number) -> PatientStore:
    """Return the one store of a file, to be asked with patience.

    Args:
        path: Its path.
        timeout: How many seconds to wait for others who have it locked.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: There is no such path, or the timeout is not positive and finite.
    """
    name, seconds = _absolute(path), _seconds(timeout)
    with _making:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = SQLiteStore(name)
            _recent.append(store)
        return PatientStore(store, seconds)


def _absolute(path: Path) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be a path, got {shown(type(path).__name__)}")
    name = os.fsdecode(path)
    if not name or "\0" in name:
        raise ValueError("path must be that of a file, got one that is empty or has a NUL")
    if name == ":memory:":
        raise ValueError(
            "path must be that of a file that processes share; in one process use TokenBucket"
        )
    return os.path.realpath(name)


def _seconds(timeout: Number) -> float:
    seconds = float(positive(timeout, "busy_timeout"))
    if seconds > _LONGEST:
        raise ValueError(f"busy_timeout must be at most an hour, got {shown(timeout)}")
    return seconds


def before_fork() -> None:
    """Close all files, when nobody is amid a decision."""
    held: list[Any] = []
    _forks.held.append(held)
    _hold(_making, held)  # so that nobody is amid a decision on a file that comes up meanwhile
    for store in _present():
        if _hold(store.turn, held):
            store.close()


def _hold(lock: Any, held: list[Any]) -> bool:
    """Acquire a lock, note it, and return True; do without it if that takes too long."""
    # Acquired and noted by one call into C, so that no interrupt leaves it acquired for good.
    held.extend(compress([lock], map(lock.acquire, [True], [_WAIT])))
    return lock in held


def after_in_parent() -> None:
    """Let the parent go on."""
    _let_go()


def after_in_child() -> None:
    """Let the child go on, without what other threads have left."""
    global _making  # noqa: PLW0603 - another thread may have had it
    held = _let_go()
    if _making not in held:
        _making = RLock()
    for store in _present():
        store.after_in_child(prepared=store.turn in held)


def _let_go() -> list[Any]:
    """Release what this thread has acquired for a fork, and return it."""
    held = _forks.held.pop() if _forks.held else []  # empty if it was forked in C
    list(map(_release, held))  # one call into C as well
    return held


def _present() -> list[SQLiteStore]:
    """Return the stores that somebody has."""
    return [store for ref in _stores.valuerefs() if (store := ref()) is not None]


# A system without it cannot fork; `dict` takes the same keywords, and does nothing with them.
_register: Any = getattr(os, "register_at_fork", dict)
_register(before=before_fork, after_in_parent=after_in_parent, after_in_child=after_in_child)
