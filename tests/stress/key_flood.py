"""Millions of keys that are asked for once, while one caller watches for a chance (P24)."""

from __future__ import annotations

import argparse
import resource
import sys
from fractions import Fraction

from figures import finish

from rate_limiter import KeyedRateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

CAPACITY, RATE = 5, 1  # of each key's bucket; one that was asked for once is full after a second
STEPS = 1_000  # of the clock in a second
MOST = 150  # MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--per-second", type=int, default=50_000)
    sizes = parser.parse_args()
    clock, failures, entries = ManualClock(), [], 0
    limiters = KeyedRateLimiter(lambda: TokenBucket(CAPACITY, RATE, clock=clock))
    admitted = early = 0
    for key in range(sizes.keys):
        limiters[key].bucket.allow()
        if key % (sizes.per_second // STEPS) == 0:
            clock.advance(Fraction(1, STEPS))
            entries = max(entries, len(limiters))
            admitted += limiters["victim"].bucket.allow()
            early += admitted > CAPACITY + RATE * clock.elapsed
    due = int(CAPACITY + RATE * clock.elapsed - Fraction(1, STEPS))
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if early or admitted < due:
        failures.append(f"the victim was admitted {admitted} times, {early} too early, not {due}")
    if entries > 1.5 * sizes.per_second:
        failures.append(f"{entries} keys were kept")
    if mebibytes >= MOST and sys.platform == "linux":  # elsewhere the unit is another
        failures.append(f"it took {mebibytes} MiB")
    finish(failures, keys=sizes.keys, most_kept=entries, victim=admitted, mebibytes=mebibytes)


if __name__ == "__main__":
    main()
