"""Tokens taken from a store in advance, to be spent at the speed of memory.

Tokens are taken before they are spent, so the long run never exceeds the rate. In any window of T
seconds, at most capacity + rate * T + processes * (tokens - 1) are spent, and at most
capacity + rate * (T + seconds): what was taken earlier than `seconds` ago is not spent.

Changes are lines that call nothing, so that no thread, handler or finalizer comes in between (P18,
P19). Where other threads may run amid a line, the store decides; see `lines_tear`.
"""

from __future__ import annotations

import os
import sys
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from sys import gettrace
from typing import Literal, NamedTuple
from weakref import WeakSet

from ..admission import Tokens
from ..clock import nanoseconds
from ..units import number_of
from .lease import Lease
from .limits import OneLimit, restated
from .store import MICROSECOND, Answer, Charges, Limit

__all__ = ["Held", "Holding", "No", "lines_tear"]

_FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()
_forks = 0  # between the first process and this one


def _note_fork() -> None:
    """Note that this process is a child, which must not spend what its parent holds (P20)."""
    global _forks  # noqa: PLW0603 - it is asked in each call, and a process's number costs more
    _forks += 1  # pragma: no cover - in a child


if hasattr(os, "register_at_fork"):  # pragma: no branch - a system without it has no forks
    os.register_at_fork(after_in_child=_note_fork)


def lines_tear() -> bool:
    """Tell whether other threads may run amid a line: a tracer lets them, or no lock stops them."""
    return _FREE_THREADED or gettrace() is not None


class No(NamedTuple):
    """A refusal that is remembered.

    Attributes:
        cost: The units that were refused.
        until: The nanosecond until which it holds.
        told: The nanosecond at which they are there.
        charges: What was asked for.
        answer: What the store had answered.
    """

    cost: int
    until: int
    told: int
    charges: Charges
    answer: Answer


class Holding:
    """The tokens that a process holds under one limit, or that it knows are not there.

    When its tokens are not to be spent any more, another one takes its place. So a caller that
    asks the store meanwhile notes the answer where it belongs.

    Attributes:
        limit: The limit. The units below are its own.
        forks: In which process it was made; in a child, nothing is held.
        left: How many units are left.
        until: The nanosecond from which they may not be spent any more.
        no: The last refusal, if it is to be remembered.
        asker: The call that asks the store for more; None if there is none.
    """

    __slots__ = ("asker", "forks", "left", "limit", "no", "until")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.forks = _forks
        self.left = self.until = 0
        self.no: No | None = None
        self.asker: object = None

    def take_back(self, now: int, *, early: bool) -> int:
        """Return the units to give back, if their time is over or it is early; they are not held.

        What has come in at the store since that time is not given back, but runs out. Else a
        process that was stopped would add to a bucket that is full a lease that is as old.
        """
        left = 0
        # On one line, so that nothing comes in between.
        if early or now >= self.until: left = self.left; self.left = 0  # fmt: skip  # noqa: E701, E702
        late = max(now - self.until, 0)
        run_out = -(-late * self.limit.terms.scale // MICROSECOND)
        return max(left - run_out, 0) if self.forks == _forks else 0


class Held:
    """What a process holds of one bucket.

    Args:
        limits: What the bucket holds to.
        lease: How much it may hold, and for how long.
        now: The clock, in nanoseconds.

    Attributes:
        holding: What calls are decided by, unless a fork has left it behind; see `latest`.
        watched: Whether a thread of this process is to look at it when its time is over.
        loops: The event loops in which a task does.
    """

    __slots__ = ("_lease", "_limits", "_now", "_over", "holding", "loops", "watched")

    def __init__(self, limits: OneLimit, lease: Lease, now: Callable[[], int]) -> None:
        lease.check_fits(limits.limit.terms)
        self._limits = limits
        self._lease = lease
        self._now = now
        self._over: deque[Holding] = deque()
        self.holding = Holding(limits.limit)
        self.watched = False
        self.loops: WeakSet[AbstractEventLoop] = WeakSet()

    def decide(self, tokens: Tokens) -> Literal[True] | No | None:
        """Take tokens of those that are held, or say no; None if the store has to be asked."""
        holding = self.holding
        if holding.forks != _forks:
            holding = self.latest()
        cost = holding.limit.terms.cost(tokens if type(tokens) is int else number_of(tokens))
        now, no = self._now(), holding.no
        if lines_tear():
            return None
        # On one line, so that nothing comes in between.
        if now < holding.until and (left := holding.left) >= cost: holding.left = left - cost; return True  # fmt: skip  # noqa: E501, E701, E702
        return no if no is not None and cost >= no.cost and now < no.until else None

    def latest(self) -> Holding:
        """Return what this process holds: nothing, if it was forked since."""
        if self.holding.forks != _forks:
            self.holding, self.watched = Holding(self._limits.limit), False
        return self.holding

    def drop(self) -> bool:
        """Hold nothing from now on, and remember no refusal; tell whether anything was left.

        `take_back` tells what to give back. A call that asks the store meanwhile gives back what
        it gets; see `drop_again`.
        """
        dropped, self.holding = self.latest(), Holding(self._limits.limit)
        if dropped.left > 0:
            self._over.append(dropped)
        return dropped.left > 0

    def drop_again(self, holding: Holding) -> None:
        """Have given back what was got after it had been dropped."""
        self._over.append(holding)

    def take_back(self) -> list[Charges]:
        """Return what gives back all that is not to be spent any more; it is not held then."""
        now, over = self._now(), [(self.latest(), False)]
        with suppress(IndexError):  # as another thread may have come first
            while True:
                over.append((self._over.popleft(), True))
        left = [(each.limit, -each.take_back(now, early=early)) for each, early in over]
        return [restated(self._limits, [charge]) for charge in left if charge[1]]

    def spare(self, limit: Limit, cost: int) -> int:
        """Return how many units to take beside a cost."""
        return max(limit.terms.cost(self._lease.tokens) - cost, 0)

    def until(self, began: int) -> int:
        """Return until when what was asked for at an instant holds, in nanoseconds."""
        return began + nanoseconds(self._lease.seconds)
