"""Read the times that logs have, as nanoseconds since 1970, or since a log's own zero."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from ..clock import NANO
from .numbers import Unreadable, read_number

__all__ = ["EPOCH_SINCE", "read_access_time", "read_seconds", "read_time"]

EPOCH_SINCE = 10**8 * NANO  # a later time is a date, an earlier one counts from a log's own zero
_MOST_SECONDS = 10**11  # the year 5138, so that every time has a date; as milliseconds, 1973
_LONGEST = 40  # characters of a time that an error shows
_ACCESS_TIME = re.compile(
    r"(\d\d/[A-Z][a-z]{2}/\d{4}):(\d\d):(\d\d):(\d\d)(\.\d{1,9})? ([+-]\d{4})", re.ASCII
)
_HOURS, _MINUTES, _SECONDS = 24, 60, 61  # a leap second is the 61st
_NUMBER_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))


def read_seconds(text: str) -> int:
    """Read a number of seconds.

    Raises:
        Unreadable: It is none, or none that is an instant.
    """
    seconds = read_number(text)
    return _within_reach(round(seconds * NANO), text)


def read_time(value: object) -> int:
    """Read a time of a JSON line: a number, or a text in ISO 8601 or as in access logs.

    A number is in seconds, or, as its size tells, in milliseconds, microseconds or nanoseconds. A
    text without a zone is in UTC.

    Raises:
        Unreadable: It is none of these.
    """
    text = str(value)
    for read in (_read_timestamp, read_access_time, _read_iso):
        try:
            return read(text)
        except ValueError:
            continue
    raise Unreadable(f"{text[:_LONGEST]!r} is not a time")


def read_access_time(text: str) -> int:
    """Read a time such as `02/Nov/2026:13:55:36 +0100`.

    Raises:
        Unreadable: It has another form.
    """
    match = _ACCESS_TIME.fullmatch(text)
    if match is None:
        raise Unreadable(f"{text!r} is not a time of an access log")
    day, hours, minutes, seconds, fraction, zone = match.groups()
    if int(hours) >= _HOURS or int(minutes) >= _MINUTES or int(seconds) >= _SECONDS:
        raise Unreadable(f"{text!r} is not a time of an access log")
    within_day = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    rest = int((fraction or ".0")[1:].ljust(9, "0"))
    return _within_reach((_midnight(day, zone) + within_day) * NANO + rest, text)


@lru_cache(maxsize=64)  # a log has few days
def _midnight(day: str, zone: str) -> int:
    """Return the seconds at which a day begins in a zone."""
    try:
        return int(datetime.strptime(f"{day} {zone}", "%d/%b/%Y %z").timestamp())
    except ValueError:
        raise Unreadable(f"{day} {zone} is not a day") from None


def _read_iso(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86_400 + since.seconds
    return _within_reach((seconds * 10**6 + since.microseconds) * 10**3, text)


def _within_reach(time: int, text: str) -> int:
    """Return a time, if it is none that is too far away to have a date in UTC.

    Raises:
        Unreadable: It is.
    """
    if abs(time) >= _MOST_SECONDS * NANO:
        raise Unreadable(f"{text!r} is not a time up to the year 5138")
    return time


def _read_timestamp(text: str) -> int:
    """Read a number of seconds since 1970, or of the smaller units that its size tells."""
    number = read_number(text)
    for limit, unit in _NUMBER_UNITS:
        if abs(number) < limit:
            return round(number * NANO / unit)
    raise Unreadable(f"{text!r} is not a time")
