"""Instants and durations as headers write them; what is malformed is None.

An instant is a number of seconds since 1970, as `time.time()` has it.
"""

from __future__ import annotations

import calendar
import math
import re
from datetime import UTC, datetime

__all__ = ["decimal", "duration", "epoch", "http_date", "timestamp"]

_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = r"(?P<month>[A-Z][a-z]{2})"
_ZONE = "(?:GMT|UTC)"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} {_ZONE}",
        rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} {_ZONE}",
        rf"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(
    r"(?=[0-9])(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m(?!s))?"
    r"(?:(?P<s>[0-9]+(?:\.[0-9]+)?)s)?(?:(?P<ms>[0-9]+(?:\.[0-9]+)?)ms)?"
    r"(?:(?P<us>[0-9]+(?:\.[0-9]+)?)(?:us|µs|μs))?(?:(?P<ns>[0-9]+)ns)?"
)
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_MILLISECONDS = 1e12  # from here on an epoch counts them: 13 digits
_LAST = 1e14  # beyond the year 5000 it is no epoch at all
_LEAP = 60
_CENTURY = 100


def decimal(text: str) -> float | None:
    """Read a number of digits, with or without a point."""
    if _DECIMAL.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def epoch(value: float) -> float | None:
    """Return the instant that an epoch in seconds or milliseconds stands for."""
    if value >= _LAST:
        return None
    return value / 1_000 if value >= _MILLISECONDS else value


def http_date(text: str, now: float) -> float | None:
    """Read a date in one of the three forms of RFC 9110.

    Args:
        text: The date.
        now: The present instant, after which a year of two digits is at most 50 years away.
    """
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _instant(match.groupdict(), now)
    return None


def _instant(parts: dict[str, str], now: float) -> float | None:
    if parts["month"] not in _MONTHS:
        return None
    month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
    hour, minute, second = (int(parts[name]) for name in ("hour", "minute", "second"))
    year = int(parts["year"])
    if len(parts["year"]) == len("94"):
        year = _full_year(year, now)
    try:
        datetime(year, month, day, hour, minute, min(second, _LEAP - 1), tzinfo=UTC)
    except ValueError:
        return None
    return (
        float(calendar.timegm((year, month, day, hour, minute, second)))
        if second <= _LEAP
        else None
    )


def _full_year(year: int, now: float) -> int:
    """Return the year of two digits that is at most 50 years ahead, as RFC 9110 has it."""
    this = 1970 + int(now // 31_556_952)
    full = this - this % _CENTURY + year
    if full > this + _CENTURY // 2:
        return full - _CENTURY
    return full if full > this - _CENTURY // 2 else full + _CENTURY


def timestamp(text: str) -> float | None:
    """Read a timestamp of RFC 3339, such as "2026-11-29T12:00:00Z"."""
    if _RFC_3339.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def duration(text: str) -> float | None:
    """Read a duration such as "6m0s", "1h2m3.5s" or "120ms" in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    parts = ((name, number) for name, number in match.groupdict().items() if number is not None)
    seconds = sum(float(number) * _SECONDS[name] for name, number in parts)
    return seconds if math.isfinite(seconds) else None
