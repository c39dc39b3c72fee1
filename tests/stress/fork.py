"""Children forked under busy threads, from handlers and at every line of a call (P20)."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

from figures import finish, switching_often

import rate_limiter
from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

HOME = str(Path(rate_limiter.__file__).parent)
CAPACITY = 10**9
RATE = 1_000  # tokens a second: what threads owe at once is far from a century
DELAYS = cycle(range(300, 3_000, 70))  # microseconds
HUNG = float("inf")
WRONG = -1.0


class Buckets:
    """Two buckets, their group, and everything that a call may change in them."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.one, self.other = (
            TokenBucket(CAPACITY, RATE, initial_tokens=CAPACITY // 2, clock=clock) for _ in "ab"
        )
        self.group = BucketGroup(one=self.one, other=self.other)
        self.limiter = RateLimiter(self.group)
        self.calls = (self.take, self.queue, self.settle, self.change)

    def take(self) -> None:
        self.group.allow(2)
        self.group.refund(1)

    def queue(self) -> None:
        """Stand in line behind more than there is, and leave it again."""
        first = self.group.reserve(CAPACITY)
        self.group.reserve(1).cancel()
        first.cancel()

    def settle(self) -> None:
        with self.limiter.acquire(3) as permit:
            permit.settle(1)

    def change(self) -> None:
        """Change what does not matter while the clock stands still and neither is full."""
        self.one.configure(capacity=CAPACITY + 1)
        self.one.configure(capacity=CAPACITY)

    def are_alike(self) -> bool:
        """Use them, and tell whether both have the same."""
        self.group.allow()
        self.group.refund(1)
        self.queue()
        return self.one.retry_after(CAPACITY) == self.other.retry_after(CAPACITY)


class Forks:
    """Children that use the buckets of their parent, and how long each took."""

    def __init__(self, buckets: Buckets, within: float) -> None:
        self.took: list[float] = []
        self._buckets, self._within = buckets, within

    def fork(self) -> None:
        """Note the seconds that a child took to use the buckets and end."""
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            alike = False
            try:
                sys.settrace(None)
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
                alike = self._buckets.are_alike()
            finally:
                os._exit(0 if alike else 1)
        self.took.append(self._wait_for(child, began))

    def _wait_for(self, child: int, began: float) -> float:
        while time.monotonic() - began < self._within:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return WRONG if status else time.monotonic() - began
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return HUNG


def under_threads(forks: Forks, buckets: Buckets, sizes: argparse.Namespace) -> None:
    """Fork while other threads are at the buckets."""
    stop = Event()

    def hammer() -> None:
        while not stop.is_set():
            for call in buckets.calls:
                call()

    threads = [Thread(target=hammer) for _ in range(sizes.threads)]
    for thread in threads:
        thread.start()
    for _ in range(sizes.forks):
        forks.fork()
    stop.set()
    for thread in threads:
        thread.join()


def from_handlers(forks: Forks, buckets: Buckets, sizes: argparse.Namespace) -> None:
    """Fork in a signal handler, wherever it comes in."""
    due = len(forks.took) + sizes.forks

    def handle(signum: int, frame: object) -> None:
        if len(forks.took) < due:
            forks.fork()
            signal.setitimer(signal.ITIMER_REAL, next(DELAYS) / 1e6)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, next(DELAYS) / 1e6)
    while len(forks.took) < due:
        for call in buckets.calls:
            call()


def at_lines(forks: Forks, buckets: Buckets, sizes: argparse.Namespace) -> None:
    """Fork at one of every few lines of the package that each call passes."""
    passed = 0

    def trace(frame, event, arg):
        nonlocal passed
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        passed += event == "line"
        if event == "line" and passed % sizes.every == 0:
            forks.fork()
        return trace

    for call in buckets.calls:
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)


def while_logging(forks: Forks, buckets: Buckets, sizes: argparse.Namespace) -> None:
    """Fork in one thread while another configures loggers that use the buckets."""

    class Limited(logging.Logger):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            buckets.queue()

    stop, number = Event(), 0

    def configure() -> None:
        nonlocal number
        while not stop.is_set():
            number += 1
            logging.getLogger(f"limited.{number}")

    before = logging.getLoggerClass()
    logging.setLoggerClass(Limited)
    thread = Thread(target=configure, daemon=True)
    thread.start()
    forking = Thread(target=lambda: [forks.fork() for _ in range(sizes.forks // 5)], daemon=True)
    forking.start()
    forking.join(sizes.within * (sizes.forks // 5) + 5)
    stop.set()
    logging.setLoggerClass(before)
    if forking.is_alive():
        forks.took.append(HUNG)


RUNS: tuple[Callable[[Forks, Buckets, argparse.Namespace], None], ...] = (
    under_threads,
    from_handlers,
    at_lines,
    while_logging,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=500)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--every", type=int, default=3, help="lines between two forks at lines")
    parser.add_argument("--within", type=float, default=1.0, help="seconds for a child to end")
    sizes = parser.parse_args()
    # Python 3.12 and later warn of every fork that has threads; that it works is the subject here.
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    failures: list[str] = []
    took: list[float] = []
    with switching_often():
        for run in RUNS:
            buckets = Buckets()
            forks = Forks(buckets, sizes.within)
            run(forks, buckets, sizes)
            hung, wrong = forks.took.count(HUNG), forks.took.count(WRONG)
            failures += [f"{run.__name__}: {hung} did not end in {sizes.within} s"] if hung else []
            failures += [f"{run.__name__}: {wrong} found buckets torn"] if wrong else []
            took += forks.took
    try:
        finish(failures, forks=len(took), slowest_ms=round(max(took) * 1000, 1))
    finally:
        sys.stdout.flush()
        os._exit(1 if failures else 0)  # a thread that hangs in a fork keeps the lock of logging


if __name__ == "__main__":
    main()
