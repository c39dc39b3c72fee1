"""The stores of this process, one for each file, and what happens to them when it is forked."""

from __future__ import annotations

import os
from collections import deque
from threading import RLock
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from ..rates import Number, positive, shown
from .store import SQLiteStore

__all__ = ["Path", "after_in_child", "after_in_parent", "before_fork", "store_at"]

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""How the path of a file may be given."""

_LONGEST = 3600  # seconds
_KEPT = 4  # files that stay open without a bucket: a program may make its buckets for each request
_stores: WeakValueDictionary[tuple[str, float], SQLiteStore] = WeakValueDictionary()
_recent: deque[SQLiteStore] = deque(maxlen=_KEPT)
_making = RLock()
_forking: list[SQLiteStore] = []


def store_at(path: Path, timeout: Number) -> SQLiteStore:
    """Return the store of a file.

    Args:
        path: Its path.
        timeout: How many seconds to wait for others who have it locked.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: There is no such path, or the timeout is not positive and finite.
    """
    key = _absolute(path), _seconds(timeout)
    with _making:
        store = _stores.get(key)
        if store is None:
            store = _stores[key] = SQLiteStore(*key)
            _recent.append(store)
        return store


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
    _forking[:] = [store for ref in _stores.valuerefs() if (store := ref()) is not None]
    for store in _forking:
        store.before_fork()


def after_in_parent() -> None:
    """Let the parent go on."""
    for store in _forking:
        store.after_in_parent()
    _forking.clear()


def after_in_child() -> None:
    """Let the child go on, without what other threads have left."""
    global _making  # noqa: PLW0603 - another thread may have had it
    _making = RLock()
    for store in [store for ref in _stores.valuerefs() if (store := ref()) is not None]:
        store.after_in_child()
    _forking.clear()


# A system without it cannot fork; `dict` takes the same keywords, and does nothing with them.
_register: Any = getattr(os, "register_at_fork", dict)
_register(before=before_fork, after_in_parent=after_in_parent, after_in_child=after_in_child)
