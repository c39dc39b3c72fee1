"""What is measured outside of this process: memory and imports in a child, a server, a file."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Sample

from everybody.contender import FEW, PLENTY, Call, Contender, Limit
from everybody.row import Bench, Sampler
from everybody.timed import Timed

__all__ = [
    "import_of",
    "importing",
    "in_a_file",
    "leased",
    "memory",
    "on_a_server",
    "server_memory",
    "told_in_child",
]

COUNT = 88_000  # just after a dictionary of them has grown, when it is emptiest
STATM = Path("/proc/self/statm")  # of Linux; its second field is the pages that are resident
CALLS = 50  # whose median is a sample
MANY_CALLS = 1_000  # with a lease, whose mean is


def told_in_child(code: str) -> str:
    """Return what code prints in a new interpreter with the same path."""
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"]
    run = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603 - our own
    return run.stdout


def in_child(code: str) -> float:
    """Return the number that code prints in a new interpreter with the same path."""
    return float(told_in_child(code))


def importing(contender: Contender, bench: Bench) -> Sample | None:
    """Measure the processor's seconds that an import takes in a new interpreter."""
    return None if contender.module == "reference" else import_of(contender.module)


def import_of(*modules: str) -> Sample:
    """Return what measures the processor's seconds of imports in a new interpreter."""
    code = f"from time import process_time as now; b = now(); import {', '.join(modules)}"
    return lambda: in_child(f"{code}; print(now() - b)")


def memory(what: str) -> Sampler:
    """Measure the resident bytes of each of many buckets (`making`) or keys (`for_key`)."""

    def sampler(contender: Contender, bench: Bench) -> Sample | None:
        if asked(contender, what) is None or not STATM.exists():
            return None
        code = f"from everybody.outside import tell; tell({contender.name!r}, {what!r})"
        return lambda: in_child(code)

    return sampler


def asked(contender: Contender, what: str) -> Call | None:
    return contender.making() if what == "making" else contender.for_key(FEW)


def resident() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def tell(name: str, what: str) -> None:
    """Print the bytes of each, of the contender with that name; runs in a child."""
    from everybody.known import CONTENDERS

    call = asked(next(one for one in CONTENDERS if one.name == name), what)
    kept: list[Any] = [None] * COUNT
    keys: Any = [f"user {number}" for number in range(COUNT)]
    if what == "making":
        keys, call.text, call.names["kept"] = range(COUNT), f"{call.text}\nkept[key] = answer", kept
    timed = Timed(call, None)  # type: ignore[arg-type] - nothing is awaited
    gc.collect()
    before = resident()
    timed.run(keys)
    gc.collect()
    print((resident() - before) / COUNT)  # noqa: T201 - what the parent reads


def p50(timed: Timed) -> Sample:
    """Measure what half of some calls take at most."""
    timed(CALLS)
    timed.check()

    def sample() -> float:
        found = median(timed(1) for _ in range(CALLS))
        timed.check()
        return found

    return sample


def on_a_server(contender: Contender, bench: Bench) -> Sample | None:
    return sampled(bench, lambda server: contender.redis(server.client(), server.url, PLENTY), p50)


def leased(contender: Contender, bench: Bench) -> Sample | None:
    return sampled(bench, lambda server: contender.leased(server.client(), PLENTY), mean)


def mean(timed: Timed) -> Sample:
    """Measure the mean of many calls, of which few are slow and count as well."""

    def sample() -> float:
        took = timed(MANY_CALLS)
        timed.check()
        return took / MANY_CALLS

    return sample


def sampled(
    bench: Bench, ask: Callable[[Any], Call | None], measure: Callable[[Timed], Sample]
) -> Sample | None:
    call = None if bench.server is None else ask(bench.server)
    return None if call is None else measure(bench.timed(call))


def server_memory(contender: Contender, bench: Bench) -> Sample | None:
    """Measure the bytes that a server keeps after one call at 10, filled by 5 a second."""
    if bench.server is None:
        return None
    client = bench.server.client()
    call = contender.redis(client, bench.server.url, Limit(10, 5))
    if call is None:
        return None

    def sample() -> float:
        client.flushdb()
        bench.timed(call)(1)
        return sum(client.memory_usage(key) for key in client.scan_iter())

    return sample


def in_a_file(contender: Contender, bench: Bench) -> Sample | None:
    call = contender.sqlite(str(bench.folder / "limits.db"), PLENTY)
    return None if call is None else p50(bench.timed(call))
