"""Threads that ask one bucket at the same moment, round after round (P18)."""

from __future__ import annotations

import argparse
from threading import Barrier

from figures import finish, in_threads, switching_often

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--capacity", type=int, default=5)
    sizes = parser.parse_args()
    clock = ManualClock()
    bucket = TokenBucket(sizes.capacity, 1, clock=clock)
    start = Barrier(sizes.threads, action=lambda: clock.advance(sizes.capacity))
    asked = Barrier(sizes.threads)

    def ask() -> list[bool]:
        admitted = []
        for _ in range(sizes.rounds):
            start.wait()
            admitted.append(bucket.allow())
            asked.wait()
        return admitted

    with switching_often():
        by_thread = in_threads([ask] * sizes.threads)
    by_round = [sum(admitted) for admitted in zip(*by_thread, strict=True)]
    wrong = [count for count in by_round if count != sizes.capacity]
    failures = [f"{len(wrong)} rounds admitted {sorted(set(wrong))}"] if wrong else []
    finish(failures, rounds=len(by_round), admitted=sum(by_round))


if __name__ == "__main__":
    main()
