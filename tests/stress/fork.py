"""Children forked from under busy threads (P20)."""

from __future__ import annotations

import argparse
import os
import signal
import time
import warnings
from threading import Event, Thread

from figures import finish, switching_often

from rate_limiter import TokenBucket


def hammer(bucket: TokenBucket, stop: Event) -> None:
    while not stop.is_set():
        for _ in range(100):
            bucket.allow()


def fork_and_use(bucket: TokenBucket, within: float) -> float:
    """Return the seconds that a child took to use the bucket and end; infinity if it hung."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        bucket.allow()
        bucket.refund(1)
        os._exit(0)
    while time.monotonic() - began < within:
        if os.waitpid(child, os.WNOHANG) == (child, 0):
            return time.monotonic() - began
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=500)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--within", type=float, default=1.0, help="seconds for a child to end")
    sizes = parser.parse_args()
    # Python 3.12 and later warn of every fork that has threads; that it works is the subject here.
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    bucket = TokenBucket(10**9, 1)
    stop = Event()
    threads = [Thread(target=hammer, args=(bucket, stop)) for _ in range(sizes.threads)]
    with switching_often():
        for thread in threads:
            thread.start()
        took = [fork_and_use(bucket, sizes.within) for _ in range(sizes.forks)]
        stop.set()
        for thread in threads:
            thread.join()
    hung = took.count(float("inf"))
    failures = [f"{hung} children did not end within {sizes.within} s"] if hung else []
    finish(failures, forks=len(took), slowest_ms=round(max(took) * 1000, 1))


if __name__ == "__main__":
    main()
