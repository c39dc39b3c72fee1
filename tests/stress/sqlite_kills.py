"""Processes that share a file and are killed at random: P1, and a file that is whole (P41).

A killed process has at most taken tokens that nobody used. So P1 is held to without any allowance
for the kills, by what the processes themselves have written down.
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import finish

sys.path.insert(0, str(Path(__file__).parents[1] / "sqlite"))

from processes import Child
from test_processes import spans, take

from rate_limiter.sqlite import SQLiteTokenBucket

GRID = 0.05  # seconds between the instants at which windows begin and end
CAPACITY, RATE = 50.0, 400.0


def excess(granted: list[tuple[float, float]]) -> float:
    """Return by how much the tokens certainly admitted in any window exceed its bound."""
    taken = np.array(granted)
    edges, worst = np.arange(taken.min(), taken.max() + GRID, GRID), -np.inf
    for begin in edges:
        ends = np.sort(taken[taken[:, 0] >= begin][:, 1])
        later = edges[edges > begin]
        bound = CAPACITY + RATE * (later - begin)
        worst = max(worst, (np.searchsorted(ends, later, "right") - bound).max(initial=-np.inf))
    return float(worst)


def kill(path: Path, processes: int, until: float) -> tuple[list[Child], int]:
    """Keep processes at work, and kill one after the other; return all that there were."""
    work = take(path, CAPACITY, RATE, lambda: time.monotonic() < until)
    running, ended = [Child(work) for _ in range(processes)], []
    while time.monotonic() < until - 0.2:
        time.sleep(random.uniform(0.0, 0.2))  # noqa: S311 - no secret
        victim = running.pop(random.randrange(processes))  # noqa: S311
        victim.kill(random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]))  # noqa: S311
        if random.random() < 0.1:  # noqa: S311 - stopped for a while, perhaps amid a decision
            time.sleep(0.3)
        victim.kill(signal.SIGKILL)
        victim.wait()
        ended.append(victim)
        running.append(Child(work))
    return [*ended, *running], sum(child.wait() != 0 for child in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--processes", type=int, default=8)
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, until = Path(folder) / "limits.db", time.monotonic() + sizes.seconds
        children, failed = kill(path, sizes.processes, until)
        granted = spans(children)
        over = excess(granted)
        connection = sqlite3.connect(path)
        whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        alive = SQLiteTokenBucket(path, "afterwards", 1, 1).allow()
    failures = [f"{over:.0f} tokens over the bound"] * (over > 0)
    failures += ["the file is damaged"] * (not whole)
    failures += ["the file is not usable any more"] * (not alive)
    failures += [f"{failed} processes failed"] * (failed > 0)
    failures += [f"only {len(granted)} tokens"] * (len(granted) < RATE * sizes.seconds / 2)
    kills = len(children) - sizes.processes
    finish(failures, given=len(granted), kills=kills, below_bound=round(-over))


if __name__ == "__main__":
    main()
