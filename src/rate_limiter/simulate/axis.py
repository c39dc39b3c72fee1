"""Where the marks of a time axis are, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ..clock import NANO
from .times import EPOCH_SINCE

__all__ = ["TimeAxis", "time_axis"]

_DAY = 86_400
_STEPS = (  # seconds
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 182 * _DAY, 365 * _DAY),
)
_MOST = 8  # marks
_UNITS = (("days", _DAY), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


class TimeAxis(NamedTuple):
    """The marks of a time axis.

    Attributes:
        marks: Where they are, in seconds.
        labels: What they say.
        title: What stands below them.
    """

    marks: list[float]
    labels: list[str]
    title: str


def time_axis(first: float, last: float) -> TimeAxis:
    """Return at most nine marks from one instant to another, in seconds."""
    span = last - first
    step = next((step for step in _STEPS if span <= _MOST * step), span / _MOST)
    start = -(-first // step)
    marks = [(start + place) * step for place in range(_MOST + 1)]
    marks = [mark for mark in marks if mark <= last]
    if first * NANO >= EPOCH_SINCE:
        return _dates(marks, first, last, step)
    unit, length = next((unit for unit in _UNITS if span >= 2 * unit[1]), _UNITS[-1])
    return TimeAxis(marks, [f"{mark / length:.6g}" for mark in marks], f"time in {unit}")


def _dates(marks: list[float], first: float, last: float, step: float) -> TimeAxis:
    """Return marks that are dates, or times of a day that is said below them."""
    form = "%H:%M" if step >= 60 else "%H:%M:%S" if step >= 1 else "%H:%M:%S.%f"  # noqa: PLR2004
    days = sorted({f"{_date(first):%d %b %Y}", f"{_date(last):%d %b %Y}"}, key=len)
    title = f"time (UTC), {_date(first):%d %b %Y}"
    if len(days) > 1:
        title += f" to {_date(last):%d %b %Y}"
        form = "%d %b" if step >= _DAY else f"%d %b\n{form}"
    labels = [_date(mark).strftime(form) for mark in marks]
    return TimeAxis(marks, [_trimmed(label) if step < 1 else label for label in labels], title)


def _trimmed(label: str) -> str:
    return label[:-3]  # microseconds to milliseconds


def _date(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(seconds, 3))
