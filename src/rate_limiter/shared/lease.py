"""Tokens taken from a store in advance, to be spent at the speed of memory.

Tokens are taken before they are spent, so the long run never exceeds the rate. In any window of T
seconds, at most capacity + rate * T + processes * (tokens - 1) are spent, and at most
capacity + rate * (T + seconds): what was taken earlier than `seconds` ago is given back unspent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from sys import gettrace
from threading import Lock
from typing import NamedTuple

from ..admission import Tokens
from ..clock import NANO, nanoseconds
from ..rates import Number, positive, shown
from ..units import number_of
from .limits import OneLimit
from .store import MICROSECOND, Answer
from .terms import Terms

__all__ = ["Held", "Lease", "No"]

_forks = 0  # between the first process and this one


@dataclass(frozen=True, slots=True)
class Lease:
    """How many tokens a process takes from a store at once, and for how long.

        RedisTokenBucket(client, "api", 1000, 500, lease=Lease(tokens=50, seconds=0.5))

    Calls that do not wait are then decided in this process, until the tokens are used or the time
    is over; what is left is given back at that time. Meanwhile the process may not have heard of a
    pause, a refund or a line. Callers that wait ask the store, as ever.

    Args:
        tokens: How many tokens to take at once; at most the capacity.
        seconds: How long they may be spent; at most what the bucket takes to fill.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is not positive and finite.
    """

    tokens: Number
    seconds: Number

    def __post_init__(self) -> None:
        positive(self.tokens, "tokens")
        positive(self.seconds, "seconds")
        nanoseconds(self.seconds)

    def check_fits(self, terms: Terms) -> None:
        """Refuse a lease that a bucket of these terms cannot give.

        Raises:
            ValueError: It is larger than the capacity, or longer than the bucket takes to fill.
        """
        if terms.cost(self.tokens) > terms.span:
            raise ValueError(
                f"a lease must be at most the capacity of {float(terms.capacity):g} tokens, "
                f"got {shown(self.tokens)}"
            )
        longest = terms.capacity / terms.tokens_per_second
        if Fraction(nanoseconds(self.seconds), NANO) > longest:
            raise ValueError(
                f"a lease must last at most the {float(longest):g} seconds that the bucket takes "
                f"to fill, got {shown(self.seconds)}"
            )


def _note_fork() -> None:
    """Note that this process is a child, which must not spend what its parent holds (P20)."""
    global _forks  # noqa: PLW0603 - it is asked in each call, and a process's number costs more
    _forks += 1  # pragma: no cover - in a child


if hasattr(os, "register_at_fork"):  # pragma: no branch - a system without it has no forks
    os.register_at_fork(after_in_child=_note_fork)


class Held:
    """The tokens that a process holds of one bucket, or that it knows are not there.

    Its changes are lines that call nothing, so that no thread, handler or finalizer comes in
    between (P18, P19); where a tracer may let threads switch anywhere, the store decides.

    Args:
        limits: What the bucket holds to.
        lease: How much it may hold, and for how long.
        now: The clock, in nanoseconds.

    Attributes:
        left: What is left, in units of the limit.
        until: The nanosecond from which it may not be spent any more.
        no: The last refusal, if it is to be remembered.
        watched: Whether a thread of this process is to look at it when its time is over.
    """

    __slots__ = (
        *("_asking", "_forks", "_lease", "_limits", "_now", "_terms"),
        *("left", "no", "until", "watched"),
    )

    def __init__(self, limits: OneLimit, lease: Lease, now: Callable[[], int]) -> None:
        lease.check_fits(limits.limit.terms)
        self._limits = limits
        self._lease = lease
        self._now = now
        self._forget()

    def _forget(self) -> None:
        """Hold nothing, as a new process does, or one with another limit."""
        self.left = self.until = 0
        self.watched = False
        self.no: No | None = None
        self._asking = Lock()
        self._terms = self._limits.limit.terms
        self._forks = _forks

    def decide(self, tokens: Tokens) -> bool | None:
        """Take tokens of those that are held; None if the store has to be asked."""
        if self._terms is not self._limits.limit.terms or self._forks != _forks:
            self._forget()
        cost = self._terms.cost(tokens if type(tokens) is int else number_of(tokens))
        now, no = self._now(), self.no
        if gettrace() is not None:
            return None
        # On one line, so that nothing comes in between.
        if now < self.until and (left := self.left) >= cost: self.left = left - cost; return True  # fmt: skip  # noqa: E501, E701, E702
        return False if no is not None and cost >= no.cost and now < no.until else None

    def take_back(self) -> int:
        """Return what is left, in units; from now on it is not."""
        left = self.left; self.left = 0  # fmt: skip  # noqa: E702 - as above
        return left

    def begin(self, cost: int) -> Begun | None:
        """Begin to ask for a lease; None if another caller does, so that there is only one.

        What is left counts towards the cost, unless it may not be spent any more.
        """
        if gettrace() is not None or not self._asking.acquire(blocking=False):
            return None
        fresh, left = self._now() < self.until, self.take_back()
        if fresh and left >= cost:  # another caller has just taken a lease
            self.left = left - cost
            self._asking.release()
            return Begun(0, 0, 0)
        return Begun(cost - left if fresh else cost, self._wanted(cost), 0 if fresh else left)

    def _wanted(self, cost: int) -> int:
        return max(self._terms.cost(self._lease.tokens) - cost, 0)

    def end(self, began: int, answer: Answer) -> None:
        """Note a lease that was given to a question that began at an instant."""
        self.no = None
        self.left, self.until = answer.spare, began + nanoseconds(self._lease.seconds)
        self._asking.release()

    def refused(self, began: int, cost: int, answer: Answer) -> None:
        """Remember a refusal until the instant that was told, but no longer than a lease lasts."""
        told = began + answer.wait * MICROSECOND
        self.no = No(cost, min(told, began + nanoseconds(self._lease.seconds)), told, answer)

    def give_up(self, left: int) -> None:
        """End a question that has no answer, or a refusal; keep what had been left before it."""
        self.left = left
        self._asking.release()


class Begun(NamedTuple):
    """What to ask for.

    Attributes:
        charge: What to charge, in units; 0 if nothing has to be asked.
        spare: What to take as well.
        stale: What to give back before, because its time is over.
    """

    charge: int
    spare: int
    stale: int


class No(NamedTuple):
    """A refusal that is remembered.

    Attributes:
        cost: The units that were refused.
        until: The nanosecond until which it holds.
        told: The nanosecond at which they are there.
        answer: What the store had answered.
    """

    cost: int
    until: int
    told: int
    answer: Answer
