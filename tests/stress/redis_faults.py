"""Processes and tasks that share a bucket on a server which is harmed meanwhile (P1, P29, P31).

A server that is killed forgets what was taken, and those who wait: each kill may cost one capacity,
and what had been promised to callers who still leave at the times that they were told.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import redis
import redis.asyncio
from figures import finish

from rate_limiter import BackendError, RateLimitExceeded
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket

sys.path.insert(0, str(Path(__file__).parents[1] / "redis_servers"))

from fault_proxy import FaultProxy
from servers import Server

TIMEOUTS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
PATIENCE = 60  # seconds for workers to end when all is over
LONGEST_WAIT = 1.0  # seconds that any caller waits for tokens
GRID = 0.25  # seconds between the instants at which windows begin and end


class Account:
    """What a worker was given, each with the instants between which it was, and what failed."""

    def __init__(self) -> None:
        self.given: list[tuple[float, float]] = []
        self.failed: Counter[str] = Counter()

    def note(self, began: float, admitted: bool) -> None:
        if admitted:
            self.given.append((began, time.monotonic()))

    def note_failure(self, error: Exception) -> None:
        expected = isinstance(error, BackendError | RateLimitExceeded)
        self.failed[type(error).__name__ if expected else f"UNEXPECTED {error!r}"] += 1


def work(port: int, terms: tuple[float, float], until: float) -> Account:
    """Take tokens in a process, in every way."""
    account, client = Account(), redis.Redis(port=port, **TIMEOUTS)
    bucket = RedisTokenBucket(client, "torture", *terms)
    while (began := time.monotonic()) < until:
        try:
            if random.random() < 0.5:  # noqa: S311 - no secret
                account.note(began, bucket.allow())
                time.sleep(0.01)
            else:
                bucket.wait(timeout=LONGEST_WAIT)
                account.note(began, True)
        except Exception as error:  # noqa: BLE001 - to be counted
            account.note_failure(error)
    return account


async def work_in_task(bucket: AsyncRedisTokenBucket, account: Account, until: float) -> None:
    """Take tokens in a task, and now and then be cancelled."""
    while (began := time.monotonic()) < until:
        try:
            async with asyncio.timeout(random.choice([0.05, 30])):  # noqa: S311 - no secret
                await bucket.wait(timeout=LONGEST_WAIT)
            account.note(began, True)
        except TimeoutError:
            account.failed["cancelled"] += 1
        except Exception as error:  # noqa: BLE001 - to be counted
            account.note_failure(error)
            await asyncio.sleep(0.1)


def work_in_tasks(port: int, terms: tuple[float, float], until: float, tasks: int) -> Account:
    """Take tokens in many tasks of a process."""

    async def main() -> Account:
        account = Account()
        pool = redis.asyncio.BlockingConnectionPool(max_connections=20, port=port, **TIMEOUTS)
        async with redis.asyncio.Redis(connection_pool=pool) as client:
            bucket = AsyncRedisTokenBucket(client, "torture", *terms)
            await asyncio.gather(*(work_in_task(bucket, account, until) for _ in range(tasks)))
        await pool.disconnect()
        return account

    return asyncio.run(main())


def harm(server: Server, proxy: FaultProxy, faults: list[str], until: float) -> list[float]:
    """Do all this to the server, evenly until then; return when it was killed."""
    random.shuffle(faults)
    kills, admin = [], server.client()
    pause = (until - time.monotonic() - 2.0 * faults.count("stop")) / (len(faults) + 1)
    for fault in faults:
        time.sleep(max(pause, 0))
        if fault == "kill":
            kills.append(time.monotonic())
            server.restart()
            kills[-1] = (kills[-1] + time.monotonic()) / 2
        elif fault == "stop":
            server.freeze()
            time.sleep(2)
            server.thaw()
        elif fault == "flush":
            admin.script_flush()
        elif fault == "lost":
            proxy.fail_next("drop_after")
        else:
            admin.client_kill_filter(_type="normal", skipme=True)
    return kills


def excess(accounts: list[Account], kills: list[float], capacity: float, rate: float) -> float:
    """Return by how much the tokens certainly admitted in any window exceed its bound."""
    spans = np.array([span for account in accounts for span in account.given])
    edges = np.arange(spans.min(), spans.max() + GRID, GRID)
    worst = -np.inf
    for begin in edges:
        ends = np.sort(spans[spans[:, 0] >= begin][:, 1])
        later = edges[edges > begin]
        lost = np.searchsorted(np.sort(kills), later) - np.searchsorted(np.sort(kills), begin)
        bound = capacity + (capacity + rate * LONGEST_WAIT) * lost + rate * (later - begin)
        worst = max(worst, (np.searchsorted(ends, later, "right") - bound).max(initial=-np.inf))
    return float(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--loops", type=int, default=4, help="processes with an event loop")
    parser.add_argument("--tasks", type=int, default=200, help="tasks in each of them")
    for fault, count in {"kill": 20, "flush": 200, "end": 500, "lost": 500, "stop": 50}.items():
        parser.add_argument(f"--{fault}", type=int, default=count, help="how often")
    sizes = parser.parse_args()
    terms, faults = (50.0, 100.0), []
    for fault in ("kill", "flush", "end", "lost", "stop"):
        faults += [fault] * getattr(sizes, fault)
    workers = sizes.processes + sizes.loops
    with (
        Server() as server,
        FaultProxy(server.port) as proxy,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        until = time.monotonic() + sizes.seconds
        work_of = [(proxy.port, terms, until)] * workers
        calls = [pool.submit(work, *each) for each in work_of[: sizes.processes]]
        calls += [
            pool.submit(work_in_tasks, *each, sizes.tasks) for each in work_of[sizes.processes :]
        ]
        kills = harm(server, proxy, faults, until)
        accounts = [call.result(until - time.monotonic() + PATIENCE) for call in calls]
        alive = RedisTokenBucket(server.client(), "afterwards", 1, 1).allow()
    failed = sum((account.failed for account in accounts), Counter())
    over = excess(accounts, kills, *terms)
    given = sum(len(account.given) for account in accounts)
    failures = [name for name in failed if name.startswith("UNEXPECTED")]
    failures += [f"{over:.0f} tokens over the bound"] * (over > 0)
    failures += ["the server is not usable any more"] * (not alive)
    failures += [f"only {given} tokens were given"] * (given < terms[1] * sizes.seconds / 4)
    finish(failures, given=given, below_bound=round(-over), lost=proxy.hits, **failed)


if __name__ == "__main__":
    main()
