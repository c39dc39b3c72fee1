"""Measure what a call of the script takes a server, against the least that limits a rate there."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from time import time
from typing import Any

from rate_limiter import BucketGroup
from rate_limiter.redis import RedisTokenBucket
from rate_limiter.redis.script import request
from rate_limiter.shared.store import Limit, Place, Question
from rate_limiter.shared.terms import Terms

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
    calls: int = CALLS  # in a round


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
    yield pair("server: allow() at 5/s / GCRA", PLENTY, 5, target=1.3)
    yield pair("server: allow() at 3/s / GCRA", PLENTY, 3)
    yield pair("server: allow() at 1234/s / GCRA", PLENTY, 1234)
    yield pair("server: allow(), refused / refused", *ONCE, act=refused, taken=0)
    yield pair("server: a place in line / GCRA", 1, 5, act=in_line, bare=(PLENTY, 5))
    one, two = (RedisTokenBucket(client, f"mine{letter}", PLENTY, 5) for letter in "ab")
    command, bare = (
        recorded(server, BucketGroup(one, two), granted),
        gcra("rate_limiter:bare", PLENTY, 5),
    )
    yield Pair("server: a group of two / GCRA", one, command, bare)
    for callers in (1, 50, 256):
        bucket, command = renewal(client, callers)
        label, calls = f"server: a place of {callers} renewed / GCRA", max(CALLS // callers, 2)
        yield Pair(label, bucket, command, bare, taken=0, calls=calls)


def renewal(client: Any, callers: int) -> tuple[RedisTokenBucket, Command]:
    """Return a bucket that callers wait for, and how the one in the middle of them keeps its place.

    The others live for an hour: longer than anybody measures.
    """
    now, limit, name = int(time() * MICRO), (1, 0.001), f"line{callers}"
    bucket = RedisTokenBucket(client, name, *limit)
    terms = Terms(*limit)
    cost = terms.unit // terms.scale
    place = f":1:{cost}:0:0:0:0:{now + 3600 * MICRO}"
    line = "".join(f";{number}:{number}{place}" for number in range(1, callers + 1))
    client.set(f"rate_limiter:{name}", f"{now + cost}{terms.text}{line}")
    charges = [(Limit(f"rate_limiter:{name}".encode(), terms), terms.unit)]
    asked = Question("renew", charges, 10**14, place=Place((callers + 1) // 2, 0))
    return bucket, request(asked)


def server_times(server: Any) -> Iterator[tuple[Pair, list[tuple[float, float]]]]:
    """Yield the pairs, with the microseconds of a call of each of the two in every round."""
    client = server.client()
    compared = list(pairs(server, client.script_load(MINIMAL)))
    times: list[list[tuple[float, float]]] = [[] for _ in compared]
    for pair in compared:
        check(client, pair)
    for _ in range(ROUNDS):
        for pair, rounds in zip(compared, times, strict=True):
            both = [server_time(client, each, pair.calls) for each in (pair.mine, pair.minimal)]
            rounds.append((both[0], both[1]))
    yield from zip(compared, times, strict=True)


def check(client: Any, pair: Pair) -> None:
    """Refuse to measure anything but what is meant."""
    before, began = level(pair.bucket), time()
    called(client, pair.mine, pair.calls)
    taken = before - level(pair.bucket)
    come_in = (time() - began) * pair.bucket.tokens_per_second
    assert abs(taken - pair.taken * pair.calls) < pair.calls / 2 + come_in, (pair, taken)
    called(client, pair.minimal, pair.calls)


def server_time(client: Any, command: Command, calls: int) -> float:
    """Return the microseconds that the server says a call took it."""
    client.config_resetstat()
    called(client, command, calls)
    stats = client.info("commandstats")["cmdstat_evalsha"]
    return float(stats["usec"] / stats["calls"])


def called(client: Any, command: Command, calls: int) -> list[Any]:
    """Call many times in one go, so that the server never waits for the client."""
    pipeline = client.pipeline(transaction=False)
    for _ in range(calls):
        pipeline.execute_command(*command)
    return list(pipeline.execute())
