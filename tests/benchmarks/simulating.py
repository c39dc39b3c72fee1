"""Measure the command line on long logs: how long it takes, and whether memory grows with them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import gmtime, strftime

from table import Figure

LINES = 100_000
LONGER = 5  # times as many lines, by the same keys
HOSTS = 1_000
PER_SECOND = 200
SECONDS = 3.0  # that a log of so many lines may take
KIBI = 1_024
REST = 'GET /a HTTP/1.1" 200 512 "https://example.com/" "Mozilla/5.0 (X11; Linux x86_64)"'
CASES = {  # what is asked of the log: nothing refused, a tenth, and nine in ten
    "nothing refused": ["--rate", "100/minute"],
    "a tenth refused": ["--rate", "1/second"],
    "nine in ten refused": ["--rate", "1/minute"],
    "two rates": ["--rate", "10/second", "--rate", "10/minute"],
    "a tenth waiting": ["--rate", "1/second", "--wait"],
}


def simulating() -> Iterator[Figure]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as folder:
        log, longer = Path(folder) / "log", Path(folder) / "longer"
        write_log(log, LINES)
        write_log(longer, LINES * LONGER)
        for name, options in CASES.items():
            took, _ = run(log, options)
            yield Figure(f"s of CPU for {LINES:,} lines, {name}", took, SECONDS)
        _, small = run(log, CASES["a tenth refused"])
        _, large = run(longer, CASES["a tenth refused"])
        detail = f"{small / KIBI:,.0f} MiB at {LINES:,} lines"
        label = f"MiB more for {LONGER} times the lines"
        yield Figure(label, max(large - small, KIBI / 10) / KIBI, 2.0, detail)


def write_log(path: Path, lines: int) -> None:
    """Write an access log of some hosts who come at random."""
    random, seconds = Random(1), 1.7e9  # noqa: S311 - not for secrets
    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            seconds += random.expovariate(PER_SECOND)
            host = random.randrange(HOSTS)
            time = strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(seconds))
            file.write(f'10.0.{host % 4}.{host // 4} - - [{time}] "{REST}\n')


def run(log: Path, options: list[str]) -> tuple[float, int]:
    """Simulate a log in a process of its own; return its CPU seconds and the most KiB it had.

    On a busy machine the time that passes says nothing.
    """
    command = [sys.executable, "-m", "rate_limiter", "simulate", str(log), "--json", *options]
    script = (
        f"import resource, subprocess; subprocess.run({command}, check=True, stdout=-3)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    run = [sys.executable, "-c", script]
    result = subprocess.run(run, check=True, capture_output=True, text=True)  # noqa: S603 - our own code
    took, memory = result.stdout.split()
    return float(took), int(memory) // (KIBI if sys.platform == "darwin" else 1)
