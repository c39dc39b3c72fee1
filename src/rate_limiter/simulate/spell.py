"""A quiet, a busy and another quiet spell, to show what a limit does."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from fractions import Fraction
from operator import attrgetter

from ..clock import NANO
from ..level import Level
from .formats import Request
from .levels import LevelTrace, exact_rate
from .limits import Limit
from .run import Simulation
from .tally import Tally

__all__ = ["BusySpell"]

COLUMNS = 60  # of the picture on a terminal
_STEPS = 300  # requests that a full bucket holds, where a request may cost more than a token
_FEWEST = 20  # requests in the time by which lengths are measured, where a bucket holds fewer
_SPELLS = (  # how long, in times to fill the bucket; how much is asked for, in times the rate
    (Fraction(1, 2), Fraction(1, 2)),
    (Fraction(3, 2), Fraction(3)),
    (Fraction(5, 2), Fraction(1, 2)),
)
_ASKED = sum(length * times for length, times in _SPELLS)  # requests, in times a full bucket
_MOST = 40_000  # of them, which take some seconds
_KEY = ""


class BusySpell:
    """Callers that ask for half the rate, then for three times the rate, then for half again.

    Attributes:
        cost: What each of their requests costs, in tokens.
        seconds: How long all of it takes.
        too_long: Whether it was not played, because it takes too many requests: where one limit is
            far larger than another, whose capacity a request cannot exceed.
        tally: What became of them.
        trace: The levels of the buckets.
        asked, admitted: How many requests came and were admitted in each column of a picture.
        levels: What the slowest bucket held at the beginning of each, from 0 to 1.
    """

    def __init__(self, limit: Limit) -> None:
        self._simulation = Simulation(limit)
        levels = self._simulation.levels(_KEY)
        self._slowest = min(levels, key=lambda words: levels[words].tokens_per_second)
        slowest, smallest = levels[self._slowest], min(map(attrgetter("capacity"), levels.values()))
        self.cost = max(1, min(math.floor(smallest), math.floor(slowest.capacity) // _STEPS))
        self._rate = exact_rate(slowest) / self.cost  # requests per second
        self._fill = max(Fraction(slowest.capacity) / self.cost, Fraction(_FEWEST)) / self._rate
        self._length = round(sum(length for length, _ in _SPELLS) * self._fill * NANO)
        self.seconds = self._length / NANO
        self.trace = LevelTrace()
        self.asked, self.admitted = [0] * COLUMNS, [0] * COLUMNS
        self.levels: list[float] = []
        self.tally = Tally()
        self.too_long = self._rate * self._fill * _ASKED > _MOST
        if not self.too_long:
            self._play()

    def _play(self) -> None:
        """Ask for every request, and look at the levels as each column begins."""
        for request in heapq.merge(self._looks(), self._requests()):
            self._simulation.decide(request._replace(cost=0))  # the clock moves, nothing is taken
            level = self._note(request.time)
            if request.cost:
                self._ask(request)
            else:
                self.levels.append(level)

    def _ask(self, request: Request) -> None:
        decision = self._simulation.decide(request)
        self.tally.add(request, decision)
        column = request.time * COLUMNS // self._length
        self.asked[column] += 1
        self.admitted[column] += decision.admitted
        self._note(request.time)

    def _note(self, time: int) -> float:
        """Note the levels at an instant; return that of the slowest bucket, from 0 to 1."""
        levels = self._simulation.levels(_KEY)
        self.trace.add(time, levels)
        slowest: Level = levels[self._slowest]
        return slowest.available_tokens / slowest.capacity

    def _looks(self) -> Iterator[Request]:
        """Give requests that cost nothing, one as each column begins."""
        for column in range(COLUMNS):
            yield Request(-(-column * self._length // COLUMNS), _KEY, 0)

    def _requests(self) -> Iterator[Request]:
        time = end = Fraction(0)
        for length, times in _SPELLS:
            end += length * self._fill
            while time < end and time * NANO < self._length - 1:
                yield Request(round(time * NANO), _KEY, self.cost)
                time += 1 / (self._rate * times)
