"""Many threads and tasks at one limit: what a check takes, the rate reached, what waits cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic, process_time

from measuring import Sample
from threads import share_of_threads, together

from everybody.contender import PLENTY, Contender, Limit
from everybody.row import Bench, Sampler
from everybody.timed import Timed

__all__ = ["in_tasks", "in_threads", "processor_per_wait", "rate_reached"]

SECONDS = 0.25  # that threads wait at a limit
CAPACITY = 10  # so that a wait that ends late takes nothing from the rate
TASKS, FAST = 10_000, 100_000  # tasks at a limit, and its rate
PATIENCE = 3.0  # seconds, after which tasks that were not served do not count


def in_threads(contender: Contender, bench: Bench) -> Sample | None:
    """Measure one check of all that threads make at the same time."""
    call = contender.check(PLENTY)
    if call is None:
        return None
    timed = bench.timed(call)
    share = share_of_threads(timed)

    def sample() -> float:
        took = share()
        timed.check()
        return took

    return sample


def until(end: float, counts: list[int]) -> Iterator[None]:
    """Yield until an instant; then tell how often what was done came to its end before it."""
    count = 0
    while True:
        yield
        if monotonic() >= end:
            counts.append(count)
            return
        count += 1


def waits(timed: Timed, threads: int) -> tuple[int, float]:
    """Wait again and again; return how often, and the processor's seconds."""
    counts: list[int] = []
    end, began = monotonic() + SECONDS, process_time()
    together(lambda: timed.run(until(end, counts)), threads)
    timed.check()
    return sum(counts), process_time() - began


def waited(limit: Limit, threads: int, figure: Callable[[int, float], float]) -> Sampler:
    """Measure threads that wait at a limit, whose bucket is emptied before."""

    def sampler(contender: Contender, bench: Bench) -> Sample | None:
        call = contender.waiting(limit)
        if call is None:
            return None
        timed = bench.timed(call)

        def sample() -> float:
            timed(limit.capacity)
            return figure(*waits(timed, threads))

        return sample

    return sampler


def rate_reached(rate: int, threads: int) -> Sampler:
    limit = Limit(CAPACITY, rate)
    return waited(limit, threads, lambda count, _: count / (rate * SECONDS))


def processor_per_wait(rate: int, threads: int) -> Sampler:
    """Measure what a wait takes where each one has to sleep: one token is there at most."""
    return waited(Limit(1, rate), threads, lambda count, took: took / max(1, count))


def in_tasks(contender: Contender, bench: Bench) -> Sample | None:
    """Measure the processor's time for each of many tasks that wait at a limit."""
    limit = Limit(CAPACITY, FAST)
    if contender.crowded(limit) is None:
        return None
    return lambda: bench.loop.run_until_complete(crowd(bench.timed(contender.crowded(limit))))


async def crowd(timed: Timed) -> float:
    """Return the seconds for each task that was served in time."""
    began = process_time()
    tasks = [asyncio.ensure_future(timed.start((None,))) for _ in range(TASKS)]
    done, late = await asyncio.wait(tasks, timeout=PATIENCE)
    took = process_time() - began
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        timed.check_answer(task.result()[1])
    return took / max(1, len(done))
