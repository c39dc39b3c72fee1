"""Follow the levels of one key's buckets, in as many points as fit a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise

from ..clock import NANO
from ..level import Level

__all__ = ["LevelTrace", "exact_rate"]

_FINE = 10**12  # above the denominator of any rate that people write
_MOST = 4_000  # points, of which half go when there are more


class LevelTrace:
    """The levels of buckets over time.

    Attributes:
        capacities: The capacity of each bucket, by its label.
    """

    def __init__(self) -> None:
        self.capacities: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._points: dict[str, list[tuple[int, float]]] = {}

    def add(self, time: int, levels: Mapping[str, Level]) -> None:
        """Note what the buckets are like at an instant, in nanoseconds."""
        for label, level in levels.items():
            self.capacities[label] = level.capacity
            self._rates[label] = level.tokens_per_second
            points = self._points.setdefault(label, [])
            points.append((time, level.available_tokens))
            if len(points) > _MOST:
                self._points[label] = list(_thinned(points))

    def curve(self, label: str) -> list[tuple[float, float]]:
        """Return the level of a bucket in tokens, at the seconds between which it is straight."""
        capacity, rate = self.capacities[label], self._rates[label]
        points = [(time / NANO, tokens) for time, tokens in self._points[label]]
        curve = points[:1]
        for (time, tokens), after in pairwise(points):
            full_at = time + (capacity - tokens) / rate
            if after[1] >= capacity and time < full_at < after[0]:
                curve.append((full_at, capacity))
            curve.append(after)
        return curve


def exact_rate(level: Level) -> Fraction:
    """Return the tokens per second of a rate in words, which are a fraction of small numbers."""
    return Fraction(level.tokens_per_second).limit_denominator(_FINE)


def _thinned(points: list[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Give the lowest and the highest of every four points, in their order."""
    for start in range(0, len(points), 4):
        four = points[start : start + 4]
        lowest = min(range(len(four)), key=lambda place: four[place][1])
        highest = max(range(len(four)), key=lambda place: four[place][1])
        for place in sorted({lowest, highest}):
            yield four[place]
