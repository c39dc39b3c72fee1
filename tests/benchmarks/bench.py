"""Measure the package against a hand-written bucket, in one run, on one machine.

    python tests/benchmarks/bench.py [--rounds 200] [--strict] [--part local|redis]

Every time is the least of many rounds, in which all candidates take turns, so that what else the
machine does falls on all alike and is left out. A ratio below 1 is faster than the reference. How
buckets on a server are measured is said in redis_bench.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from timeit import Timer

import redis_bench
from by_hand import by_hand, by_hand_async, by_hand_for_keys
from reference import Reference
from waiting import figures

from rate_limiter import RateLimiter, TokenBucket, rate_limited

PLENTY = 10**12  # tokens: what is to be admitted always is
NEVER = 1e-6  # tokens per second: what is to be refused always is
ROUND = 0.004  # seconds that each candidate gets in a round
AWKWARD = (7, 0.123456789)  # capacity and rate that make large integers

Measure = Callable[[int], float]  # seconds for so many repetitions


@dataclass
class Row:
    """One comparison: what is measured, with what, and the most it should take of that."""

    label: str
    candidate: str
    reference: str
    target: float | None = None


ROWS = [
    Row("allow()", "allow", "ref allow", 1.0),
    Row("allow(), refused", "refused", "ref refused", 1.0),
    Row("decorated function / closure", "function", "ref function", 1.6),
    Row("decorated method / closure", "method", "ref method", 2.0),
    Row("with limiter.acquire(1): / allow()", "acquire", "ref allow", 2.5),
    Row("with limiter: / allow()", "context", "ref allow"),
    Row("allow(2)", "allow 2", "ref allow 2"),
    Row("allow(0.5)", "allow 0.5", "ref allow 0.5"),
    Row("await wait_async() / await allow()", "wait_async", "ref async", 1.5),
    Row("decorated coroutine / closure", "coroutine", "ref coroutine"),
    Row("decorated with key / closure", "keyed", "ref keyed"),
    Row("decorated with key / without", "keyed", "function", 2.0),
]


def methods(decorate: Callable[[Callable], Callable]) -> object:
    """Return an instance with a decorated method that does nothing."""

    class Client:
        @decorate
        def method(self) -> None:
            pass

    return Client()


def nothing() -> None:
    pass


def nothing_for(key: str) -> None:
    pass


async def nothing_async() -> None:
    pass


def statement(text: str, **names: object) -> Measure:
    return Timer(text, globals=names).timeit


def awaiting(make: Callable[[], object], loop: asyncio.AbstractEventLoop) -> Measure:
    """Time awaiting what `make` returns, within one task."""

    async def repeat(number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            await make()
        return time.perf_counter() - began

    return lambda number: loop.run_until_complete(repeat(number))


def references(loop: asyncio.AbstractEventLoop) -> dict[str, Measure]:
    reference = Reference(PLENTY, 1)
    empty = Reference(1, NEVER)
    empty.allow()
    limited = by_hand(reference)

    async def allow() -> bool:
        return reference.allow()

    keyed = by_hand_for_keys(lambda: Reference(PLENTY, 1))(nothing_for)
    return {
        "ref allow": statement("f()", f=reference.allow),
        "ref refused": statement("f()", f=empty.allow),
        "ref allow 2": statement("f(2)", f=reference.allow),
        "ref allow 0.5": statement("f(0.5)", f=reference.allow),
        "ref function": statement("f()", f=limited(nothing)),
        "ref method": statement("o.method()", o=methods(limited)),
        "ref async": awaiting(allow, loop),
        "ref coroutine": awaiting(by_hand_async(reference)(nothing_async), loop),
        "ref keyed": statement("f('key')", f=keyed),
    }


def candidates(loop: asyncio.AbstractEventLoop) -> dict[str, Measure]:
    bucket = TokenBucket(PLENTY, 1)
    limiter = RateLimiter(bucket)
    empty = TokenBucket(1, NEVER)
    empty.allow()
    keyed = rate_limited(PLENTY, 1, key=str)(nothing_for)
    return {
        "allow": statement("f()", f=bucket.allow),
        "refused": statement("f()", f=empty.allow),
        "allow 2": statement("f(2)", f=bucket.allow),
        "allow 0.5": statement("f(0.5)", f=bucket.allow),
        "function": statement("f()", f=limiter(nothing)),
        "method": statement("o.method()", o=methods(limiter)),
        "acquire": statement("with limiter.acquire(1): pass", limiter=limiter),
        "context": statement("with limiter: pass", limiter=limiter),
        "wait_async": awaiting(bucket.wait_async, loop),
        "coroutine": awaiting(limiter(nothing_async), loop),
        "keyed": statement("f('key')", f=keyed),
    }


def least(measures: dict[str, Measure], rounds: int) -> dict[str, float]:
    """Return the least seconds that one repetition of each took, all taking turns."""
    numbers = {}
    for name, measure in measures.items():
        measure(1_000)
        numbers[name] = max(1_000, int(1_000 * ROUND / measure(1_000)))
    best = dict.fromkeys(measures, float("inf"))
    for _ in range(rounds):
        for name, measure in measures.items():
            best[name] = min(best[name], measure(numbers[name]) / numbers[name])
    return best


def owned(bucket: TokenBucket, other: TokenBucket) -> int:
    """Return the bytes of what `bucket` is made of and does not share with every other."""
    shared, mine = parts(other), parts(bucket)
    return sum(sys.getsizeof(part) for key, part in mine.items() if key not in shared)


def parts(thing: object) -> dict[int, object]:
    """Walk down slots and instance dictionaries; return every object found, by identity."""
    found = {id(thing): thing}
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        for slot in [slots] if isinstance(slots, str) else slots:
            if slot != "__weakref__" and hasattr(thing, slot):
                found |= parts(getattr(thing, slot))
    names = getattr(thing, "__dict__", None)
    if isinstance(names, dict):
        found[id(names)] = names
        for part in names.values():
            found |= parts(part)
    return found


def line(label: str, ratio: str, target: str, verdict: str, times: str = "") -> None:
    print(f"{label:36} {ratio:>7} {target:>7} {verdict:7} {times}")  # noqa: T201 - a script's output


def verdict(value: float, target: float | None) -> str:
    if target is None:
        return ""
    return "ok" if value <= target else "MISSED"


def report(best: dict[str, float]) -> int:
    """Print a line for each row; return how many missed their targets."""
    missed = 0
    for row in ROWS:
        mine, other = best[row.candidate], best[row.reference]
        said = verdict(mine / other, row.target)
        missed += said == "MISSED"
        times = f"{mine * 1e9:6.0f} / {other * 1e9:.0f} ns"
        line(row.label, f"{mine / other:.2f}", f"{row.target or ''}", said, times)
    return missed


def run_local(rounds: int) -> int:
    """Measure what happens in this process; return how many missed their targets."""
    loop = asyncio.new_event_loop()
    best = least(references(loop) | candidates(loop), rounds)
    loop.close()
    line(f"Python {sys.version.split()[0]}", "ratio", "target", "")
    missed = report(best)
    size = owned(TokenBucket(*AWKWARD), TokenBucket(PLENTY, 1))
    for label, value, target, more in [("bytes of a bucket", size, 350, False), *figures()]:
        met = value >= target if more else value <= target
        line(label, f"{value:.4g}", f"{target:g}", "ok" if met else "MISSED")
        missed += not met
    return missed


def run_redis() -> int:
    """Measure buckets on a server; return how many missed their targets."""
    reason = redis_bench.left_out()
    if reason is not None:
        print(f"buckets on a server are left out: {reason}")  # noqa: T201 - a script's output
        return 0
    missed = 0
    line("buckets on a server", "ratio", "target", "")
    for figure in redis_bench.figures():
        said = verdict(figure.value, figure.target)
        missed += said == "MISSED"
        line(figure.label, f"{figure.value:.4g}", f"{figure.target or ''}", said, figure.detail)
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--strict", action="store_true", help="exit non-zero if a target is missed")
    parser.add_argument("--part", choices=["local", "redis"], help="measure only this part")
    options = parser.parse_args()
    missed = 0 if options.part == "redis" else run_local(options.rounds)
    missed += 0 if options.part == "local" else run_redis()
    sys.exit(1 if options.strict and missed else 0)


if __name__ == "__main__":
    main()
