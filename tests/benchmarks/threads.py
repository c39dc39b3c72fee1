"""Measure what threads do at the same time, which take each other's turns amid it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from threading import Barrier, Thread
from time import perf_counter

from calls import PLENTY
from measuring import NANO, Measure, Sample, by_turns, repetitions, statement
from reference import ReferenceBucket
from table import Figure, aim

from rate_limiter import TokenBucket

__all__ = ["share_of_threads", "threads", "together"]

THREADS = 8
LONG = 25  # ms that each thread is at work if it has not to wait: five turns of the global lock
EVERY = 10  # rounds of other rows take as long as one of this


def together(run: Callable[[], object], threads: int = THREADS) -> float:
    """Run something in threads that begin at once; return the seconds until all are done."""
    began: list[float] = []
    start = Barrier(threads, lambda: began.append(perf_counter()))

    def work() -> None:
        start.wait()
        run()

    workers = [Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return perf_counter() - began[0]


def share_of_threads(measure: Measure) -> Sample:
    """Return what measures the seconds for each of the calls that all threads make at once."""
    number = repetitions(measure) * LONG
    return lambda: together(lambda: measure(number)) / (number * THREADS)


def threads(rounds: int) -> Iterator[Figure]:
    """Compare how many decisions threads get in all, of a bucket and of one by hand."""
    mine, reference = (
        share_of_threads(statement("f()", f=make(PLENTY, 1).allow))
        for make in (TokenBucket, ReferenceBucket)
    )
    took = by_turns(mine, reference, max(1, rounds // EVERY))
    ratio = median(another / one for one, another in took)
    detail = "{:,.0f} / {:,.0f} ns".format(
        *(median(each) * NANO for each in zip(*took, strict=True))
    )
    label = f"{THREADS} threads at once, decisions of allow()"
    yield Figure(label, ratio, aim(8, 1), detail, more=True)
