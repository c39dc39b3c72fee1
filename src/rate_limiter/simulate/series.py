"""What happens over time, in as many intervals as fit a picture, however long a log is."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Interval", "Series"]

_MILLI = 10**6  # nanoseconds
_SECOND = 1_000 * _MILLI
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_WIDTHS = (  # each divides the next, so that intervals are joined exactly
    *(_MILLI, 5 * _MILLI, 10 * _MILLI, 50 * _MILLI, 100 * _MILLI, 500 * _MILLI),
    *(_SECOND, 5 * _SECOND, 10 * _SECOND, 30 * _SECOND),
    *(_MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR),
)
_MOST = 200


class Interval:
    """What happened in an interval.

    Attributes:
        asked: How many requests came.
        admitted: How many were admitted in it, whenever they came.
        refused: How many were refused.
    """

    __slots__ = ("admitted", "asked", "refused")

    def __init__(self) -> None:
        self.asked = self.admitted = self.refused = 0

    def add(self, other: Interval) -> None:
        """Add what happened in another interval."""
        self.asked += other.asked
        self.admitted += other.admitted
        self.refused += other.refused


class Series:
    """Intervals of one width, which grows with the time they span.

    Args:
        most: How many intervals there may be; at least two, for there is one on each side of 0.

    Attributes:
        width: The length of an interval in nanoseconds.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.width = _WIDTHS[0]
        self._most = most
        self._intervals: dict[int, Interval] = {}
        self._first = self._last = 0

    def at(self, time: int) -> Interval:
        """Return the interval of an instant, in nanoseconds."""
        interval = self._intervals.get(time // self.width)
        return self._add(time) if interval is None else interval

    def _add(self, time: int) -> Interval:
        if not self._intervals:
            self._first = self._last = time
        self._first, self._last = min(self._first, time), max(self._last, time)
        while self._last // self.width - self._first // self.width >= self._most:
            self._widen()
        return self._intervals.setdefault(time // self.width, Interval())

    def _widen(self) -> None:
        """Join neighbours."""
        narrow = self.width
        self.width = next((width for width in _WIDTHS if width > narrow), 2 * narrow)
        joined: dict[int, Interval] = {}
        for index, interval in self._intervals.items():
            joined.setdefault(index * narrow // self.width, Interval()).add(interval)
        self._intervals = joined

    def __len__(self) -> int:
        """Return how many intervals there are, those in which nothing happened included."""
        return self._last // self.width - self._first // self.width + bool(self._intervals)

    def __iter__(self) -> Iterator[tuple[int, Interval]]:
        """Give the beginning of each interval in nanoseconds, and what happened in it."""
        start = self._first // self.width
        for index in range(start, start + len(self)):
            yield index * self.width, self._intervals.get(index, Interval())

    def at_most(self, most: int, width: int = 0) -> Series:
        """Return a series of at most this many intervals, each of as many of these.

        Args:
            most: How many intervals.
            width: How long each is at least, in nanoseconds.
        """
        series = Series(most)
        series.width, series._intervals = self.width, self._intervals
        series._first, series._last = self._first, self._last
        while len(series) > most or series.width < width:
            series._widen()
        return series
