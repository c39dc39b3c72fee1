"""Measure the waiting line and the keys: rates reached, times that must stay linear, bytes."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from threading import Thread

from rate_limiter import KeyedRateLimiter, TokenBucket

MANY = 10_000


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
    """Return the seconds that so many tasks take to join the line, and to be served at once."""
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
    """Return the seconds that a cancellation in the middle of so many takes."""
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


def bytes_of_key(keys: int = 50_000) -> float:
    """Return what a key takes, all told but the key itself."""
    names = [f"user {number}" for number in range(keys)]
    limiters = KeyedRateLimiter(lambda: TokenBucket(5, 1e-3))
    tracemalloc.start()
    for name in names:
        limiters[name].bucket.allow()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / keys


def figures() -> list[tuple[str, float, float, bool]]:
    """Return what was measured: label, figure, target, and whether more is better."""
    joins, serves = zip(*(asyncio.run(queue(number)) for number in (MANY // 10, MANY)), strict=True)
    return [
        ("8 threads at 1000/s: part of the rate", rate_of_waiting_threads(), 0.95, True),
        ("10,000 join / ten times 1,000", joins[1] / joins[0] / 10, 2.0, False),
        ("10,000 served / ten times 1,000", serves[1] / serves[0] / 10, 2.0, False),
        ("ms to cancel one of 10,000", asyncio.run(cancellation(MANY)) * 1e3, 20.0, False),
        ("bytes of a key", bytes_of_key(), 400.0, False),
    ]
