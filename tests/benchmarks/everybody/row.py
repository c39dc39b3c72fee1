"""A row of a table, and what its contenders are measured with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import Sample

from everybody.contender import Call, Contender
from everybody.timed import Timed, calls

__all__ = ["Bench", "Row", "Sampler", "called"]

UNITS = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "%": 100.0, "bytes": 1.0}


@dataclass
class Bench:
    """What contenders are measured with.

    Args:
        loop: What runs tasks.
        folder: Where files may be.
        server: A Redis server, if there is one.
    """

    loop: asyncio.AbstractEventLoop
    folder: Path
    server: Any = None

    def timed(self, call: Call) -> Timed:
        return Timed(call, self.loop)


Sampler = Callable[[Contender, Bench], Sample | None]
"""Returns what measures a contender; None for one that has no such thing."""


@dataclass
class Row:
    """A row. Less is better, but for a share, which is best at 100 %.

    Args:
        label: What is measured.
        unit: The unit. Samples are seconds, parts of one, or bytes.
        sampler: What is asked for each contender's way to be measured.
        every: Of how many rounds one has a sample: more where that takes long.
        headline: Whether the README and the chart show it.
    """

    label: str
    unit: str
    sampler: Sampler
    every: int = 1
    headline: bool = False

    def samples(self, contenders: list[Contender], bench: Bench) -> dict[str, Sample]:
        """Return what measures each contender that has such a thing."""
        found = {}
        for contender in contenders:
            with suppress(ImportError):  # of a host or a client that is not installed
                sample = self.sampler(contender, bench)
                if sample is not None:
                    found[contender.name] = sample
        return found

    def scaled(self, figure: float) -> float:
        """Return a sample in the row's unit."""
        return figure * UNITS[self.unit]

    def distance(self, figure: float) -> float:
        """Return how far a scaled figure is from the best: parts of a percent are luck."""
        return abs(round(figure) - 100) if self.unit == "%" else figure


def called(ask: Callable[[Contender], Call | None]) -> Sampler:
    """Measure a call that is admitted."""

    def sampler(contender: Contender, bench: Bench) -> Sample | None:
        call = ask(contender)
        return None if call is None else calls(bench.timed(call))

    return sampler
