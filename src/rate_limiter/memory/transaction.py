"""How several values change in one step, which nothing can tear.

An interrupt, a signal handler, a finalizer, a fork or a MemoryError may come between any two lines.
So a step reads and computes, changes nothing, and returns the writes that make its result true.
They are *published* by one statement and then carried out. The next step, be it of a handler within
this one, of another thread after an interrupt or of a forked child, first carries out what was
published.
Every write sets a value, whatever was there before, so it may be carried out twice (P19).

    def take(account, cost):            # computes; called again if a handler came in between
        if account.level < cost:
            return False, []
        return True, [(setattr, account, "level", account.level - cost)]

    step(take, account, 3)

Threads exclude each other by one lock, held for a step. No code of the user's is called under it:
numbers, keys and clocks are read before, and sleepers are woken after (P38).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import Any, Protocol, TypeAlias, TypeVar

from ..core import layout, watch

__all__ = [
    "JOURNAL",
    "UNFINISHED",
    "Outdated",
    "Result",
    "Wakeable",
    "Write",
    "keep_to_steps",
    "remove",
    "run",
    "step",
]

Write: TypeAlias = tuple[Callable[[Any, Any, Any], object], Any, Any, Any]
"""A function and its three arguments; calling it sets or removes a value. The function must be in C
and neither call Python nor make an object: `setattr`, `operator.setitem` or `dict.pop`."""
Result: TypeAlias = tuple[Any, list[Write]]
"""What a computation returns: its result, and the writes that make it true.

