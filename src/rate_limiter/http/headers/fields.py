"""Structured fields, as RFC 9651 defines them: lists and dictionaries of items with parameters.

A field is read as a whole or not at all: the format says that a field with an error anywhere is to
be ignored. The limits of its numbers are the format's, so no field makes a large one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias, TypeVar

__all__ = ["BareItem", "Item", "Token", "read_dictionary", "read_list"]

T = TypeVar("T")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN = re.compile(r"\?([01])")
_DATE = re.compile(r"@(-?[0-9]{1,15})(?![0-9.])")
_DISPLAY = re.compile(r'%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"')
_SPACES = re.compile(r" *")
_BLANKS = re.compile(r"[ \t]*")
_INTEGER_DIGITS = 15
_WHOLE_DIGITS = 12  # before a point
_DECIMALS = 3  # after it


class Token(str):
    """A word without quotes, which is not the same as the string of the same letters."""

    __slots__ = ()


BareItem: TypeAlias = int | Decimal | str | bytes | bool | datetime
"""What an item is, without its parameters."""


@dataclass(frozen=True, slots=True)
class Item:
    """A member of a list or a dictionary.

    Attributes:
        value: What it is; for an inner list, its items.
        parameters: What is said about it, by key.
    """

    value: BareItem | list[Item]
    parameters: dict[str, BareItem] = field(default_factory=dict[str, BareItem])


def read_list(text: str) -> list[Item] | None:
    """Read a list; None if the field is malformed."""
    return _whole(text, lambda cursor: _members(cursor, _member))


def read_dictionary(text: str) -> dict[str, Item] | None:
    """Read a dictionary; None if the field is malformed. The last of equal keys counts."""
    pairs = _whole(text, lambda cursor: _members(cursor, _pair))
    return None if pairs is None else _last_of_each(pairs)


def _last_of_each(pairs: list[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for key, value in pairs:
        found.pop(key, None)  # the last one also decides the order
        found[key] = value
    return found


class _MalformedError(Exception):
    """A field is not what the format says."""


class _Cursor:
    """A text, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what matches here, if anything does."""
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def need(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Read what has to match here."""
        match = self.take(pattern)
        if match is None:
            raise _MalformedError
        return match

    def take_text(self, text: str) -> bool:
        """Read this text, if it is here."""
        found = self.text.startswith(text, self.position)
        self.position += len(text) if found else 0
        return found

    @property
    def at_end(self) -> bool:
        return self.position == len(self.text)


def _whole(text: str, read: Callable[[_Cursor], T]) -> T | None:
    cursor = _Cursor(text.strip(" "))
    try:
        return read(cursor)
    except (
        _MalformedError,
        ValueError,
        OverflowError,
        OSError,
    ):  # a date may be beyond the calendar
        return None


def _members(cursor: _Cursor, read: Callable[[_Cursor], T]) -> list[T]:
    members: list[T] = []
    while not cursor.at_end:
        members.append(read(cursor))
        cursor.take(_BLANKS)
        if cursor.at_end:
            break
        if not cursor.take_text(","):
            raise _MalformedError
        cursor.take(_BLANKS)
        if cursor.at_end:  # a comma at the end
            raise _MalformedError
    return members


def _pair(cursor: _Cursor) -> tuple[str, Item]:
    key = cursor.need(_KEY).group()
    if cursor.take_text("="):
        return key, _member(cursor)
    return key, Item(True, _parameters(cursor))


def _member(cursor: _Cursor) -> Item:
    if not cursor.take_text("("):
        return _item(cursor)
    items: list[Item] = []
    while True:
        cursor.take(_SPACES)
        if cursor.take_text(")"):
            return Item(items, _parameters(cursor))
        items.append(_item(cursor))
        if cursor.text[cursor.position : cursor.position + 1] not in {" ", ")"}:
            raise _MalformedError


def _item(cursor: _Cursor) -> Item:
    return Item(_bare(cursor), _parameters(cursor))


def _parameters(cursor: _Cursor) -> dict[str, BareItem]:
    pairs: list[tuple[str, BareItem]] = []
    while cursor.take_text(";"):
        cursor.take(_SPACES)
        key = cursor.need(_KEY).group()
        pairs.append((key, _bare(cursor) if cursor.take_text("=") else True))
    return _last_of_each(pairs)


def _bare(cursor: _Cursor) -> BareItem:
    for pattern, made in _KINDS:
        match = cursor.take(pattern)
        if match is not None:
            return made(match)
    raise _MalformedError


def _number(match: re.Match[str]) -> BareItem:
    whole, point, decimals = match.group().removeprefix("-").partition(".")
    if len(whole) > (_WHOLE_DIGITS if point else _INTEGER_DIGITS) or len(decimals) > _DECIMALS:
        raise _MalformedError
    return Decimal(match.group()) if point else int(match.group())


def _string(match: re.Match[str]) -> BareItem:
    return re.sub(r"\\(.)", r"\1", match[1])


def _bytes(match: re.Match[str]) -> BareItem:
    text = match[1].rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise _MalformedError from error


def _display(match: re.Match[str]) -> BareItem:
    coded = re.sub("%([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), match[1])
    return coded.encode("latin-1").decode("utf-8")


_KINDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], BareItem]], ...] = (
    (_NUMBER, _number),
    (_STRING, _string),
    (_TOKEN, lambda match: Token(match.group())),
    (_BOOLEAN, lambda match: match[1] == "1"),
    (_BYTES, _bytes),
    (_DATE, lambda match: datetime.fromtimestamp(int(match[1]), UTC)),
    (_DISPLAY, _display),
)
