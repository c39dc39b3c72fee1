"""What has been paid, and whose turn it is to correct that."""

from __future__ import annotations

import os
from asyncio import Lock, get_running_loop
from fractions import Fraction
from threading import RLock
from typing import Any

from .store import Charges

__all__ = ["Payment"]


class Payment(dict[bytes, Fraction]):
    """The tokens that were paid for each key, whatever its limit has been since.

    Corrections of one payment take turns, for each charges the difference to the one before it.
    """

    __slots__ = ("_turns",)

    def __init__(self, *paid: Any) -> None:
        super().__init__(*paid)
        self._turns: dict[Any, Any] = {}

    def thread_turn(self) -> Any:
        """Return the lock of this process; a child of a fork has one of its own (P20).

        It is re-entrant because a handler can run while its own thread has the turn.
        """
        return self._turns.setdefault(os.getpid(), RLock())

    def task_turn(self) -> Lock:
        """Return the lock of the running loop, which suspends tasks and never blocks a thread."""
        turn: Lock = self._turns.setdefault(get_running_loop(), Lock())
        return turn

    def note(self, charges: Charges) -> None:
        """Add what has been charged; what was given back is below zero."""
        for limit, units in charges:
            paid = self.get(limit.key, Fraction(0))
            self[limit.key] = paid + Fraction(units, limit.terms.unit)
