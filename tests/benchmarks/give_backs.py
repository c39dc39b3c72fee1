"""Measure how long a crowd of cancelled tasks takes to give its places back (P40).

    python tests/benchmarks/give_backs.py --tasks 500 --trip 0.01

Each reply of the server is held back for `--trip` seconds, as if it were far away. The time counts
from the first cancellation until nobody is in line any more and nothing goes on in the background.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import redis.asyncio

from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket
from rate_limiter.shared.background import unfinished

sys.path.append(str(Path(__file__).parents[1] / "redis_servers"))

from fault_proxy import FaultProxy
from servers import Server

TARGET = 1.5  # seconds


def working(client: Any) -> float:
    """Return for how many seconds the server has run scripts."""
    stats = client.info("commandstats")
    return sum(stats[each]["usec"] for each in stats if "eval" in each) / 1e6


async def leave(port: int, proxy: FaultProxy, options: argparse.Namespace) -> tuple[float, float]:
    """Return the seconds that a crowd takes to leave, and what of it is the server's work."""
    direct = redis.Redis(port=port)
    async with redis.asyncio.Redis(
        port=proxy.port, socket_timeout=10, max_connections=options.connections
    ) as client:
        bucket = AsyncRedisTokenBucket(client, "crowd", 1, 0.01)
        crowd = [asyncio.create_task(bucket.wait()) for _ in range(options.tasks + 1)]
        look = RedisTokenBucket(direct, "crowd", 1, 0.01)
        while (look.level.waiting or 0) < options.tasks:  # noqa: ASYNC110 - a server knows no events
            await asyncio.sleep(0.01)  # the server tells nobody
        proxy.fail_next("delay", math.inf, seconds=options.trip)
        before, began = working(direct), perf_counter()
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        while unfinished():
            await asyncio.wait(unfinished())
        took, worked = perf_counter() - began, working(direct) - before
        assert look.level.waiting == 0, f"{look.level.waiting} are still in line"
    direct.close()
    return took, worked


def main() -> None:
    """Measure, and print a line for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--trip", type=float, default=0.01, help="seconds for a reply")
    parser.add_argument("--connections", type=int, default=50, help="of the client's pool")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for _ in range(options.rounds):
        with Server() as server, FaultProxy(server.port) as proxy:
            took, worked = asyncio.run(leave(server.port, proxy, options))
        met = "yes" if took <= TARGET else "MISSED"
        share = f"{worked:.2f} s of them the server's own work"
        print(f"{options.tasks} gave back in {took:.2f} s, {share} (target {TARGET} s): {met}")  # noqa: T201 - its output


if __name__ == "__main__":
    main()
