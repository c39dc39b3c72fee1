"""What comes in between two lines of a call: an exception, or another call."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rate_limiter

from .clockwork import set_nomemory
from .operations import Operation

__all__ = [
    "HOME",
    "HOOKED",
    "Injector",
    "Moment",
    "act_of",
    "injectors",
    "put_right",
]

HOME = str(Path(rate_limiter.__file__).parent) + os.sep
VISITS = 3  # of a line within one call: what a loop does at first, once more, and after that
HOOKED = set_nomemory is not None  # whether allocations can be made to fail


@dataclass(frozen=True)
class Injector:
    """What comes in between."""

    kind: str  # interrupt, memory, allocation, handler or finalizer
    guest: Operation | None = None  # what a handler or finalizer runs
    number: int = 1  # which of the next allocations fails, or lets the finalizer run

    def __str__(self) -> str:
        number = f" {self.number}" if self.number > 1 else ""
        return self.kind + number + (f": {self.guest.name}" if self.guest else "")


def injectors(guests: list[Operation], *, loops: bool) -> Iterator[Injector]:
    """Return everything that can come in between, always in the same order.

    Args:
        guests: What handlers and finalizers run.
        loops: Whether an event loop is at work.
    """
    yield Injector("interrupt")
    yield Injector("memory")
    # A future whose own allocation fails never wakes its task; that is not the package's fault.
    for number in (1, 2, 3) if HOOKED and not loops else ():
        yield Injector("allocation", None, number)
    for guest in guests:
        yield Injector("handler", guest)
        yield Injector("finalizer", guest)
        if guest.name == "several":
            yield Injector("finalizer", guest, 3)


class Moment:
    """A tracer that lets something in at the n-th line within some files; with 0 it only counts.

    Args:
        number: Which line.
        act: What to call then; it may raise.
        wanted: Tells whether what runs now belongs to the call.
        home: How the names of the files begin.
        tell: Is told which line it is, before it is too late.
    """

    def __init__(
        self,
        number: int = 0,
        act: Callable[[], object] = int,
        wanted: Callable[[], bool] = lambda: True,
        home: str = HOME,
        tell: Callable[[str], object] = str,
    ) -> None:
        self.passed = 0
        self._visits: Counter = Counter()
        self._trace = self._line  # bound once, for at the moment an allocation may fail
        self.where = ""
        self._number, self._act, self._wanted = number, act, wanted
        self._home, self._tell = home, tell

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        # The clock of tests has a lock of its own, as threading.Condition has it: not the subject.
        ours = name.startswith(self._home) and not name.endswith("testing.py")
        return self._trace if ours and self._wanted() else None

    def _line(self, frame, event, arg):
        self._visits[here := (frame.f_code, frame.f_lineno)] += event == "line"
        if event == "line" and self._visits[here] <= VISITS:
            self.passed += 1
            if self.passed == self._number:
                sys.settrace(None)
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                self._tell(self.where)
                self._act()
        return self._trace

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Trace this thread for the length of a with-block."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


class Ring:
    """Garbage that only the collector finds, and that runs something when it does."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.me = self

    def __del__(self) -> None:
        gc.disable()
        self.run()


def interrupt() -> None:
    raise KeyboardInterrupt


def run_out_of_memory() -> None:
    raise MemoryError


def act_of(injector: Injector, run_guest: Callable[[], object]) -> Callable[[], object]:
    """Return what is to be called at the moment."""

    def leave_garbage() -> None:
        Ring(run_guest)
        gc.set_threshold(injector.number)
        gc.enable()

    if injector.kind == "allocation":
        return lambda: set_nomemory(injector.number - 1, injector.number)
    plain = {"interrupt": interrupt, "memory": run_out_of_memory, "handler": run_guest}
    return plain.get(injector.kind, leave_garbage)


@contextmanager
def put_right() -> Iterator[None]:
    """Undo, after a with-block, what an injector may have left on."""
    threshold, collecting = gc.get_threshold(), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.disable()
        gc.set_threshold(*threshold)
        gc.collect(0)  # garbage that no allocation found
        if collecting:
            gc.enable()
