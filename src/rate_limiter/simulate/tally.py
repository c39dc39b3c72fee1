"""Count what became of the requests of a log; it grows with the keys, not with the lines."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import NamedTuple

from ..clock import NANO
from .formats import Request
from .run import Decision
from .series import Series

__all__ = ["Tally", "WorstKey"]


class WorstKey(NamedTuple):
    """A key that was refused, or waited, often.

    Attributes:
        key: The key.
        requests: How many requests it made.
        hit: How many of them were refused, or waited.
    """

    key: str
    requests: int
    hit: int


class Tally:
    """Counts of requests and what became of them.

    Args:
        waits: Whether requests wait; then the worst keys are those that have waited most often.

    Attributes:
        requests: How many there were.
        refused: How many were refused.
        waited: How many waited.
        late: How many were earlier than the one before.
        latest_by: By how many nanoseconds one was earlier than another before it, at most.
        longest: The longest wait, or of the refused the longest time until they could have been
            admitted, in seconds.
        never: How many cost more than could ever be admitted.
        refused_by: How many each rate of several refused.
        first, last: The times of the first and the latest request, in nanoseconds; 0 without any.
    """

    def __init__(self, *, waits: bool = False) -> None:
        self._waits = waits
        self.requests = self.refused = self.waited = 0
        self.late = self.latest_by = 0
        self.never = 0
        self.longest = 0.0
        self.refused_by: Counter[str] = Counter()
        self.first = self.last = 0
        self._series = Series()
        self._whole_seconds = True
        self._asked: dict[str, int] = {}
        self._hit: dict[str, int] = {}

    def add(self, request: Request, decision: Decision) -> None:
        """Count a request."""
        time, key = self._on_time(request.time), request.key
        self.requests += 1
        self._asked[key] = self._asked.get(key, 0) + 1
        interval = self._series.at(time)
        interval.asked += 1
        self._whole_seconds = self._whole_seconds and time % NANO == 0
        if decision.admitted and not decision.seconds:
            interval.admitted += 1
        else:
            if decision.admitted or not self._waits:
                self._hit[key] = self._hit.get(key, 0) + 1
            self._add_hit(time, decision)

    def _add_hit(self, time: int, decision: Decision) -> None:
        """Count a request that waited or was refused."""
        self.longest = max(self.longest, decision.seconds or 0.0)
        if decision.admitted:
            self.waited += 1
            self._series.at(time + round((decision.seconds or 0.0) * NANO)).admitted += 1
            return
        self.refused += 1
        self._series.at(time).refused += 1
        self.never += decision.seconds is None
        if decision.refused_by is not None:
            self.refused_by[decision.refused_by] += 1

    def _on_time(self, time: int) -> int:
        """Return the time at which a request counts, which never goes back."""
        if not self.requests:
            self.first = self.last = time
        elif time < self.last:
            self.late += 1
            self.latest_by = max(self.latest_by, self.last - time)
        self.last = max(self.last, time)
        return self.last

    def series(self, most: int) -> Series:
        """Return what happened over time, in at most this many intervals.

        They are a second or longer where the log tells no parts of one.
        """
        return self._series.at_most(most, NANO if self._whole_seconds else 0)

    @property
    def keys(self) -> int:
        """How many keys there were."""
        return len(self._asked)

    @property
    def keys_hit(self) -> int:
        """How many of them were refused, or waited, at least once."""
        return len(self._hit)

    def worst(self, most: int) -> list[WorstKey]:
        """Return the keys that were refused, or waited, most often; the worst first."""
        keys = heapq.nsmallest(most, self._hit, key=lambda key: (-self._hit[key], key))
        return [WorstKey(key, self._asked[key], self._hit[key]) for key in keys]

    @property
    def share(self) -> float:
        """Which part of the requests was refused, from 0 to 1."""
        return self.refused / self.requests if self.requests else 0.0
