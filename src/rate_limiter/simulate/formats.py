"""Read the lines of logs: when, by whom, at what cost."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol, cast

from ..http.addresses import address_key
from .numbers import Cost, Unreadable, read_cost
from .times import read_access_time, read_seconds, read_time

__all__ = [
    "FORMATS",
    "AccessLog",
    "Columns",
    "Fields",
    "JsonLines",
    "LogFormat",
    "Request",
    "WrongField",
    "check_named",
]

_TIME_NAMES = ("time", "timestamp", "ts", "@timestamp")  # looked for without --time
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
# A user's name may have blanks and brackets, so a line can be taken apart in several ways. They are
# few, for a name with blanks and a time are short: so no line takes longer than its length tells.
_ACCESS_LINE = re.compile(
    r"(?:(\S+:\d+) (?=\S*[.:]))?"  # the virtual host, where a server serves several
    rf"(\S+) (\S+) (\S+|\S.{{,254}}?) \[([^\]]{{1,60}})\] {_QUOTED} (\d{{3}}|-) (\d+|-)"
    rf"(?: {_QUOTED} {_QUOTED})?"
)
_COLUMNS = range(2, 4)


class Request(NamedTuple):
    """One line of a log.

    Attributes:
        time: When it came, in nanoseconds.
        key: Whose limit it counts for.
        cost: How many tokens it takes.
    """

    time: int
    key: str
    cost: Cost


class Fields(NamedTuple):
    """The names of the fields that hold the time, the key and the cost; None if none was given."""

    time: str | None = None
    key: str | None = None
    cost: str | None = None


class LogFormat(Protocol):
    """A way to write requests on lines."""

    name: str

    @property
    def named(self) -> tuple[str, ...]:
        """Which fields it knows by a name that can be given."""
        ...

    def __init__(self, fields: Fields) -> None: ...

    def read(self, line: str) -> Request:
        """Read a line.

        Raises:
            Unreadable: It is not of this format, or a field is missing.
        """
        ...

    def key_of(self, text: str) -> str:
        """Return the key that a user means by this text."""
        ...


class AccessLog:
    """The common and the combined log format of web servers, with or without a virtual host.

    The key `ip` is what a service has for a key unless it is told otherwise: of an IPv6 address the
    /64 (P44).
    """

    name, named = "access", ("key", "cost")

    def __init__(self, fields: Fields) -> None:
        self._key = fields.key or "ip"
        self._cost = fields.cost

    def read(self, line: str) -> Request:
        """Read a line."""
        match = _ACCESS_LINE.match(line)
        if match is None:
            raise Unreadable("it is not a line of an access log")
        parts = match.groups()
        key = (
            address_key(parts[1]) if self._key == "ip" else _field(_access_fields(parts), self._key)
        )
        cost = 1 if self._cost is None else _access_cost(parts, self._cost)
        return Request(read_access_time(parts[4]), key, cost)

    def key_of(self, text: str) -> str:
        """Return the key of an address, if addresses are the keys."""
        return address_key(text) if self._key == "ip" else text


def _access_fields(parts: tuple[str | None, ...]) -> dict[str, str]:
    """Return the fields of an access log by their names; what is missing is "-"."""
    host, ip, ident, user, time, request, status, size, referer, agent = (p or "-" for p in parts)
    method, path, protocol, *_ = [*request.split(" "), "-", "-", "-"]
    names = ("ip", "user", "method", "path", "status", "agent", "referer", "host", "request")
    values = (ip, user, method, path.partition("?")[0], status, agent, referer, host, request)
    rest = {"bytes": size, "protocol": protocol, "ident": ident, "time": time}
    return dict(zip(names, values, strict=True)) | rest


def _access_cost(parts: tuple[str | None, ...], name: str) -> Cost:
    text = _field(_access_fields(parts), name)
    return 0 if text == "-" else read_cost(text)


class _AnyKey:
    """Keys that are what they are written as."""

    def key_of(self, text: str) -> str:
        """Return the text."""
        return text


class JsonLines(_AnyKey):
    """One JSON object on each line; a dotted name leads into objects."""

    name, named = "json", ("time", "key", "cost")

    def __init__(self, fields: Fields) -> None:
        self._times = _TIME_NAMES if fields.time is None else (fields.time,)
        self._key = fields.key or "key"
        self._cost = fields.cost
        self._decode = json.JSONDecoder(parse_float=_decimal).decode

    def read(self, line: str) -> Request:
        """Read a line."""
        if not line.startswith("{"):
            raise Unreadable("it is not a JSON object")
        try:
            return self._request(self._decode(line))
        except Unreadable:
            raise
        except (ValueError, RecursionError):  # a key may also be too deep to be written
            raise Unreadable("it is not a JSON object") from None

    def _request(self, record: dict[str, Any]) -> Request:
        name = next((name for name in self._times if name in record), self._times[0])
        key = _field(record, self._key)
        cost = 1 if self._cost is None else read_cost(_field(record, self._cost))
        return Request(
            read_time(_field(record, name)), key if isinstance(key, str) else _shown(key), cost
        )


class Columns(_AnyKey):
    """`seconds key [cost]`, with blanks between."""

    name = "columns"
    named: tuple[str, ...] = ()

    def __init__(self, fields: Fields) -> None:
        pass  # columns have a place instead of a name

    def read(self, line: str) -> Request:
        """Read a line."""
        columns = line.split()
        if len(columns) not in _COLUMNS:
            raise Unreadable(f"'seconds key [cost]' has 2 or 3 columns, it has {len(columns)}")
        time, key, *cost = columns
        return Request(read_seconds(time), key, read_cost(cost[0]) if cost else 1)


FORMATS: tuple[type[LogFormat], ...] = (JsonLines, AccessLog, Columns)
"""All formats, in the order in which they are tried."""


class WrongField(Exception):
    """A name was given for a field that a log of this format does not name; the text says so."""


def check_named(kind: LogFormat, fields: Fields) -> None:
    """Refuse the name of a field that a format has in a place of its own.

    Raises:
        WrongField: There is one.
    """
    for option, name in fields._asdict().items():
        if name is not None and option not in kind.named:
            raise WrongField(
                f"--{option} {name} names a field, but the log is in the format {kind.name!r}, "
                f"where the {option} has a place of its own; leave it out, or say --format"
            )


def _field(record: dict[str, Any], name: str) -> Any:
    """Return a field of a record, also one in an object within it: `request.remote_ip`."""
    value: Any = record
    for part in [name] if name in record else name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Unreadable(f"it has no field {name!r}; it has {', '.join(record) or 'none'}")
        value = cast("dict[str, Any]", value)[part]
    return value


def _shown(value: object) -> str:
    """Return a key that is no text in one form, whatever the order of its fields."""
    return (
        str(value) if isinstance(value, Decimal) else json.dumps(value, default=str, sort_keys=True)
    )


def _decimal(text: str) -> Decimal | str:
    """Return a number exactly; its text if it is none that can be had."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text
