"""Write what became of each request to a CSV file, as it is decided."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from ..clock import NANO
from .formats import Request
from .run import Decision

__all__ = ["CannotWrite", "DecisionsFile"]

_HEAD = ("time", "key", "cost", "result", "seconds", "refused_by")


class CannotWrite(Exception):
    """A file cannot be written; its text says why."""


class DecisionsFile:
    """A CSV file with a row for each request; see docs/simulate.md for its columns.

    Args:
        path: Where to write it; None writes nothing.

    Raises:
        CannotWrite: It cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file = None if path is None else _opened(path)
        if self._file is not None:
            self._write = csv.writer(self._file).writerow
            self._row(_HEAD)

    def add(self, request: Request, decision: Decision) -> None:
        """Write the row of a request."""
        if self._file is None:
            return
        result = "waited" if decision.seconds else "admitted"
        seconds = "" if decision.seconds is None else repr(float(decision.seconds))
        self._row(
            (
                _seconds(request.time),
                request.key,
                request.cost,
                result if decision.admitted else "refused",
                seconds,
                decision.refused_by or "",
            )
        )

    def _row(self, row: tuple[object, ...]) -> None:
        try:
            self._write(row)
        except OSError as error:
            raise CannotWrite(f"cannot write {self._path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as failed:
            raise CannotWrite(f"cannot write {self._path}: {failed.strerror}") from None


def _opened(path: str) -> TextIO:
    """Open a file for rows; half a surrogate pair, which a key of JSON can hold, is escaped."""
    try:
        return Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}") from None


def _seconds(nanoseconds: int) -> str:
    """Write an instant in seconds, exactly."""
    sign = "-" if nanoseconds < 0 else ""
    whole, rest = divmod(abs(nanoseconds), NANO)
    return f"{sign}{whole}.{rest:09}".rstrip("0").rstrip(".")
