"""Show on a terminal how far a long file has been read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from .lines import LogFile

__all__ = ["watched"]

_PATIENCE = 0.5  # seconds for which nothing is shown
_EVERY = 2_048  # lines
_WIDTH = 30  # columns of the bar


def watched(
    log: LogFile, terminal: TextIO, now: Callable[[], float] = time.monotonic
) -> Iterable[str | None]:
    """Return the lines of a log, which show their progress if there is a terminal to show it on."""
    return _watched(log, terminal, now) if terminal.isatty() else log


def _watched(log: LogFile, terminal: TextIO, now: Callable[[], float]) -> Iterator[str | None]:
    shown_at = now()
    drawn = ""
    try:
        for number, line in enumerate(log):
            if number % _EVERY == 0 and (instant := now()) - shown_at > _PATIENCE:
                shown_at, drawn = instant, _bar(number, log.position, log.size)
                terminal.write(f"\r{drawn}")
                terminal.flush()
            yield line
    finally:
        terminal.write("\r" + " " * len(drawn) + "\r" if drawn else "")
        terminal.flush()


def _bar(lines: int, position: int, size: int) -> str:
    """Draw how much of a file has been read; of a pipe, whose end is unknown, tell the lines."""
    if not size:
        return f"{lines:,} lines"
    done = position / size
    filled = int(done * _WIDTH)
    return f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done:4.0%}  {lines:,} lines"
