"""Turn the lines of a log into requests, in the format that its first readable line has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .formats import FORMATS, Fields, LogFormat, Request, check_named
from .numbers import Unreadable

__all__ = ["Reader"]

_TOO_LONG = "it is longer than a mebibyte"


class Reader:
    """Read requests, and count the lines that hold none.

    Args:
        fields: The names of the fields to read.
        format_name: The format of the lines; that of the first readable line if None.

    Raises:
        WrongField: A field was given that the format does not know by a name; where the format is
            found out, once it is.

    Attributes:
        readable: How many lines could be read so far.
        unreadable: How many lines could not be read so far; blank ones are not counted.
        first_problem: Why the first of them could not be read, or None.
    """

    def __init__(self, fields: Fields, format_name: str | None = None) -> None:
        self.readable = self.unreadable = 0
        self.first_problem: str | None = None
        self._fields = fields
        kinds = [kind for kind in FORMATS if format_name in {kind.name, None}]
        self._formats: list[LogFormat] = [kind(fields) for kind in kinds]
        if format_name is not None:
            check_named(self._formats[0], fields)

    def requests(self, lines: Iterable[str | None]) -> Iterator[Request]:
        """Give the request on each line that can be read."""
        for number, line in enumerate(lines, 1):
            if line == "":
                continue
            try:
                request = self._read(line)
            except Unreadable as error:
                self.unreadable += 1
                self.first_problem = self.first_problem or f"line {number}: {error}"
            else:
                self.readable += 1
                yield request

    def key_of(self, text: str) -> str:
        """Return the key that a user means by this text, once a line has been read."""
        return self._formats[0].key_of(text)

    def _read(self, line: str | None) -> Request:
        if line is None:
            raise Unreadable(_TOO_LONG)
        if len(self._formats) == 1:
            return self._formats[0].read(line)
        return self._find_format(line)

    def _find_format(self, line: str) -> Request:
        """Read a line in the first format that fits, and keep to that one from then on."""
        problems: list[Unreadable] = []
        for candidate in self._formats:
            try:
                request = candidate.read(line)
            except Unreadable as problem:
                problems.append(problem)
            else:
                check_named(candidate, self._fields)
                self._formats = [candidate]
                return request
        raise problems[_likeliest(line)]


def _likeliest(line: str) -> int:
    """Return the place of the format whose problem with a line helps most."""
    return 0 if line.startswith("{") else 1 if '"' in line else 2
