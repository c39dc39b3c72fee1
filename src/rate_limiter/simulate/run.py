"""Put requests to the buckets of a limit, at the times at which they came."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from ..bucket_group import BucketGroup
from ..clock import CENTURY, NANO
from ..exceptions import CostExceedsCapacity, RateLimitExceeded
from ..level import Level
from ..limiter import RateLimiter
from ..testing import ManualClock
from .formats import Request
from .limits import Limit, Limiters
from .numbers import Cost

__all__ = ["Decision", "Simulation"]


class Decision(NamedTuple):
    """What became of a request.

    Attributes:
        admitted: Whether it was admitted.
        seconds: How long it waited, or, when refused, how long until it could have been admitted;
            None for never.
        refused_by: Which rate of several refused it.
    """

    admitted: bool
    seconds: float | None = 0.0
    refused_by: Any = None


_ADMITTED = Decision(admitted=True)


class Simulation:
    """The buckets of a limit, on a clock that the requests move.

    Time never goes back: a request that is earlier than the one before comes at the latest time so
    far, as a server that wrote its line late would have asked.

    Args:
        limit: What is tried.
        wait: Whether requests wait for missing tokens; if not, they are refused.

    Raises:
        ValueError: The rates or the capacity cannot be had; the text says why.
    """

    def __init__(self, limit: Limit, *, wait: bool = False) -> None:
        self._clock = ManualClock()
        self._limiters = Limiters(limit, self._clock)
        self._words = limit.words
        self._together = limit.together
        self._decide = self._in_line if wait else self._at_once
        self._now: int | None = None
        self._waited = False
        limit.bucket(self._clock)  # what cannot be made is refused before anything is read

    @property
    def now(self) -> int:
        """The latest time of a request so far, in nanoseconds."""
        return self._now or 0

    def decide(self, request: Request) -> Decision:
        """Ask for a request, at its time."""
        time, key, cost = request
        if self._now is None:
            self._now = time
        elif time > self._now:
            self._clock.advance(Fraction(time - self._now, NANO))
            self._now = time
        if not cost:
            return _ADMITTED  # as every computed cost of 0, it is free
        return self._decide(self._limiters["" if self._together else key], cost)

    def levels(self, key: str) -> Mapping[str, Level]:
        """Return what each bucket of a key is like now, by the words of its rate."""
        bucket = self._limiters["" if self._together else key].bucket
        buckets = bucket.buckets if isinstance(bucket, BucketGroup) else {self._words: bucket}
        return {words: bucket.level for words, bucket in buckets.items()}

    def _at_once(self, limiter: RateLimiter[Any], cost: Cost) -> Decision:
        try:
            with limiter.acquire(cost):
                return _ADMITTED
        except RateLimitExceeded as refusal:
            return Decision(False, refusal.retry_after, refusal.refused_by)
        except CostExceedsCapacity as refusal:
            return Decision(False, None, refusal.refused_by)

    def _in_line(self, limiter: RateLimiter[Any], cost: Cost) -> Decision:
        # Where one request waits the next one mostly does: it is put in line without trying first.
        if not self._waited and limiter.bucket.allow(cost):
            return _ADMITTED
        try:
            delay = limiter.bucket.reserve(cost).delay
            self._waited = delay > 0
            return Decision(True, delay)
        except CostExceedsCapacity as refusal:
            return Decision(False, None, refusal.refused_by)
        except ValueError:  # it would wait for more than a century, which is a mistake
            return Decision(False, CENTURY / NANO)
