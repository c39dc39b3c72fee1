"""Measure waiting: rates reached, times that must stay linear, processor time of a single wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from threading import Thread

from table import Figure

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

MANY = 10_000
TIMES = 3  # of which the least counts
MICRO = 1e6


def rate_of_waiting_threads(seconds: float = 2.0, threads: int = 8, rate: int = 1_000) -> float:
    """Return the part of the rate that blocking threads get."""
    bucket = TokenBucket(10, rate, initial_tokens=0)
    counts: list[int] = []
    until = time.monotonic() + seconds

    def take() -> None:
        count = 0
        while time.monotonic() < until:
            bucket.wait()
            count += 1
        counts.append(count)

    workers = [Thread(target=take) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (rate * seconds)


async def queue(waiters: int) -> tuple[float, float]:
    """Return the seconds that this many tasks take to join the line, and to be served at once."""
    bucket = TokenBucket(1, 10**9, initial_tokens=0)
    bucket.pause(waiters / 10_000)
    began = time.perf_counter()
    tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(waiters)]
    await asyncio.sleep(0)
    joined = time.perf_counter()
    await asyncio.sleep(waiters / 10_000)
    served = time.perf_counter()
    await asyncio.gather(*tasks)
    return joined - began, time.perf_counter() - served


async def cancellation(waiters: int) -> float:
    """Return the seconds that a cancellation in the middle of this many takes."""
    bucket = TokenBucket(1, 1e-3, initial_tokens=0)
    tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(waiters)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    tasks[waiters // 2].cancel()
    await asyncio.wait([tasks[waiters // 2]])
    took = time.perf_counter() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took


def alone(bucket: TokenBucket, waits: int) -> float:
    """Return the processor time of a wait that nobody else is in line for, in microseconds."""
    began = time.process_time()
    for _ in range(waits):
        bucket.wait()
    return (time.process_time() - began) / waits * MICRO


async def alone_async(bucket: TokenBucket, waits: int) -> float:
    """Return the same for a task."""
    began = time.process_time()
    for _ in range(waits):
        await bucket.wait_async()
    return (time.process_time() - began) / waits * MICRO


def on_manual_clock() -> TokenBucket:
    """Make a bucket whose waits take no time but the processor's."""
    return TokenBucket(1, 1, initial_tokens=0, clock=ManualClock(auto_advance=True))


def on_real_clock() -> TokenBucket:
    """Make a bucket whose waits really sleep, for a millisecond each."""
    return TokenBucket(1, 1_000, initial_tokens=0)


def single_waits() -> Iterator[Figure]:
    """Measure waits that are alone in line."""
    for clock, make, waits in [("manual", on_manual_clock, 4_000), ("real", on_real_clock, 400)]:
        label = f"us of processor for a lone wait(), {clock} clock"
        yield Figure(label, min(alone(make(), waits) for _ in range(TIMES)))
        label = f"us of processor for a lone wait_async(), {clock} clock"
        yield Figure(label, min(asyncio.run(alone_async(make(), waits)) for _ in range(TIMES)))


def waiting() -> Iterator[Figure]:
    """Measure everything."""
    yield from single_waits()
    share = rate_of_waiting_threads()
    yield Figure("8 threads at 1000/s: part of the rate", share, 0.95, more=True)
    runs = [[asyncio.run(queue(number)) for number in (MANY // 10, MANY)] for _ in range(TIMES)]
    for position, what in enumerate(["join", "are served"]):
        few, many = (min(run[size][position] for run in runs) for size in (0, 1))
        yield Figure(f"10,000 {what} / ten times 1,000", many / few / 10, 2.0)
    yield Figure("ms to cancel one of 10,000 tasks", asyncio.run(cancellation(MANY)) * 1e3, 20.0)
