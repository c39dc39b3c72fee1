"""What a bucket is like at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from .exceptions import Label

__all__ = ["Level", "Levels", "scarcest"]


class Level(NamedTuple):
    """What a bucket is like at an instant; its values are read by name.

    Attributes:
        capacity: The most tokens it holds.
        tokens_per_second: How fast they come back.
        available_tokens: What could be taken at that instant, in tokens; 0.0 while somebody waits.
        full_in: Seconds until it is full, all waiters served; 0.0 means that it is.
        paused_for: Seconds until a pause ends; 0.0 without one.
        waiting: How many callers wait in line; None if that is not known.
    """

    capacity: float
    tokens_per_second: float
    available_tokens: float
    full_in: float
    paused_for: float
    waiting: int | None


Levels: TypeAlias = Mapping[Label, Level]
"""What each bucket is like, by its label."""


def scarcest(levels: list[Level]) -> Level:
    """Return the level of a group: of each value the scarcest among its buckets."""
    if len(levels) == 1:
        return levels[0]
    return Level(
        capacity=min(level.capacity for level in levels),
        tokens_per_second=min(level.tokens_per_second for level in levels),
        available_tokens=min(level.available_tokens for level in levels),
        full_in=max(level.full_in for level in levels),
        paused_for=max(level.paused_for for level in levels),
        waiting=max(level.waiting or 0 for level in levels),
    )
