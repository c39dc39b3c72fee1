"""Measure floors: the least that what another library does sooner could take here.

A floor does what the package cannot do without, in plain Python, and nothing else: it checks no
argument, and has no line and no exact arithmetic. Each is measured by turns with the package.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from threading import Lock
from types import ModuleType

from calls import NEVER, PLENTY, nothing_for, with_new_keys
from canned import Canned
from everybody.outside import import_of, told_in_child
from everybody.row import UNITS
from everybody.rows import crowd
from measuring import Measure, Pair, Sample, by_turns, compare, statement
from requests import PreparedRequest, Request, Response
from table import Figure
from threads import THREADS, together

from rate_limiter import RateLimiter, TokenBucket, rate_limited
from rate_limiter.http.requests import RateLimitAdapter

SECONDS = 0.1  # that threads wait
TASKS, FAST = 10_000, 100_000  # tasks at a limit, and its rate
EVERY = 20  # rounds of calls take as long as one of anything else


class BareLedger:
    """As many fields as what a bucket remembers has."""

    __slots__ = ("closed_until", "fast", "full_at", "limit", "line")

    def __init__(self, limit: object, full_at: int) -> None:
        self.limit = self.fast = limit
        self.full_at = full_at
        self.closed_until = self.line = None


class BareBucket:
    """As many fields as a bucket has, and the same parameters, of which none is looked at."""

    __slots__ = ("_clock", "_ledger", "_now")

    def __init__(
        self,
        capacity: float,
        tokens_per_second: float,
        *,
        initial_tokens: float | None = None,
        clock: object = None,
    ) -> None:
        self._clock: ModuleType = time
        self._now = time.monotonic_ns
        self._ledger = BareLedger(self, self._now())


class BareLine:
    """A bucket of one token whose callers stand in line: each sleeps at a lock until its turn.

    Nobody may leave early, and nothing may change meanwhile.
    """

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._lock = Lock()
        self._line: deque[object] = deque()
        self._last = time.monotonic()  # when the last one is served

    def wait(self) -> None:
        gate = Lock()
        gate.acquire()
        with self._lock:
            now = time.monotonic()
            self._line.append(gate)
            self._last = due = max(self._last + self._gap, now)
        gate.acquire(True, due - now)
        with self._lock:
            self._line.popleft()


class BareAdapter(Canned):
    """An adapter of requests that asks a bucket before it lets another send."""

    def __init__(self, transport: Canned) -> None:
        super().__init__()
        self._transport, self._bucket = transport, TokenBucket(PLENTY, 1)

    def send(self, request: PreparedRequest, **options: object) -> Response:
        self._bucket.wait()
        return self._transport.send(request, **options)


def floors(rounds: int) -> Iterator[Figure]:
    """Measure everything."""
    made = statement("make(10, 5)", make=TokenBucket), statement("make(10, 5)", make=BareBucket)
    new = with_new_keys(lambda: rate_limited(5, NEVER, key=str)(nothing_for))
    pairs = [
        Pair("making a bucket / two objects and a look at the clock", *made),
        Pair("a call with a new key / a dict's entry, the clock", new, new_entries()),
        Pair("send() of requests / the same around a wait()", *sending()),
    ]
    yield from compare(pairs, rounds)
    few = max(1, rounds // EVERY)
    for rate in (1_000, 10_000):
        for number in (1, THREADS):
            label = f"processor of a wait {crowd(rate, number)} / of a sleep"
            pair = waiting(rate, number), sleeping(rate, number)
            yield over_floor(label, few, pair)
            label = f"processor of a wait {crowd(rate, number)} / of one in a line by hand"
            yield over_floor(label, few, (waiting(rate, number), in_line(rate, number)))
    label = f"processor of each of {TASKS:,} tasks that wait / that sleep"
    yield over_floor(label, few, (tasks_waiting, tasks_sleeping))
    pair = import_of("rate_limiter"), import_of(*others())
    yield over_floor("processor of the import / of what it imports", few, pair, "ms")


def over_floor(label: str, rounds: int, pair: tuple[Sample, Sample], unit: str = "µs") -> Figure:
    """Compare a sample with its floor, each taken as often as the other."""
    took = by_turns(*pair, rounds)
    one, another = (median(each) * UNITS[unit] for each in zip(*took, strict=True))
    ratio = median(first / second for first, second in took)
    return Figure(label, ratio, detail=f"{one:.3g} / {another:.3g} {unit}")


def new_entries() -> Measure:
    """Time calls that note for each new key when its bucket is full."""

    def decorated() -> Callable[[str], object]:
        full_at: dict[str, int] = {}
        now = time.monotonic_ns

        def call(key: str) -> None:
            noted = str(key)
            if noted not in full_at:
                full_at[noted] = now() + 10**9
            return nothing_for(key)

        return call

    return with_new_keys(decorated)


def sending() -> tuple[Measure, Measure]:
    request = Request("GET", "https://example.org/").prepare()
    mine = RateLimitAdapter(RateLimiter(TokenBucket(PLENTY, 1)), transport=Canned())
    return tuple(  # type: ignore[return-value] - of two
        statement("f(r)", f=adapter.send, r=request) for adapter in (mine, BareAdapter(Canned()))
    )


def waiting(rate: int, threads: int) -> Sample:
    """Return what measures the processor's seconds for a wait of threads at one limit."""
    bucket = TokenBucket(1, rate)
    return lambda: processor(bucket.wait, threads)


def sleeping(rate: int, threads: int) -> Sample:
    """Return what measures the same for threads that sleep as often as they would be served."""
    return lambda: processor(lambda: time.sleep(threads / rate), threads)


def in_line(rate: int, threads: int) -> Sample:
    """Return what measures the same for threads that stand in line, by hand."""
    line = BareLine(rate)
    return lambda: processor(line.wait, threads)


def processor(wait: Callable[[], object], threads: int) -> float:
    """Return the processor's seconds for each of the waits that threads make for a while."""
    counts: list[int] = []

    def work() -> None:
        count, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            wait()
            count += 1
        counts.append(count)

    began = time.process_time()
    together(work, threads)
    return (time.process_time() - began) / sum(counts)


def tasks_waiting() -> float:
    bucket = TokenBucket(10, FAST, initial_tokens=0)
    return asyncio.run(many(lambda number: bucket.wait_async()))


def tasks_sleeping() -> float:
    return asyncio.run(many(lambda number: asyncio.sleep(number / FAST)))


async def many(wait: Callable[[int], Awaitable[object]]) -> float:
    """Return the processor's seconds for each of many tasks that wait."""

    async def work(number: int) -> None:
        await wait(number)

    began = time.process_time()
    await asyncio.gather(*map(work, range(1, TASKS + 1)))
    return (time.process_time() - began) / TASKS


def others() -> list[str]:
    """Return the names of all other modules that are in memory once the package is imported."""
    code = "before = set(sys.modules); import rate_limiter; "
    code += "print(*[name for name in sys.modules if name not in before])"
    return [name for name in told_in_child(code).split() if not name.startswith("rate_limiter")]
