"""Measure buckets in a file: against a bare transaction on it, and how long the longest wait is.

What is compared takes turns in many short rounds, each over its own connection with the same
settings, so that what else the machine and its disk do falls on both alike. Each side copies
SQLite's log once in 1000 decisions, which waits for the disk, and pays for that itself.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from table import Figure

from rate_limiter.shared.store import Question
from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.sqlite.opened import store_at

PLENTY = 10**9
ROUND = 50  # decisions
ROUNDS = 400
MICRO = 1e6
READ = "SELECT value FROM rate_limiter_buckets WHERE key = ?"
WRITE = "UPDATE rate_limiter_buckets SET value = ?, until = ? WHERE key = ?"
PROCESSES, SECONDS = 8, 3.0


def figures() -> Iterator[Figure]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.db"
        yield from decisions(path)
        yield from waits(path)


def decisions(path: Path) -> Iterator[Figure]:
    """Compare decisions with bare transactions."""
    bucket = SQLiteTokenBucket(path, "bare", PLENTY, 5)  # lacks tokens for days, and so stays
    assert bucket.allow(PLENTY // 2)
    store = store_at(path, 5.0)
    limit = SQLiteTokenBucket(path, "asked", PLENTY, 5)._limits.everything()[0][0]
    question = Question("take", [(limit, limit.terms.cost(1))])
    allowed = SQLiteTokenBucket(path, "allowed", PLENTY, 5)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        asyncio.Runner() as runner,
    ):
        connection.execute("PRAGMA synchronous = NORMAL")
        sides: dict[str, Callable[[int], None]] = {
            "bare": lambda number: bare(connection, number),
            "ask": lambda number: repeat(lambda: store.ask(question), number),
            "allow": lambda number: repeat(allowed.allow, number),
            "wait_async": lambda number: runner.run(awaited(allowed, number)),
        }
        times = measured(sides)
    for side, target in (("ask", 0.8), ("allow", None), ("wait_async", None)):
        yield compared(side, times["bare"], times[side], target)


def bare(connection: sqlite3.Connection, number: int) -> None:
    """Do what a decision cannot do without."""
    execute = connection.cursor().execute
    for _ in range(number):
        execute("BEGIN IMMEDIATE")
        (value,) = execute(READ, (b"bare",)).fetchone()
        changed = value[::-1]  # for what stays as it is would not be written
        execute(WRITE, (changed, 2**53, b"bare"))
        execute("COMMIT")


def repeat(call: Callable[[], object], number: int) -> None:
    for _ in range(number):
        call()


async def awaited(bucket: Any, number: int) -> None:
    for _ in range(number):
        await bucket.wait_async()


def measured(sides: dict[str, Callable[[int], None]]) -> dict[str, list[float]]:
    """Return the seconds of each round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, run in sides.items():
            began = perf_counter()
            run(ROUND)
            times[name].append((perf_counter() - began) / ROUND)
    return times


def compared(side: str, bare: list[float], mine: list[float], target: float | None) -> Figure:
    """Return the decisions a second as a share of bare transactions a second."""
    ratio = median(one / another for one, another in zip(bare, mine, strict=True))
    detail = f"{median(mine) * MICRO:6.1f} / {median(bare) * MICRO:.1f} us"
    return Figure(
        f"decisions/s by {side}() / bare transactions/s", ratio, target, detail, more=True
    )


def waits(path: Path) -> Iterator[Figure]:
    """Tell how long the longest decision takes while processes ask without a pause."""
    context = get_context("spawn")
    begin = context.Barrier(PROCESSES).wait
    with context.Pool(PROCESSES, initializer=begin) as pool:
        works = pool.map(saturate, [path] * PROCESSES, chunksize=1)
    numbers, worst = zip(*works, strict=True)
    detail = f"{sum(numbers) / SECONDS:,.0f}/s, shares {min(numbers):,} to {max(numbers):,}"
    yield Figure(
        f"ms of the longest decision, {PROCESSES} processes", max(worst) * 1e3, 250, detail
    )


def saturate(path: Path) -> tuple[int, float]:
    """Ask without a pause; return how often, and the seconds of the longest decision."""
    bucket = SQLiteTokenBucket(path, "saturated", PLENTY, 5)
    bucket.allow()
    number, worst, until = 0, 0.0, perf_counter() + SECONDS
    while (began := perf_counter()) < until:
        bucket.allow()
        number, worst = number + 1, max(worst, perf_counter() - began)
    return number, worst