The list is one that nobody else keeps: it becomes the record, and is emptied when carried out.
"""
remove: Callable[..., object] = dict[Any, Any].pop
"""Remove a key from a dictionary, if it is there, as a write."""
UNFINISHED = object()
T = TypeVar("T")

# Without an interpreter lock, other threads run amid a statement: the fast path is never taken.
_FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


class Outdated(Exception):
    """A handler that interrupted a step has changed what the step has read."""


class Wakeable(Protocol):
    """Someone who sleeps."""

    def wake(self) -> None:
        """End the sleep."""


@layout("journal")
class Journal:
    """What was published last, and how far it has been carried out.

    Attributes:
        record: The writes that were published last.
        carried: The last record whose writes are all done.
        busy: Whether a step is under way, or was when an interrupt ended it. The fast path of a
            bucket is not taken then; the next step clears what an interrupt has left.
        at_rest: What `busy` is while no step is under way: True keeps everybody to steps.
        stalled: The innermost of the steps under way that had to begin again.
        wakes: The sleepers to wake, each under a key of its own; steps add them by their writes.
    """

    __slots__ = ("at_rest", "busy", "carried", "record", "stalled", "wakes")

    def __init__(self) -> None:
        self.record: list[Write] = []
        self.carried = self.record
        self.busy = self.at_rest = _FREE_THREADED
        self.stalled: _Stalled | None = None
        self.wakes: dict[object, Wakeable] = {}


JOURNAL = Journal()
watch(JOURNAL)
# One lock for every bucket: groups change several, and nobody ever holds one lock and waits for
# another (P7). It is re-entrant because a handler can run while its own thread holds it.
_lock = RLock()


def run(compute: Callable[..., Result], *args: Any) -> Any:
    """Run a step until it is finished, and wake the sleepers that it or an interrupted one named.

    Args:
        compute: As for `step`. It may return `UNFINISHED` after a part of what is to be done: then
            it is called again in another step, so that other threads get the lock in between.
        args: What it is called with.
    """
    while True:
        inside = JOURNAL.busy and _owned()
        with _lock: result = _step(compute, args, inside)  # fmt: skip  # noqa: E701 - as in `step`
        if JOURNAL.wakes:
            _wake_all()
        if result is not UNFINISHED:
            return result


def step(compute: Callable[..., tuple[T, list[Write]]], *args: Any) -> T:
    """Run a computation, do all of its writes or none, and return its result.

    Args:
        compute: Returns a result and the writes that make it true. It must change nothing itself,
            and is called again if something else was published meanwhile, also if it has raised
            then. A loop whose end depends on what it reads must raise `Outdated` by itself.
        args: What it is called with.
    """
    inside = JOURNAL.busy and _owned()
    # On one line, for an interrupt that comes on leaving a `with` block's line keeps the lock held.
    with _lock: result: T = _step(compute, args, inside)  # fmt: skip  # noqa: E701
    return result


def keep_to_steps(always: bool) -> None:
    """Turn the fast paths of all buckets off, or on again, as when somebody counts admissions."""
    JOURNAL.at_rest = always or _FREE_THREADED
    step(lambda: (None, []))  # its end says so to the fast paths


def _owned() -> bool:
    """Tell whether this thread holds the lock: this step interrupts another one of its own."""
    return bool(_lock._is_owned())  # type: ignore[attr-defined]


class _Stalled:
    """A step that was interrupted by one that changed something, and has to begin again.

    Attributes:
        compute, args: As for `step`.
        below: The stalled step that this one has interrupted, if any.
        outcome: Its result, in a tuple, once somebody has carried it out.
    """

    __slots__ = ("args", "below", "compute", "outcome")

    def __init__(self, compute: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self.compute = compute
        self.args = args
        self.below = JOURNAL.stalled
        self.outcome: tuple[Any] | None = None


# In one piece, for every call more would show in the time that a step takes.
def _step(  # noqa: C901, PLR0912
    compute: Callable[..., Result], args: tuple[Any, ...], inside: bool
) -> Any:
    journal = JOURNAL
    stalled: _Stalled | None = None
    result: Any = None
    if inside:
        _help(journal)
    else:
        journal.stalled = None
    try:
        while True:
            journal.busy = True
            seen = journal.record if journal.record is journal.carried else _carry_out(journal)
            if stalled is not None and stalled.outcome is not None:
                result = stalled.outcome[0]
                break
            try:
                result, writes = compute(*args)
                record = writes
                if stalled is not None:
                    record.append((setattr, stalled, "outcome", (result,)))
            except Exception:
                if journal.record is seen:
                    raise
                record = None  # a handler has changed half of what it has read
            if record is not None:
                if not record and journal.record is seen:
                    break
                # Published by one statement that calls nothing and makes no object (the garbage
                # collector may run when one is made, and with it anything), if nobody else has.
                journal.record = record if (won := journal.record is seen) else journal.record
                if won:
                    _carry_out(journal)
                    break
            if stalled is None:
                stalled = journal.stalled = _Stalled(compute, args)
    finally:
        if stalled is not None:
            journal.stalled = stalled.below
    if not inside:
        journal.busy = journal.at_rest
    return result


def _help(journal: Journal) -> None:
    """Carry out the steps that this one interrupts, if they were stalled before.

    So handlers that come faster than a step takes do not keep it from ever ending.
    """
    chain: list[_Stalled] = []
    stalled = journal.stalled
    while stalled is not None:
        chain.append(stalled)
        stalled = stalled.below
    for stalled in reversed(chain):
        _help_one(journal, stalled)


def _help_one(journal: Journal, stalled: _Stalled) -> None:
    while True:
        seen = _carry_out(journal)
        if stalled.outcome is not None:
            return
        try:
            result, writes = stalled.compute(*stalled.args)
            record = [*writes, (setattr, stalled, "outcome", (result,))]
        except Exception:  # noqa: BLE001 - it will be raised where the step was begun
            if journal.record is seen:
                return
            continue
        journal.record = record if journal.record is seen else journal.record  # as in `_step`


def _carry_out(journal: Journal) -> list[Write]:
    """Carry out the record published last, by whatever thread, and return it."""
    while (record := journal.record) is not journal.carried:
        for write, thing, name, value in record:
            # The question and the call are on one line, which nothing can interrupt: a handler may
            # have carried out this record, published its own, and gone on from there.
            if journal.record is record and journal.carried is not record: write(thing, name, value)  # fmt: skip  # noqa: E501, E701
        journal.carried = record if journal.record is record else journal.carried
    record.clear()  # release what it refers to; only its identity is needed from now on
    return record


def _wake_all() -> None:
    """Wake all noted sleepers. One wake-up too many does no harm; one too few would."""
    wakes = JOURNAL.wakes
    while wakes:
        try:
            pending = list(wakes.items())
        except RuntimeError:  # somebody has added or removed one meanwhile
            continue
        for key, sleeper in pending:
            with suppress(Exception):  # another waiter's event loop must not fail this call
                sleeper.wake()
            wakes.pop(key, None)  # only now, for an interrupt may come before


def _take_new_lock() -> None:
    """In a forked child: go on, whatever other threads were doing, for they are gone (P20)."""
    global _lock  # noqa: PLW0603 - every step looks it up anew
    if not _owned():
        _lock = RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - where there is no fork there is no hazard
    os.register_at_fork(after_in_child=_take_new_lock)
