"""Several workers with a deadline at every point: what hangs is killed, told, and passed by."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

from .worker import ENOUGH, LEFT

__all__ = ["Pool"]

TESTS = Path(__file__).parent.parent


class Pool:
    """Try the points of some scenarios in several processes.

    Args:
        share: One point in this many is tried.
        patience: The seconds after which a point that takes milliseconds is taken to hang.
        until: The instant, on the monotonic clock, after which no scenario is begun.
        start_takes: How many seconds more a process has to begin.
        say: Called with each finding, and after each scenario with how far it has come.
    """

    def __init__(
        self,
        share: int = 1,
        patience: float = 5.0,
        until: float | None = None,
        start_takes: float = 20.0,
        say: Callable[[str], object] = str,
    ) -> None:
        self.findings: list[str] = []
        self.points = 0
        self.by_kind: Counter[str] = Counter()
        self._share, self._patience, self._start_takes = share, patience, start_takes
        self._until = float("inf") if until is None else until
        self._say = say
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self, numbers: list[int], workers: int = 2) -> int:
        """Try the scenarios with these numbers; return how many there was time for."""
        for number in numbers:
            self._queue.put(number)
        threads = [Thread(target=self._work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(numbers) - self._queue.qsize()

    def _work(self) -> None:
        worker = _Worker(self._start_takes)
        while time.monotonic() < self._until:
            try:
                number = self._queue.get_nowait()
            except queue.Empty:
                break
            after: tuple[int, int] | None = (0, 0)
            while after is not None:
                after = self._try(worker, number, after)
            self._say(f"{self.points} points, {self._queue.qsize()} scenarios wait")
        worker.end()

    def _try(self, worker: _Worker, number: int, after: tuple) -> tuple[int, int] | None:
        """Try a scenario from a point on; return the point to go on after, if it broke off."""
        at, what, where, end = after, "", "-", None
        for told in worker.ask(self._patience, scenario=number, share=self._share, after=after):
            if "at" in told:
                at, what, where, end = tuple(told["at"]), told["what"], "-", "it hangs"
                self._count(what)
            elif "found" in told:
                self._find(f"{what} | {where} | {told['found']}")
                end = None
            elif "done" in told:
                return None
            where = told.get("where", where)
            end = told.get("ended", end)
        if not what:
            self._find(f"scenario {number} | - | - | - | - | the worker does not answer")
            return None
        if end:
            self._find(f"{what} | {where} | {end}")
        return self._next(what, at)

    def _count(self, what: str) -> None:
        self.points += 1
        injector = what.rpartition(" | ")[2]
        self.by_kind[injector.partition(":")[0].partition(" ")[0]] += 1

    def _find(self, finding: str) -> None:
        self.findings.append(finding)
        self._say(finding)

    def _next(self, what: str, at: tuple[int, int]) -> tuple[int, int]:
        """Return where to go on: past this injector, if enough has been found of it."""
        enough = sum(one.startswith(f"{what} |") for one in self.findings) >= ENOUGH
        return (at[0], sys.maxsize) if enough else at


class _Worker:
    """A process that is started again when it has hung."""

    def __init__(self, start_takes: float = 20.0) -> None:
        self._process: subprocess.Popen | None = None
        self._start_takes = start_takes  # seconds at most, on a busy machine

    def ask(self, patience: float, **what: object) -> Iterator[dict]:
        """Tell the process, and return what it tells until it is done, ends or hangs."""
        if self._process is None:
            self._process = _start()
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        told, rest, left = self._process.stdout.fileno(), b"", patience + self._start_takes
        while select.select([told], [], [], left)[0]:
            left = patience
            read = os.read(told, 1 << 16)
            if not read:
                code = self._process.wait()
                yield {"ended": "the process ends"} if code != LEFT else {}
                break
            *lines, rest = (rest + read).split(b"\n")
            yield from map(json.loads, lines)
        self.end()

    def end(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


def _start() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "injection.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
