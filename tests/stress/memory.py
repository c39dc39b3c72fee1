"""Threads, event loops, cancelled waits and settled permits in memory (P1, P7, P14, P18)."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from threading import Event, Thread

from figures import finish, in_threads, switching_often

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

RATE = 100_000  # tokens per second on the real clock
BATCH = 1_000  # waits that are cancelled together
SETTLING = 4  # threads
GROWTH = 20  # MiB of memory that may stay in use


def caller(bucket: TokenBucket, calls: int) -> Callable[[], int]:
    return lambda: sum(bucket.allow() for _ in range(calls))


def loop_of(bucket: TokenBucket, tasks: int) -> Callable[[], int]:
    async def main() -> int:
        await asyncio.gather(*(bucket.wait_async() for _ in range(tasks)))
        return tasks

    return lambda: asyncio.run(main())


def canceller(bucket: TokenBucket, waits: int) -> Callable[[], int]:
    """Wait in tasks that are all cancelled, in another order than they came in."""

    async def wait_once(cost: int) -> int:
        await bucket.wait_async(cost)
        return cost

    async def one_batch(size: int) -> int:
        tasks = [asyncio.create_task(wait_once(cost)) for cost in islice(cycle((1, 2, 7)), size)]
        await asyncio.sleep(0)
        for task in tasks[::2] + tasks[::-2]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(end for end in ends if isinstance(end, int))

    async def main() -> int:
        sizes = [min(BATCH, waits - done) for done in range(0, waits, BATCH)]
        return sum([await one_batch(size) for size in sizes])

    return lambda: asyncio.run(main())


def run_frozen(sizes: argparse.Namespace, failures: list[str]) -> int:
    """Run with a clock that stands still: exactly the capacity is admitted."""
    clock = ManualClock()
    capacity = sizes.threads * sizes.calls // 2
    bucket = TokenBucket(capacity, 1, clock=clock)
    runs = [caller(bucket, sizes.calls) for _ in range(sizes.threads)]
    admitted = sum(in_threads([*runs, canceller(bucket, sizes.cancelled)]))
    level = bucket.available_tokens
    if admitted + level != capacity:
        failures.append(f"frozen: {admitted} admitted and {level} left of {capacity}")
    while bucket.allow():
        admitted += 1
    if admitted != capacity:
        failures.append(f"frozen: {admitted} admitted of {capacity}")
    asyncio.run(cancel_in_debt(bucket, sizes.cancelled, failures))
    if clock.sleepers:
        failures.append(f"frozen: {clock.sleepers} left asleep")
    return admitted


async def cancel_in_debt(bucket: TokenBucket, waits: int, failures: list[str]) -> None:
    """Cancel waits on an empty bucket, all asleep at once, while a thread keeps asking."""
    stop, stolen = Event(), []
    thread = Thread(target=lambda: ask_until(stop, bucket, stolen))
    before = bucket.retry_after()
    thread.start()
    for _ in range(0, waits, BATCH):
        tasks = [asyncio.create_task(bucket.wait_async(3)) for _ in range(BATCH)]
        await asyncio.sleep(0)
        owed = bucket.retry_after()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if (owed, bucket.retry_after()) != (before + 3 * BATCH, before) or bucket.level.waiting:
            failures.append(f"cancelled: {owed} s owed, then {bucket.retry_after()}, not {before}")
            break
    stop.set()
    thread.join()
    if stolen:
        failures.append(f"cancelled: {len(stolen)} admitted from an empty bucket")


def ask_until(stop: Event, bucket: TokenBucket, stolen: list[bool]) -> None:
    while not stop.is_set():
        if bucket.allow():
            stolen.append(True)


def run_real(sizes: argparse.Namespace, failures: list[str]) -> tuple[int, float]:
    """Run on the machine's clock: no more is admitted than the capacity and what came back."""
    began = time.monotonic()
    bucket = TokenBucket(1_000, RATE)
    threads = [caller(bucket, sizes.calls) for _ in range(sizes.threads)]
    loops = [loop_of(bucket, sizes.tasks) for _ in range(sizes.loops)]
    admitted = sum(in_threads([*threads, *loops, canceller(bucket, sizes.cancelled)]))
    due = 1_000 + RATE * (time.monotonic() - began)
    if not 0 < admitted <= due:
        failures.append(f"real: {admitted} admitted where {due:.0f} were due")
    return admitted, due


def run_settling(sizes: argparse.Namespace, failures: list[str]) -> int:
    """Take from two buckets in threads and settle for less: all is there, so none is refused."""
    capacity = 20 * sizes.threads * sizes.calls
    one, other = TokenBucket(capacity, 0.001), TokenBucket(capacity, 0.001)
    limiter = RateLimiter(BucketGroup(one, other), block=False)
    calls = max(sizes.calls // 100, 100)

    def run() -> Counter[str]:
        ends: Counter[str] = Counter()
        for _ in range(calls):
            try:
                with limiter.acquire(9) as permit:
                    permit.settle(5)
                ends["served"] += 1
            except RateLimitExceeded:
                ends["refused"] += 1
        return ends

    ends = sum(in_threads([run] * SETTLING), Counter())
    if ends["refused"]:
        failures.append(f"settling: {ends['refused']} refused with all tokens there")
    gone = [round(capacity - bucket.available_tokens) for bucket in (one, other)]
    if gone != [5 * ends["served"]] * 2:
        failures.append(f"settling: {gone} gone for {5 * ends['served']} used")
    return ends["served"]


def megabytes() -> float:
    """Return the memory in use in MiB, or 0.0 where the system does not tell."""
    gc.collect()
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return 0.0
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=100_000, help="of each thread")
    parser.add_argument("--loops", type=int, default=1, help="in threads of their own")
    parser.add_argument("--tasks", type=int, default=1_000, help="of each loop")
    parser.add_argument("--cancelled", type=int, default=1_000, help="waits")
    sizes = parser.parse_args()
    failures: list[str] = []
    small = argparse.Namespace(threads=sizes.threads, calls=100, loops=1, tasks=100, cancelled=100)
    with switching_often():
        run_real(small, failures)  # so that what is only ever made once is there
        before = megabytes()
        frozen = run_frozen(sizes, failures)
        real, due = run_real(sizes, failures)
        settled = run_settling(sizes, failures)
        growth = megabytes() - before
    if growth > GROWTH:
        failures.append(f"memory grew by {growth:.1f} MiB")
    finish(
        failures,
        frozen_admitted=frozen,
        real_admitted=real,
        real_due=round(due),
        cancelled=sizes.cancelled,
        settled=settled,
        growth_mib=round(growth, 1),
    )


if __name__ == "__main__":
    main()
