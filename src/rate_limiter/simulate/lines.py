"""Read the lines of a file, plain or compressed, without keeping them."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["CannotRead", "LogFile"]

LONGEST = 1 << 20  # bytes of a line; what is longer is no line, and would not fit in memory
_GZIP = b"\x1f\x8b"


class CannotRead(Exception):
    """A file cannot be read; its text says why."""


class LogFile:
    """The lines of a file, or of standard input for `-`; compressed by gzip or not.

    Args:
        path: Where it is.

    Raises:
        CannotRead: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._raw: Any = _standard_input() if path == "-" else _opened(path)
            self.size = _size_of(self._raw)
        except OSError as error:
            raise CannotRead(f"cannot read {path}: {error.strerror}") from None

    @property
    def position(self) -> int:
        """How many bytes have been read, of `size`."""
        return int(self._raw.tell()) if self.size else 0

    def __iter__(self) -> Iterator[str | None]:
        """Give each line without its end; None stands for one that is too long to be one.

        Raises:
            CannotRead: The file cannot be read to its end.
        """
        try:
            yield from _lines(_uncompressed(self._raw))
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise CannotRead(f"cannot read {self._path} to its end: {reason}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._path != "-":
            self._raw.close()


def _standard_input() -> IO[bytes]:
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - it was closed
        raise CannotRead("cannot read -: there is no standard input")
    return sys.stdin.buffer


def _opened(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def _size_of(raw: Any) -> int:
    """Return the size of a file in bytes, or 0 for what has none, such as a pipe."""
    if not raw.seekable():
        return 0
    start = raw.tell()
    size = int(raw.seek(0, os.SEEK_END))
    raw.seek(start)
    return size


def _uncompressed(raw: Any) -> Any:
    return gzip.open(raw) if raw.peek(2)[:2] == _GZIP else raw


def _lines(file: IO[bytes]) -> Iterator[str | None]:
    while line := file.readline(LONGEST):
        if line.endswith(b"\n") or len(line) < LONGEST:
            yield line.decode("utf-8", "backslashreplace").strip("\r\n\t\v\f\ufeff ")
        else:
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield None
