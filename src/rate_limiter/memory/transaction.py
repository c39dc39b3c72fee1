"""How several values change in one step, which nothing can tear.

An interrupt, a signal handler, a finalizer, a fork or a MemoryError may come between any two lines.
So a step reads and computes, changes nothing, and returns the writes that make its result true.
They are *published* by one statement and then carried out. Whoever comes next, be it a handler amid
the step, another thread after an interrupt or a forked child, first carries out what was published.
Every write sets a value, whatever was there before, so it may be carried out twice (P19).

    def take(account, cost):            # computes; called again if a handler came in between
        if account.level < cost:
            return False, ()
        return True, [(setattr, (account, "level", account.level - cost))]

    step(take, account, 3)

Threads exclude each other by one lock, held for a step. No code of the user's runs under it: what
belongs to the caller (numbers, keys, clocks) is read before, and sleepers are woken after (P38).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import RLock
from typing import Any, Protocol, TypeAlias, TypeVar

__all__ = ["JOURNAL", "UNFINISHED", "Outdated", "Result", "Wakeable", "Write", "run", "step"]

Write: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]
"""A call that sets a value. It must be one into C that neither calls Python nor makes an object:
`setattr`, `operator.setitem` or `dict.pop`."""
Result: TypeAlias = tuple[Any, Iterable[Write]]
"""What a computation returns: what it is worth, and the writes that make it true."""
UNFINISHED = object()
T = TypeVar("T")

# Without an interpreter lock, a statement is not alone: the fast path of a bucket always keeps off.
_FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


class Outdated(Exception):
    """What a step has read was changed meanwhile, by a handler that interrupted it."""


class Wakeable(Protocol):
    """Someone who sleeps."""

    def wake(self) -> None:
        """End the sleep."""


class Journal:
    """What was published last, and how far it has been carried out.

    Attributes:
        record: The writes that were published last.
        carried: The last record whose writes are all done.
        busy: Whether somebody is within a step, or was when an interrupt came. The fast path of a
            bucket keeps away; the next step makes up for what an interrupt has left behind.
        wakes: Who is to be woken, by a key of each wake-up; a write of the step that found so.
    """

    __slots__ = ("busy", "carried", "record", "wakes")

    def __init__(self) -> None:
        self.record: list[Write] = []
        self.carried = self.record
        self.busy = _FREE_THREADED
        self.wakes: dict[object, Wakeable] = {}


JOURNAL = Journal()
# One lock for every bucket: groups change several, and nobody ever holds one lock and waits for
# another (P7). It is re-entrant because a handler can run while its own thread holds it.
_lock = RLock()


def run(compute: Callable[..., Result], *args: Any) -> Any:
    """Run steps until one is final, and wake whom they, or interrupted ones before, found.

    Args:
        compute: As for `step`. It may return `UNFINISHED` after a part of what is to be done: then
            it is called again in a step of its own, so that others get their turn in between.
        args: What it is called with.
    """
    while True:
        inside = JOURNAL.busy and _owned()
        with _lock: result = _step(compute, args, inside)  # fmt: skip  # noqa: E701 - as in `step`
        if JOURNAL.wakes:
            _wake_all()
        if result is not UNFINISHED:
            return result


def step(compute: Callable[..., tuple[T, Iterable[Write]]], *args: Any) -> T:
    """Let a computation's writes come true, all or none, and return its result.

    Args:
        compute: Returns a result and the writes that make it true. It must change nothing itself,
            and is called again if something else was published meanwhile, also if it has raised
            then. A loop whose end depends on what it reads must raise `Outdated` by itself.
        args: What it is called with.
    """
    inside = JOURNAL.busy and _owned()
    # On one line, for an interrupt that comes on leaving a `with` block's line keeps the lock held.
    with _lock: return _step(compute, args, inside)  # fmt: skip  # noqa: E701


def _owned() -> bool:
    """Tell whether this thread has the lock: a step of its own has been interrupted by this one."""
    return bool(_lock._is_owned())  # type: ignore[attr-defined]


def _step(
    compute: Callable[..., tuple[T, Iterable[Write]]], args: tuple[Any, ...], inside: bool
) -> T:
    journal = JOURNAL
    while True:
        journal.busy = True
        seen = journal.record if journal.record is journal.carried else _carry_out(journal)
        try:
            result, writes = compute(*args)
            record = list(writes)
        except Exception:
            if journal.record is seen:
                raise
            continue  # it has read half of what a handler has changed meanwhile
        if not record:
            if journal.record is seen:
                break
            continue
        # Published by one statement that calls nothing and makes no object (the garbage collector
        # may run when one is made, and with it anything): if nobody else has published meanwhile.
        journal.record = record if (won := journal.record is seen) else journal.record
        if won:
            _carry_out(journal)
            break
    if not inside:
        journal.busy = _FREE_THREADED
    return result


def _carry_out(journal: Journal) -> list[Write]:
    """Carry out the record published last, whoever has published it, and return it."""
    while (record := journal.record) is not journal.carried:
        for write, args in record:
            # The question and the call are on one line, which nothing can interrupt: a handler may
            # have carried out this record, published its own, and gone on from there.
            if journal.record is record and journal.carried is not record: write(*args)  # fmt: skip  # noqa: E701
        journal.carried = record if journal.record is record else journal.carried
    record.clear()  # what it refers to may go; it is known by its identity from now on
    return record


def _wake_all() -> None:
    """Wake everybody who is to be woken. A wake-up too many does no harm, one too few would."""
    wakes = JOURNAL.wakes
    while wakes:
        try:
            pending = list(wakes.items())
        except RuntimeError:  # somebody has added or removed one meanwhile
            continue
        for key, sleeper in pending:
            with suppress(Exception):  # an event loop that fails is no business of this caller
                sleeper.wake()
            wakes.pop(key, None)  # only now, for an interrupt may come before


def _take_new_lock() -> None:
    """In a forked child: go on, whatever other threads were doing, for they are gone (P20)."""
    global _lock  # noqa: PLW0603 - every step looks it up anew
    if not _owned():
        _lock = RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - where there is no fork there is no hazard
    os.register_at_fork(after_in_child=_take_new_lock)
