"""Measure what a call of the script takes a server, against the least that limits a rate there."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from rate_limiter import BucketGroup
from rate_limiter.redis import RedisTokenBucket

PLENTY = 10**9  # tokens: what is to be admitted always is
ONCE = (1, 0.001)  # a capacity and a rate: what comes after the first call is refused
MICRO = 10**6
ROUNDS = 60
CALLS = 200  # of each script in a round
WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')

# GCRA over one string: the instant at which the bucket will be full. It knows neither remainders
# nor several limits, and nobody can wait in line, give back, or change the rate.
MINIMAL = """
local t = redis.call('TIME'); local now = t[1]*1000000+t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or now); if tat < now then tat = now end
local new = tat + ARGV[1]; local wait = new - now - ARGV[2]; if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now)/1000)+1000)
return 0
"""


Command = Sequence[Any]
Bucket = RedisTokenBucket | BucketGroup
Act = Callable[[Bucket], object]


@dataclass
class Pair:
    """Two scripts that answer the same question, and the most that the first should take."""

    label: str
    bucket: RedisTokenBucket
    mine: Command
    minimal: Command
    target: float | None = None
    taken: int = 1  # tokens that each call takes from the bucket, so that it is what the label says


def recorded(server: Any, bucket: Bucket, act: Act) -> Command:
    """Return the command that a bucket sends for what is done with it, as the server logs it."""
    with socket.create_connection((server.host, server.port)) as watching:
        lines = watching.makefile("rb")
        watching.sendall(b"MONITOR\r\n")
        lines.readline()
        act(bucket)
        words = WORD.findall(lines.readline())
    return [word.decode("unicode_escape").encode("latin-1") for word in words]


def granted(bucket: Bucket) -> None:
    assert bucket.allow()


def refused(bucket: Bucket) -> None:
    assert not bucket.allow()


def in_line(bucket: Bucket) -> None:
    assert bucket.reserve().delay > 0


def level(bucket: RedisTokenBucket) -> float:
    """Return its tokens: fewer than none where callers have to wait for their turn."""
    return bucket.available_tokens or 1 - bucket.retry_after() * bucket.tokens_per_second


def pairs(server: Any, minimal: str) -> Iterator[Pair]:
    """Yield what to compare with a script of that digest, under keys of the same length."""
    client = server.client()

    def gcra(key: str, capacity: float, rate: float) -> Command:
        interval = MICRO / rate
        return ("EVALSHA", minimal, 1, key, f"{interval:.0f}", f"{interval * capacity:.0f}")

    def pair(label: str, *terms: float, act: Act = granted, **checks: Any) -> Pair:
        name = f"mine{next(numbers)}"
        bucket = RedisTokenBucket(client, name, *terms)
        granted(bucket)  # the script is loaded, and what there is at first has gone
        bare = gcra(f"rate_limiter:bare{name[4:]}", *checks.pop("bare", terms))
        return Pair(label, bucket, recorded(server, bucket, act), bare, **checks)

    numbers = count()
    yield pair("server: allow() at 5/s / GCRA", PLENTY, 5, target=1.2)
    yield pair("server: allow() at 3/s / GCRA", PLENTY, 3, target=1.2)
    yield pair("server: allow() at 1234/s / GCRA", PLENTY, 1234)
    yield pair("server: allow(), refused / refused", *ONCE, act=refused, taken=0)
    yield pair("server: a place in line / GCRA", 1, 5, act=in_line, bare=(PLENTY, 5))
    one, two = (RedisTokenBucket(client, f"mine{letter}", PLENTY, 5) for letter in "ab")
    command = recorded(server, BucketGroup(one, two), granted)
    yield Pair("server: a group of two / GCRA", one, command, gcra("rate_limiter:bare", PLENTY, 5))


def server_times(server: Any) -> Iterator[tuple[Pair, list[tuple[float, float]]]]:
    """Yield the pairs, with the microseconds of a call of each of the two in every round."""
    client = server.client()
    compared = list(pairs(server, client.script_load(MINIMAL)))
    times: list[list[tuple[float, float]]] = [[] for _ in compared]
    for pair in compared:
        check(client, pair)
    for _ in range(ROUNDS):
        for pair, rounds in zip(compared, times, strict=True):
            rounds.append((server_time(client, pair.mine), server_time(client, pair.minimal)))
    yield from zip(compared, times, strict=True)


def check(client: Any, pair: Pair) -> None:
    """Refuse to measure anything but what is meant."""
    before = level(pair.bucket)
    called(client, pair.mine)
    taken = before - level(pair.bucket)
    assert abs(taken - pair.taken * CALLS) < CALLS / 2, (pair, taken)  # some come in meanwhile
    called(client, pair.minimal)


def server_time(client: Any, command: Command) -> float:
    """Return the microseconds that the server says a call took it."""
    client.config_resetstat()
    called(client, command)
    stats = client.info("commandstats")["cmdstat_evalsha"]
    return float(stats["usec"] / stats["calls"])


def called(client: Any, command: Command) -> list[Any]:
    """Call many times in one go, so that the server never waits for the client."""
    pipeline = client.pipeline(transaction=False)
    for _ in range(CALLS):
        pipeline.execute_command(*command)
    return list(pipeline.execute())
