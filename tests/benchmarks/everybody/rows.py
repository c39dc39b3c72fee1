"""The rows of the tables: what is measured, in which unit, and how each contender is asked."""

from __future__ import annotations

from collections.abc import Callable

from measuring import Sample

from everybody import crowds, outside, web
from everybody.contender import FEW, NEVER, PLENTY, Call, Contender
from everybody.row import Bench, Row, Sampler, called
from everybody.timed import calls

__all__ = ["PARTS"]

NEW_KEYS = 500  # a sample, so short that it is seldom interrupted
WAITS, MEMORY = 20, 100  # rounds for one sample
CROWDS = [(rate, threads) for rate in (1_000, 10_000) for threads in (1, 8)]


def checked(cost: float) -> Sampler:
    return called(lambda one: one.check(PLENTY, cost) if cost in one.costs else None)


def refused(contender: Contender, bench: Bench) -> Sample | None:
    call = contender.check(NEVER)
    return None if call is None else calls(bench.timed(call), admitted=False)


def decorated(use: Callable[[Callable], Call], *, by_key: bool = False) -> Sampler:
    """Measure calls of what is decorated, which return True."""

    def ask(contender: Contender) -> Call | None:
        get = contender.decorator_by_key if by_key else contender.decorator
        decorate = get(PLENTY)
        return None if decorate is None else use(decorate)

    return called(ask)


def function(decorate: Callable) -> Call:
    return Call("answer = f()", {"f": decorate(lambda: True)})


def with_key(decorate: Callable) -> Call:
    return Call("answer = f('key')", {"f": decorate(lambda key: True)})


def method(decorate: Callable) -> Call:
    class Client:
        @decorate
        def method(self) -> bool:
            return True

    return Call("answer = o.method()", {"o": Client()})


def coroutine(decorate: Callable) -> Call:
    @decorate
    async def fetch() -> bool:
        return True

    return Call("answer = await f()", {"f": fetch})


def new_key(contender: Contender, bench: Bench) -> Sample | None:
    """Measure calls, each with another key, of a limiter that has just been made."""
    if contender.for_key(FEW) is None:
        return None

    def sample() -> float:
        timed = bench.timed(contender.for_key(FEW))
        took = timed.run([f"user {number}" for number in range(NEW_KEYS)])
        timed.check()
        return took / NEW_KEYS

    return sample


def crowd(rate: int, threads: int) -> str:
    return f"at {rate:,}/s, {threads} thread{'s' if threads > 1 else ''}"


PARTS: dict[str, list[Row]] = {
    "calls": [
        Row("a check, allowed", "ns", checked(1), headline=True),
        Row("a check, refused", "ns", refused),
        Row("a check, cost 2", "ns", checked(2)),
        Row("a check, cost 0.5", "ns", checked(0.5)),
        Row("a decorated function", "ns", decorated(function), headline=True),
        Row("a decorated method", "ns", decorated(method)),
        Row("a decorated coroutine function", "ns", decorated(coroutine)),
        Row("a function decorated by key", "ns", decorated(with_key, by_key=True)),
        Row("a with-block", "ns", called(lambda one: one.block(PLENTY))),
        Row("an await", "ns", called(lambda one: one.awaited(PLENTY)), headline=True),
        Row("a check, 8 threads at once", "ns", crowds.in_threads, every=10),
        Row("making a bucket", "ns", called(lambda one: one.making())),
        Row("a new key", "ns", new_key, headline=True),
    ],
    "waits": [
        *(
            Row(f"rate reached {crowd(*each)}", "%", crowds.rate_reached(*each), every=WAITS)
            for each in CROWDS
        ),
        *(
            Row(
                f"processor for a wait {crowd(*each)}",
                "µs",
                crowds.processor_per_wait(*each),
                every=WAITS,
            )
            for each in CROWDS
        ),
        Row("processor for each of 10,000 tasks at 100,000/s", "µs", crowds.in_tasks, every=WAITS),
    ],
    "sizes": [
        Row("a bucket", "bytes", outside.memory("making"), every=MEMORY),
        Row(
            "a key, without the key itself",
            "bytes",
            outside.memory("for_key"),
            every=MEMORY,
            headline=True,
        ),
        Row("processor for the import", "ms", outside.importing, every=10),
    ],
    "stores": [
        Row("a check on Redis, p50", "µs", outside.on_a_server, headline=True),
        Row("a check with leases of 50 of Redis", "µs", outside.leased),
        Row("a key on Redis", "bytes", outside.server_memory, every=10),
        Row("a check in a file of SQLite, p50", "µs", outside.in_a_file, every=10),
    ],
    "HTTP": [
        Row("a request of Starlette", "µs", web.starlette),
        Row("a request of FastAPI, by a dependency", "µs", web.fastapi),
        Row("a request of Flask", "µs", web.flask),
        Row("a request by requests", "µs", web.requests),
    ],
}
