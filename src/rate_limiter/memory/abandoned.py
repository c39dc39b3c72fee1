"""Waiters whose event loop was closed: their tasks will never run again, so they are dropped.

A loop tells nobody that it was closed. So the waiters of each loop are noted here, and calls that
may meet a line look at the loops, of which there are few.
"""

from __future__ import annotations

from typing import Any

from ..sleeping import is_closed
from .line import Waiter
from .steps import leave
from .transaction import run

__all__ = ["drop_abandoned", "forget_sleeper", "note_sleeper"]

_waiters: dict[Any, dict[Waiter, None]] = {}  # by loop


def note_sleeper(loop: Any, waiter: Waiter) -> None:
    """Note that a waiter sleeps in a loop; None stands for threads and trio."""
    if loop is not None:
        waiters = _waiters.setdefault(loop, {})
        waiters[waiter] = None
        _waiters[loop] = waiters  # a finalizer may have removed it meanwhile


def forget_sleeper(loop: Any, waiter: Waiter) -> None:
    """Note that a waiter does not sleep any more."""
    waiters = _waiters.get(loop)
    if waiters is not None:
        waiters.pop(waiter, None)
        if not waiters:
            _waiters.pop(loop, None)


def drop_abandoned(now: int) -> None:
    """Let the waiters of loops that were closed leave their lines; nobody else hears of them."""
    if not _waiters:
        return
    for loop in _copy(_waiters):
        if is_closed(loop):
            for waiter in _copy(_waiters.pop(loop, {})):
                run(leave, waiter, now)


def _copy(dictionary: dict[Any, Any]) -> list[Any]:
    while True:
        try:
            return list(dictionary)
        except RuntimeError:  # it was changed meanwhile, by a finalizer
            continue
