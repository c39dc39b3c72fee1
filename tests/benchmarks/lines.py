"""Measure long lines: places taken, given up and asked about, and what they cost everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from random import Random
from statistics import median
from threading import Event, Thread
from time import perf_counter
from timeit import Timer

from table import Figure

from rate_limiter import BucketGroup, Reservation, TokenBucket

SCHEDULED = 4_000  # reservations whose delay is asked for at once
MANY = 10_000  # reservations in a line
CROWD = 100_000  # tasks that wait for one bucket
BESIDE = 2_000  # reservations in a group's line that others should not notice
TIMES = 5  # that something is done to a line, for a median
LINES = 3  # that others are looked at beside
RUNS, CALLS = 10, 20  # of what others do, each time
PATIENCE = 5.0  # seconds, after which what should take one is given up
MILLI = 1e3
MICRO = 1e6


def lines() -> Iterator[Figure]:
    """Measure everything."""
    yield within_a_second(f"s for {SCHEDULED:,} x (reserve() and its .delay)", scheduled())
    yield within_a_second(f"s to cancel {MANY:,} reservations, shuffled", cancellations())
    yield family_replay(f"ms to ask in a family of groups, {MANY:,} in line, changed")
    yield from beside_a_line()
    held_up, took = asyncio.run(configuring(CROWD))
    label = f"ms that configure() with {CROWD:,} waiters holds others up"
    yield Figure(label, held_up * MILLI, 20.0, f"it takes {took * MILLI:,.1f} ms")


def seconds(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


def within_a_second(label: str, steps: Sequence[Callable[[], object]]) -> Figure:
    """Carry all steps out; those that would take very long are told from the first of them."""
    began = perf_counter()
    done = 0
    for done, step in enumerate(steps, 1):  # noqa: B007 - how many were done is told below
        step()
        if perf_counter() - began > PATIENCE:
            break
    took = perf_counter() - began
    detail = "" if done == len(steps) else f"at least: {took:.3g} s for {done:,} of them"
    return Figure(label, took * len(steps) / done, 1.0, detail)


def scheduled() -> Sequence[Callable[[], object]]:
    """Return what a scheduler does: reserve for every job, and ask when it may run."""
    bucket = TokenBucket(1, 1)
    kept = []

    def schedule() -> None:
        kept.append(bucket.reserve())
        assert kept[-1].delay < SCHEDULED

    return [schedule] * SCHEDULED


def cancellations() -> Sequence[Callable[[], object]]:
    """Return what makes all of a line leave it, in any order."""
    bucket = TokenBucket(1, 1)
    reservations = [bucket.reserve() for _ in range(MANY)]
    Random(0).shuffle(reservations)  # noqa: S311 - the same order every time
    return [reservation.cancel for reservation in reservations]


def line_up(reserves: Sequence[Callable[[], Reservation]], count: int) -> list[Reservation]:
    """Reserve with each in turn; the line is shorter than asked for if that takes very long."""
    began = perf_counter()
    line: list[Reservation] = []
    while len(line) < count and perf_counter() - began < PATIENCE:
        line.append(reserves[len(line) % len(reserves)]())
    return line


def family_replay(label: str) -> Figure:
    """Time asking the last in a family of groups for its delay, after a change at the front."""
    buckets = [TokenBucket(10, 5) for _ in range(4)]
    groups = [BucketGroup(*pair) for pair in pairwise(buckets)]
    line = line_up([group.reserve for group in groups], MANY)
    found = len(line)
    last = line[-1]
    assert last.delay > 0

    def change_and_ask() -> None:
        line.pop(0).cancel()
        assert last.delay > 0

    took = median(seconds(change_and_ask) for _ in range(TIMES))
    detail = "" if found == MANY else f"at least: {took * MILLI:.3g} ms with {found:,}"
    return Figure(label, took * MILLI * MANY / found, 50.0, detail)


def beside_a_line() -> Iterator[Figure]:
    """Compare what others do beside a group's line with what they do without one."""
    group = BucketGroup(TokenBucket(10, 5), TokenBucket(10, 3))
    short = line_up([BucketGroup(TokenBucket(1, 5), TokenBucket(1, 3)).reserve], 2)
    refund = partial(TokenBucket(10, 1).refund, 1)

    def refund_and_ask(last: Reservation) -> None:
        refund()
        assert last.delay >= 0

    refunds, answers = [], []
    for _ in range(LINES):
        alone = least(refund)
        line = line_up([group.reserve], BESIDE)
        assert line[-1].delay > 0
        refunds.append((least(refund), alone))
        answers.append(tuple(least(partial(refund_and_ask, one[-1])) for one in (line, short)))
        while line:
            line.pop().cancel()
    yield ratio(f"refund of another bucket, a group's line of {BESIDE:,} / none", refunds)
    yield ratio("and then the delay of the last in it / in a line of 2", answers)


def least(call: Callable[[], object]) -> float:
    """Return the seconds of a call, in the quickest of several short runs."""
    return min(Timer(call).repeat(RUNS, CALLS)) / CALLS


def ratio(label: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    """Return the median of the ratios: 1 if a line costs nothing, and a little for noise."""
    one, other = (median(times) * MICRO for times in zip(*pairs, strict=True))
    return Figure(
        label, median(one / other for one, other in pairs), 1.2, f"{one:.3g} / {other:.3g} us"
    )


async def configuring(waiters: int) -> tuple[float, float]:
    """Return the longest time that another bucket's `allow` takes meanwhile, and the whole time."""
    bucket = TokenBucket(1, 0.001, initial_tokens=0)
    tasks = [asyncio.create_task(bucket.wait_async()) for _ in range(waiters)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    measured = []
    for turn in range(TIMES):
        with Prober() as prober:
            took = seconds(lambda turn=turn: bucket.configure(1, 0.002 + turn / 1000))
            await asyncio.sleep(0)
        measured.append((prober.longest, took))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    longest, times = zip(*measured, strict=True)
    return median(longest), median(times)


class Prober:
    """A thread that asks a bucket of its own all the time, and notes its longest call."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._allow = TokenBucket(10**9, 1).allow
        self._started, self._stopped = Event(), Event()
        self._thread = Thread(target=self._ask)

    def _ask(self) -> None:
        self._started.set()
        while not self._stopped.is_set():
            self.longest = max(self.longest, seconds(self._allow))

    def __enter__(self) -> Prober:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
