"""Measure buckets on a server: against a bare call and a minimal script, in bytes and in commands.

Whatever is compared takes turns in many short rounds, on one server that is started for it, so that
what else the machine does falls on both alike. A ratio is the median of those of the rounds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from inspect import isawaitable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from redis_scripts import CALLS, MICRO, PLENTY, ROUNDS, granted, recorded, server_times
from table import Figure

from rate_limiter import BucketGroup
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.shared.lease import Lease

sys.path.append(str(Path(__file__).parents[1] / "redis_servers"))

PREFIX = "rate_limiter:"  # bytes of a key that are not its bucket's own
BYTES = 128
KEYS = 100  # of each kind whose bytes are told
LIMITS = {  # as people write them
    "10 at 5/s": (10, 5),
    "10 at 3/s": (10, 3),
    "100/minute": (100, Fraction(100, 60)),
    "90000/minute": (90_000, Fraction(90_000, 60)),
    "1000/day": (1000, Fraction(1000, 86_400)),
    "128 at 128/s": (128, 128),
}
LEASE = Lease(50, 1)
REPEATED = 3  # times that each decision is made to count its commands


def left_out() -> str | None:
    """Tell why nothing of this can be measured, if so."""
    try:
        import servers
    except ImportError as error:
        return str(error)
    return None if servers.find_server() else servers.MISSING


def figures() -> Iterator[Figure]:
    """Measure everything."""
    from servers import Server

    with Server() as server:
        yield from client_times(server)
        yield from lease_times(server)
        for pair, rounds in server_times(server):
            yield compared(pair.label, pair.target, rounds)
        yield from sizes(server.client())
        yield from commands(server)


def compared(label: str, target: float | None, rounds: list[tuple[float, float]]) -> Figure:
    """Return the median ratio of the microseconds in each round."""
    mine, other = (median(times) for times in zip(*rounds, strict=True))
    ratio = median(one / another for one, another in rounds)
    return Figure(label, ratio, target, f"{mine:6.1f} / {other:.1f} us")


def client_times(server: Any) -> Iterator[Figure]:
    """Compare `allow` with a bare call of the same script with the same arguments."""
    bucket = RedisTokenBucket(server.client(), "allow", PLENTY, 5)
    granted(bucket)
    arguments = recorded(server, bucket, granted)[1:]
    bare = server.client().evalsha
    bare(*arguments)
    rounds = [(p50(bucket.allow), p50(lambda: bare(*arguments))) for _ in range(ROUNDS)]
    yield compared("allow() / evalsha()", 1.15, rounds)
    rounds = asyncio.run(async_rounds(server, arguments))
    yield compared("await allow() / await evalsha()", 1.15, rounds)


def lease_times(server: Any) -> Iterator[Figure]:
    """Compare decisions a second with a lease to those without; the calls that ask count as well.

    So it is the mean of a whole round that counts, and not the median of its calls.
    """
    plain = RedisTokenBucket(server.client(), "plain", PLENTY, 5)
    leased = RedisTokenBucket(server.client(), "leased", PLENTY, 5, lease=LEASE)
    rounds = [(mean(plain.allow, CALLS), mean(leased.allow, 20 * CALLS)) for _ in range(ROUNDS)]
    without, within = (median(times) for times in zip(*rounds, strict=True))
    ratio = median(one / another for one, another in rounds)
    detail = f"{without:6.1f} / {within:.2f} us"
    yield Figure("decisions/s with leases of 50 / without", ratio, 20, detail, more=True)


def mean(call: Callable[[], object], number: int) -> float:
    """Return the mean of the microseconds that a call takes."""
    began = perf_counter()
    for _ in range(number):
        call()
    return (perf_counter() - began) / number * MICRO


async def async_rounds(server: Any, arguments: tuple[Any, ...]) -> list[tuple[float, float]]:
    async with server.async_client() as client, server.async_client() as other:
        bucket = AsyncRedisTokenBucket(client, "allow", PLENTY, 5)
        assert await bucket.allow()
        await other.evalsha(*arguments)
        return [
            (await async_p50(bucket.allow), await async_p50(lambda: other.evalsha(*arguments)))
            for _ in range(ROUNDS)
        ]


def p50(call: Callable[[], object]) -> float:
    """Return the microseconds that half of many calls keep below."""
    times = []
    for _ in range(CALLS):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return median(times) * MICRO


async def async_p50(call: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(CALLS):
        began = perf_counter()
        await call()
        times.append(perf_counter() - began)
    return median(times) * MICRO


def sizes(client: Any) -> Iterator[Figure]:
    """Tell what the server's memory holds for a bucket whose name has 8 characters."""
    for words, limit in LIMITS.items():
        yield size(client, f"bytes of a key, {words}", limit, BYTES)
    yield size(client, "bytes of a key, 1234 at 1234/s", (1234, 1234), BYTES)
    yield size(client, "bytes of a key, a caller waits", (10, 5), taken=11)


def size(
    client: Any,
    label: str,
    limit: tuple[float, float | Fraction],
    target: float | None = None,
    taken: int = 1,
) -> Figure:
    """Return the median of many keys, for an allocator gives more to one than to another."""
    names = [f"size{number:04}" for number in range(KEYS)]
    keys = [PREFIX + name for name in names]
    client.delete(*keys)
    for name in names:
        RedisTokenBucket(client, name, *limit).reserve(taken)
    own = median(client.memory_usage(key) - len(PREFIX) for key in keys)
    return Figure(label, own, target, client.get(keys[0]).decode())


@dataclass
class Buckets:
    """A bucket that never lacks anything, one that has to be waited for, and a group."""

    rich: Any
    poor: Any
    group: Any


DECISIONS: dict[str, Callable[[Buckets], Any]] = {
    "allow()": lambda buckets: buckets.rich.allow(),
    "wait() for nothing": lambda buckets: buckets.rich.wait(),
    "wait() for 50 ms": lambda buckets: buckets.poor.wait(),
    "refund(1)": lambda buckets: buckets.rich.refund(1),
    "retry_after()": lambda buckets: buckets.rich.retry_after(),
    "available_tokens": lambda buckets: buckets.rich.available_tokens,
    "allow() of a group": lambda buckets: buckets.group.allow(),
}


def buckets_of(kind: Callable[..., Any], client: Any) -> Buckets:
    one, two = kind(client, "one", PLENTY, 5), kind(client, "two", PLENTY, 3)
    return Buckets(one, kind(client, "poor", 1, 20), BucketGroup(one, two))


def commands(server: Any) -> Iterator[Figure]:
    """Count the commands that each decision sends."""
    for decision, counts in asyncio.run(counted(server)).items():
        detail = "threads {:g}, asyncio {:g}".format(*counts)
        yield Figure(f"commands: {decision}", max(counts), 1, detail)


async def counted(server: Any) -> dict[str, list[float]]:
    async with server.async_client() as client:
        both = [buckets_of(RedisTokenBucket, server.client())]
        both.append(buckets_of(AsyncRedisTokenBucket, client))
        return {
            decision: [await commands_of(server, decide, buckets) for buckets in both]
            for decision, decide in DECISIONS.items()
        }


async def commands_of(server: Any, decide: Callable[[Buckets], Any], buckets: Buckets) -> float:
    """Return the commands that were seen for each time that something was decided."""
    from servers import wire_log

    await done(decide(buckets))  # connects, and takes what there is at once
    with wire_log(server) as seen:
        for _ in range(REPEATED):
            await done(decide(buckets))
    assert len(seen) >= REPEATED, seen
    return len(seen) / REPEATED


async def done(answer: Any) -> Any:
    return await answer if isawaitable(answer) else answer
