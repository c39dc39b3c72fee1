"""A process whose threads wait for a bucket, or for a group, until somebody kills it.

    python doomed.py PORT NAME alone|group WAITERS RENEWALS

Its clock stands still, but for five seconds before each renewal. It writes a line when all wait,
and have renewed their places as often.
"""

import sys
import threading
import time

import redis

from rate_limiter import BucketGroup
from rate_limiter.redis import RedisTokenBucket
from rate_limiter.testing import ManualClock

START = 1_790_000_000
RENEWAL = 5.0
LIMIT = (1, 0.01)  # the first of those who wait would leave after 100 s


def calls(client):
    """Return how many calls of scripts a server has had."""
    stats = client.info("commandstats")
    return sum(stats[name]["calls"] for name in stats if name.startswith("cmdstat_eval"))


def main(port, name, kind, waiters, renewals):
    """Wait until somebody ends this."""
    clock, client = ManualClock(start=START), redis.Redis(port=int(port))
    buckets = [RedisTokenBucket(client, f"{name}-{n}", *LIMIT, clock=clock) for n in range(2)]
    waited = buckets[0] if kind == "alone" else BucketGroup(*buckets)
    waited.wait()
    for _ in range(int(waiters)):
        threading.Thread(target=waited.wait).start()
    while buckets[0].level.waiting < int(waiters):
        time.sleep(0.005)
    for _ in range(int(renewals)):
        before = calls(client)
        clock.advance(RENEWAL)
        while calls(client) < before + int(waiters):
            time.sleep(0.005)
    print(flush=True)  # noqa: T201 - how it tells


if __name__ == "__main__":
    main(*sys.argv[1:])
