"""Measure everybody, by turns, and show what was found."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import redis_bench

from everybody import chart, page
from everybody.contender import Contender
from everybody.known import BY_HAND, THIS, found, version_of
from everybody.row import Bench, Row
from everybody.rows import PARTS
from everybody.tables import Measured, ahead, headlines, table
from rate_limiter import __version__, compiled

__all__ = ["everybody"]

CPUINFO = Path("/proc/cpuinfo")
STORES = "stores"  # the part that a server is started for
SECTIONS = ("everybody", "headlines")  # of pages: all of it, and the rows that matter most


def everybody(
    parts: Sequence[str], rounds: int, pages: Sequence[Path], picture: Path | None
) -> None:
    """Print what is measured as soon as it is known; write it to pages and a picture if asked."""
    for each in pages:
        page.check(each, SECTIONS)  # before all that work
    measured: list[Measured] = []
    printed = []
    for paragraph in paragraphs(parts, rounds, measured):
        print(f"{paragraph}\n", flush=True)  # noqa: T201 - a script's output
        printed.append(paragraph)
    sections = ("\n" + "\n\n".join(printed) + "\n", headlines(measured))
    for each in pages:
        page.write(each, dict(zip(SECTIONS, sections, strict=True)))
    if picture is not None:
        chart.draw(picture, measured)


def paragraphs(parts: Sequence[str], rounds: int, measured: list[Measured]) -> Iterator[str]:
    """Measure parts; yield what there is to say, and add the figures to `measured`."""
    logging.disable()  # some log each wait
    there, skipped = found()
    yield setting(there, rounds)
    with bench(server=STORES in parts) as measuring:
        for part in parts:
            rows = [measure(row, there, measuring, rounds) for row in PARTS[part]]
            shown = [each for each in rows if each.figures]
            measured += shown
            if shown:
                yield table(part, shown)
            left_out = [each.label for each in rows if not each.figures]
            if left_out:
                yield f"Left out, for what it needs is not there: {', '.join(left_out)}."
    better = ahead(measured)
    yield listed("Another library is ahead in these rows:", better) if better else "None is ahead."
    if skipped:
        yield listed("Skipped, for they cannot be imported:", skipped)


def processor() -> str:
    """Return the name of the processor, after a word; nothing where Linux does not tell."""
    told = CPUINFO.read_text() if CPUINFO.exists() else ""
    name = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return f" of {name[1]}" if name else ""


def setting(there: Sequence[Contender], rounds: int) -> str:
    """Say when, where and with which versions it is measured, and which of its ways each goes."""
    today = datetime.now(UTC).date()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores{processor()}"
    core = "the compiled core" if compiled else "the core in Python"
    ways = [
        f"{each.name} {__version__ if each is THIS else version_of(each.name)}".strip()
        + f" ({each.how})"
        for each in there
        if each is not BY_HAND
    ]
    return f"{today}, {python}, {machine}, {core}, {rounds} rounds: {', '.join(ways)}."


def listed(heading: str, items: Sequence[str]) -> str:
    return "\n".join([heading, "", *(f"- {item}" for item in items)])


@contextmanager
def bench(*, server: bool) -> Iterator[Bench]:
    """Lend what contenders are measured with."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        asyncio.Runner() as runner,
    ):
        lent = Bench(runner.get_loop(), Path(folder))
        if server and redis_bench.left_out() is None:
            from servers import Server

            with Server() as lent.server:
                yield lent
        else:
            yield lent


def measure(row: Row, contenders: list[Contender], bench: Bench, rounds: int) -> Measured:
    """Measure a row: in each round every contender once, each round another of them first."""
    samples = row.samples(contenders, bench)
    measured = Measured(row, {name: [] for name in samples})
    names = list(samples)
    gc.disable()
    try:
        for turn in range(max(1, rounds // row.every)):
            first = turn % max(1, len(names))
            for name in names[first:] + names[:first]:
                measured.figures[name].append(row.scaled(samples[name]()))
            gc.collect(0)
    finally:
        gc.enable()
    return measured
