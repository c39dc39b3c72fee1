"""Measure the package, and print a table of what was measured beside what it should be.

    python tests/benchmarks/bench.py [--part PART ...] [--rounds 200]
    python tests/benchmarks/bench.py --everybody [--part PART ...] [--rounds 200]

The second compares the package with every other library that is installed (`pip install -e
'.[bench,test]'`), in its own tables: see everybody/. `--write` puts them between the marks of
pages, `--chart` draws the headlines. What follows is about the first.

A figure without a unit is a ratio: of what the row is about to the same with a bucket written by
hand (reference.py, by_hand.py); below 1 is faster than that. How ratios are measured is said in
measuring.py, in redis_bench.py and sqlite_bench.py for buckets in a store, and in services.py for
services. Targets differ by the core that serves; RATE_LIMITER_PURE=1 measures Python alone. A
target that is missed says MISSED; the script ends with 0 all the same, because a busy machine is no
failure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import redis_bench
import sqlite_bench
from calls import calls
from clients import clients
from everybody.command import everybody
from everybody.rows import PARTS as TABLES
from floors import floors
from lines import lines
from simulating import simulating
from sizes import sizes
from table import Figure, heading
from threads import threads
from waiting import waiting

from rate_limiter import compiled

PARTS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "calls": calls,
    "threads": threads,
    "waiting": lambda _: waiting(),
    "lines": lambda _: lines(),
    "sizes": lambda _: sizes(),
    "simulating": lambda _: simulating(),
    "clients": clients,
    "redis": lambda _: redis_bench.figures(),
    "sqlite": lambda _: sqlite_bench.figures(),
    "floors": floors,
    "services": lambda rounds: import_module("services").services(rounds),  # loads frameworks
}


def run(part: str, rounds: int) -> list[Figure]:
    """Measure a part, and print each figure as soon as it is known."""
    reason = redis_bench.left_out() if part == "redis" else None
    if reason is not None:
        print(f"\nBuckets on a server are left out: {reason}")  # noqa: T201 - a script's output
        return []
    print()  # noqa: T201 - a script's output
    core = "compiled" if compiled else "not compiled"
    heading(f"{part}, Python {sys.version.split()[0]}, {core}")
    figures = []
    for figure in PARTS[part](rounds):
        figure.print()
        figures.append(figure)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--everybody", action="store_true", help="compare with other libraries")
    parser.add_argument("--rounds", type=int, default=200, help="of each row")
    parser.add_argument("--part", nargs="+", metavar="PART", help=", ".join([*PARTS, *TABLES]))
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="PAGE")
    parser.add_argument("--chart", type=Path, metavar="FILE")
    options = parser.parse_args()
    known = TABLES if options.everybody else PARTS
    parts = options.part or list(known)
    if not known.keys() >= set(parts):
        parser.error(f"a part is one of {', '.join(known)}")
    if options.everybody:
        everybody(parts, options.rounds, options.write, options.chart)
    else:
        targets(parts, options.rounds)


def targets(parts: Sequence[str], rounds: int) -> None:
    """Measure parts against their targets."""
    figures = [figure for part in parts for figure in run(part, rounds)]
    missed = [figure.label for figure in figures if figure.met == "MISSED"]
    told = sum(1 for figure in figures if figure.met)
    print(f"\n{told - len(missed)} of {told} targets are met.")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
