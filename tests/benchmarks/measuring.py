"""Compare pairs of calls, robustly on a machine that has other things to do.

The two calls of a pair are timed one right after the other, many times for a millisecond each, in
either order by turns; all pairs take turns. What else the machine does falls on both alike. A ratio
is the median over the rounds, so that the rounds that were disturbed do not count.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from timeit import Timer

from table import Figure

SLOT = 0.001  # seconds that a call is repeated for in a round
TRIAL, TRIALS = 50, 5  # repetitions that tell how many fit, and how often they are tried
NANO = 1e9

Measure = Callable[[int], float]
"""Takes how often to repeat a call, and returns the seconds that it took."""
Sample = Callable[[], float]
"""Measures once, and returns a figure, such as seconds."""


@dataclass
class Pair:
    """What is measured, what it is compared with, and the most that it should take of that."""

    label: str
    mine: Measure
    reference: Measure
    target: float | None = None
    rounds: list[tuple[float, float]] = field(default_factory=list)

    def figure(self) -> Figure:
        """Return the median of the ratios, with the median nanoseconds of both calls."""
        mine, reference = (median(seconds) * NANO for seconds in zip(*self.rounds, strict=True))
        ratio = median(one / another for one, another in self.rounds)
        return Figure(self.label, ratio, self.target, f"{mine:,.0f} / {reference:,.0f} ns")


def statement(text: str, **names: object) -> Measure:
    """Time a statement."""
    return Timer(text, globals=names).timeit


def awaiting(make: Callable[[], Awaitable[object]], loop: asyncio.AbstractEventLoop) -> Measure:
    """Time awaiting what `make` returns, within one task."""

    async def repeat(number: int) -> float:
        began = perf_counter()
        for _ in range(number):
            await make()
        return perf_counter() - began

    return lambda number: loop.run_until_complete(repeat(number))


def prepared(prepare: Callable[[], Callable[[object], object]], argument: object) -> Measure:
    """Time calls, each of a callable that `prepare` has made for it beforehand."""

    def measure(number: int) -> float:
        calls = [prepare() for _ in range(number)]
        began = perf_counter()
        for call in calls:
            call(argument)
        return perf_counter() - began

    return measure


def compare(pairs: Sequence[Pair], rounds: int) -> Iterator[Figure]:
    """Measure all pairs by turns, and yield a figure for each."""
    numbers = [(repetitions(pair.mine), repetitions(pair.reference)) for pair in pairs]
    gc.disable()
    try:
        for turn in range(rounds):
            for pair, (mine, reference) in zip(pairs, numbers, strict=True):
                pair.rounds.append(one_round(pair, mine, reference, swapped=turn % 2 == 1))
            gc.collect(0)
    finally:
        gc.enable()
    yield from (pair.figure() for pair in pairs)


def by_turns(mine: Sample, other: Sample, rounds: int) -> list[tuple[float, float]]:
    """Take two samples several times, one right after the other and in either order by turns."""
    took = []
    for turn in range(rounds):
        first, second = (sample() for sample in ((other, mine) if turn % 2 else (mine, other)))
        took.append((second, first) if turn % 2 else (first, second))
    return took


def one_round(pair: Pair, mine: int, reference: int, *, swapped: bool) -> tuple[float, float]:
    """Return the seconds that one call of each took."""
    if swapped:
        other = pair.reference(reference)
        return pair.mine(mine) / mine, other / reference
    return pair.mine(mine) / mine, pair.reference(reference) / reference


def repetitions(measure: Measure) -> int:
    """Return how often to repeat a call in a round; this also warms it up."""
    measure(TRIAL)
    return max(TRIAL, int(TRIAL * SLOT / min(measure(TRIAL) for _ in range(TRIALS))))
