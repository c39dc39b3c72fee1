"""Code of the user's that is called from here: what it does must not reach the caller (P45)."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from ..callables import name_of
from ..clock import NANO
from ..source import Source

__all__ = ["LOG", "Guarded", "apart", "may_warn", "telling"]

LOG = logging.getLogger("rate_limiter")
_QUIET = 60 * NANO  # between two warnings of one limiter


def may_warn(source: Source, now: int) -> bool:
    """Tell whether a warning of a limiter may be logged now, at most one a minute, and note it."""
    if source.warned_at is not None and 0 <= now - source.warned_at < _QUIET:
        return False
    source.warned_at = now
    return True


class Guarded:
    """A hook whose failures change nothing; the first one is logged."""

    __slots__ = ("_failed", "_hook")

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._failed = False

    def enter(self, event: object) -> Any:
        """Tell the hook; return the context manager that it wants to be held, entered, or None."""
        try:
            manager = self._hook(event)
            if manager is not None:
                _check_manager(manager)
                manager.__enter__()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach the caller
            self._note(error)
            return None
        return manager

    def leave(self, manager: Any, *exc_info: Any) -> None:
        """Leave what the hook wanted to be held; it cannot suppress an exception."""
        try:
            manager.__exit__(*exc_info)
        except Exception as error:  # noqa: BLE001 - as above
            if error is not exc_info[1]:  # a context manager may raise again what it was given
                self._note(error)

    def _note(self, error: Exception) -> None:
        before, self._failed = self._failed, True
        if not before:
            text = "the hook %s failed, which changed nothing; this is logged once"
            with suppress(Exception):  # not even a filter of the log may reach the caller
                LOG.error(text, name_of(self._hook), exc_info=error)


def _check_manager(manager: Any) -> None:
    """Refuse what a hook has returned if it cannot be held."""
    kind: Any = manager.__class__
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return
    if hasattr(manager, "close") and hasattr(kind, "__await__"):
        manager.close()  # or Python would warn that it was never awaited
    raise TypeError(f"a hook returns None or a context manager, got a {kind.__name__}")


class _Telling(threading.local):
    """Whether this thread is telling of something.

    It may be left true by an interrupt, so that alone does not say it; see `telling`.
    """

    now = False


_TELLING = _Telling()


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call something of the user's; what that does with limiters is told to nobody."""
    before, _TELLING.now = _TELLING.now, True
    try:
        return function(*args)
    finally:
        _TELLING.now = before


def telling() -> bool:
    """Tell whether this is called, by whatever way, by what `apart` has called."""
    if _TELLING.now:
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not apart.__code__:
            frame = frame.f_back
        _TELLING.now = frame is not None
    return _TELLING.now
