"""What the torture runs share: threads that start together, and a line of figures at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")
BEGAN = time.monotonic()


def finish(failures: list[str], **figures: object) -> None:
    """Print the figures and what failed, and exit accordingly."""
    figures["seconds"] = f"{time.monotonic() - BEGAN:.1f}"
    line = "  ".join(f"{name}={value}" for name, value in figures.items())
    print(line)  # noqa: T201 - a script's output
    for failure in failures:
        print(f"FAILED: {failure}")  # noqa: T201
    sys.exit(1 if failures else 0)


def in_threads(runs: list[Callable[[], T]]) -> list[T]:
    """Start every run in a thread of its own, all at once; return what they returned."""
    start = Barrier(len(runs))

    def run_with_others(run: Callable[[], T]) -> T:
        start.wait()
        return run()

    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(run_with_others, runs))


@contextmanager
def switching_often():
    """Let the interpreter switch threads wherever it may."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
