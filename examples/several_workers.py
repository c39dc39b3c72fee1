"""Share one limit between the workers of a server on one machine, without a server for the limit.

    python examples/several_workers.py

Each worker makes the bucket for itself; the file and the name are what they share. It does not
matter how they came to be: forked by gunicorn, spawned by multiprocessing, or started by hand.
"""

import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from rate_limiter import RateLimiter, RateLimitExceeded
from rate_limiter.sqlite import SQLiteTokenBucket

CAPACITY, RATE = 20, 50  # tokens at once, tokens per second
WORKERS, SECONDS = 4, 1.0  # how many serve, and for how long


def serve(path: Path) -> tuple[int, int, float, float]:
    """Serve requests as they come; return how many were served and refused, from when to when."""
    bucket = SQLiteTokenBucket(path, "requests", CAPACITY, RATE)
    limiter = RateLimiter(bucket, block=False)
    served, refused, began = 0, 0, time.monotonic()
    while time.monotonic() < began + SECONDS:
        try:
            with limiter.acquire():
                served += 1
        except RateLimitExceeded:
            refused += 1
        time.sleep(0.005)
    return served, refused, began, time.monotonic()


def main() -> int:
    """Print what each worker did, and whether the limit held; return the exit code."""
    context = get_context("spawn")
    begin = context.Barrier(WORKERS).wait  # until all of them are there
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.db"
        with context.Pool(WORKERS, initializer=begin) as pool:
            work = pool.map(serve, [path] * WORKERS, chunksize=1)
    served, refused, began, ended = zip(*work, strict=True)
    most = CAPACITY + RATE * (max(ended) - min(began))
    print("worker  served  refused")
    for worker in range(WORKERS):
        print(f"{worker + 1:6}{served[worker]:8}{refused[worker]:9}")
    print(f"   all{sum(served):8}{sum(refused):9}  at most {most:.1f} could be served")
    print("the limit held" if sum(served) <= most else "the limit was exceeded")
    return 0 if sum(served) <= most else 1


if __name__ == "__main__":
    sys.exit(main())
