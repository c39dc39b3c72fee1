"""Measure what a call of the script takes a server, against the least that limits a rate there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rate_limiter.redis.limits import new_limit
from rate_limiter.redis.script import SOURCE, Request, request

PLENTY = 10**9  # tokens: what is to be admitted always is
ONCE = (1, 0.001)  # a capacity and a rate: what comes after the first call is refused
MICRO = 10**6
FOREVER = 2**53 - 1  # microseconds that a caller has
ROUNDS = 60
CALLS = 200  # of each script in a round

# GCRA over one string: the instant at which the bucket will be full. It knows neither remainders
# nor several limits, and nobody can wait in line, give back, or change the rate.
MINIMAL = """
local t = redis.call('TIME'); local now = t[1]*1000000+t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or now); if tat < now then tat = now end
local new = tat + ARGV[1]; local wait = new - now - ARGV[2]; if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now)/1000)+1000)
return 0
"""


@dataclass
class Pair:
    """Two scripts that answer the same question, and the most that the first should take."""

    label: str
    mine: Request
    minimal: Request
    target: float | None = None
    answer: str = "granted"


def pairs(minimal: str) -> Iterator[Pair]:
    """Yield what to compare with a script of that digest, under keys of the same length."""

    def gcra(key: str, capacity: float, rate: float) -> Request:
        interval = MICRO / rate
        return (b"EVALSHA", minimal, 1, key, f"{interval:.0f}", f"{interval * capacity:.0f}")

    def take(keys: str, capacity: float, rate: float, longest: int = 0) -> Request:
        limits = [new_limit(key, "", capacity, rate) for key in keys.split()]
        return request(b"take", [charge for one in limits for charge in one.charges(1)], longest)

    five, three = gcra("bare:5", PLENTY, 5), gcra("bare:3", PLENTY, 3)
    yield Pair("server: allow() at 5/s / GCRA", take("take:5", PLENTY, 5), five, 1.2)
    yield Pair("server: allow() at 3/s / GCRA", take("take:3", PLENTY, 3), three, 1.2)
    yield Pair("server: allow() at 1234/s / GCRA", take("take:1", PLENTY, 1234), five)
    refused = take("take:0", *ONCE), gcra("bare:0", *ONCE)
    yield Pair("server: allow(), refused / refused", *refused, answer="refused")
    line = take("line:5", 1, 5, FOREVER)
    yield Pair("server: a place in line / GCRA", line, five, answer="a place in line")
    yield Pair("server: a group of two / GCRA", take("two:5a two:5b", PLENTY, 5), five)


def server_times(client: Any) -> Iterator[tuple[Pair, list[tuple[float, float]]]]:
    """Yield the pairs, with the microseconds of a call of each of the two in every round."""
    client.script_load(SOURCE)
    compared = list(pairs(client.script_load(MINIMAL)))
    times: list[list[tuple[float, float]]] = [[] for _ in compared]
    for pair in compared:
        called(client, pair.mine)
        called(client, pair.minimal)
    for _ in range(ROUNDS):
        for pair, rounds in zip(compared, times, strict=True):
            rounds.append((server_time(client, pair), server_time(client, pair, minimal=True)))
    yield from zip(compared, times, strict=True)


def server_time(client: Any, pair: Pair, *, minimal: bool = False) -> float:
    """Return the microseconds that the server says a call took it."""
    client.config_resetstat()
    replies = called(client, pair.minimal if minimal else pair.mine)
    assert minimal or {answer(reply) for reply in replies} == {pair.answer}, replies
    stats = client.info("commandstats")["cmdstat_evalsha"]
    return float(stats["usec"] / stats["calls"])


def called(client: Any, command: Request) -> list[Any]:
    """Call many times in one go, so that the server never waits for the client."""
    pipeline = client.pipeline(transaction=False)
    for _ in range(CALLS):
        pipeline.execute_command(*command)
    return list(pipeline.execute())


def answer(reply: Any) -> str:
    if reply == 0:
        return "granted"
    return "a place in line" if isinstance(reply, list) else "refused"
