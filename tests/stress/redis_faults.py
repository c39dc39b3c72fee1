"""Processes and tasks that share a bucket on a server that is harmed (P1, P29, P31, P39, P40).

A server that is killed forgets what was taken, and those who wait: each kill may cost one capacity,
and what had been promised to callers who still leave at the times that they were told.

Other processes wait at a bucket of their own with many threads each, and are killed as they wait.
When all is over, and more of them have died, whoever comes next waits 15 s for the dead at most.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

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
TERMS = (50.0, 100.0)  # of the bucket that all take from
WAITED_FOR = ("dead", 1, 1)  # the bucket at which the dead have waited, and its limit
WAITERS = 30  # threads in a process that is to die
MOURNED = 15.0  # seconds that the living wait for the dead
SPAN = struct.Struct("dd")  # between which instants something was given, by the machine's clock
SPAWN = get_context("spawn")


class Account:
    """What a worker was given, written down at once, and what failed.

    Args:
        folder: Where to write it.
    """

    def __init__(self, folder: Path) -> None:
        name = f"{SPAWN.current_process().pid}"
        self._given = (folder / f"{name}.given").open("ab", buffering=0)
        self._failed = folder / f"{name}.failed"
        self.failed: Counter[str] = Counter()

    def note(self, began: float, admitted: bool) -> None:
        if admitted:
            self._given.write(SPAN.pack(began, time.monotonic()))

    def note_failure(self, error: Exception) -> None:
        expected = isinstance(error, BackendError | RateLimitExceeded)
        self.failed[type(error).__name__ if expected else f"UNEXPECTED {error!r}"] += 1

    def close(self) -> None:
        lines = [f"{count} {name}\n" for name, count in self.failed.items()]
        self._failed.write_text("".join(lines))


def given_in(folder: Path) -> list[tuple[float, float]]:
    """Return between which instants tokens were given to anybody."""
    read = b"".join(
        whole[: len(whole) - len(whole) % SPAN.size]
        for whole in (path.read_bytes() for path in folder.glob("*.given"))
    )
    return list(SPAN.iter_unpack(read))


def failed_in(folder: Path) -> Counter[str]:
    """Return how often each error was met."""
    failed: Counter[str] = Counter()
    for path in folder.glob("*.failed"):
        for line in path.read_text().splitlines():
            count, name = line.split(" ", 1)
            failed[name] += int(count)
    return failed


def work(port: int, folder: Path, together: Barrier, seconds: float) -> None:
    """Take tokens in a process, in every way."""
    account, client = Account(folder), redis.Redis(port=port, **TIMEOUTS)
    together.wait()
    until = time.monotonic() + seconds
    bucket = RedisTokenBucket(client, "torture", *TERMS)
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
    account.close()


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


def work_in_tasks(port: int, folder: Path, together: Barrier, seconds: float, tasks: int) -> None:
    """Take tokens in many tasks of a process, over the default pool of a small client."""

    async def main() -> None:
        account = Account(folder)
        together.wait()
        until = time.monotonic() + seconds
        async with redis.asyncio.Redis(port=port, max_connections=20, **TIMEOUTS) as client:
            bucket = AsyncRedisTokenBucket(client, "torture", *TERMS)
            await asyncio.gather(*(work_in_task(bucket, account, until) for _ in range(tasks)))
        account.close()

    asyncio.run(main())


def wait_to_die(port: int) -> None:
    """Wait in many threads, again and again, until somebody kills this process."""

    def wait() -> None:
        bucket = RedisTokenBucket(redis.Redis(port=port, **TIMEOUTS), *WAITED_FOR)
        while True:
            with suppress(BackendError):
                bucket.wait()
            time.sleep(0.1)

    for _ in range(WAITERS):
        threading.Thread(target=wait).start()


def start(run: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = SPAWN.Process(target=run, args=arguments)
    process.start()
    return process


class Harm:
    """Everything that is done to a server and to those who wait.

    Attributes:
        kills: When the server was killed, in the middle of its restart.
        deaths: How many processes were killed as they waited.
    """

    def __init__(self, server: Server, proxy: FaultProxy) -> None:
        self._server, self._proxy, self._admin = server, proxy, server.client()
        self._doomed = [start(wait_to_die, proxy.port)]
        self.kills: list[float] = []
        self.deaths = 0

    def do(self, faults: list[str], until: float) -> None:
        """Do all this, evenly until then."""
        random.shuffle(faults)
        for left, fault in zip(range(len(faults), 0, -1), faults, strict=True):
            time.sleep(
                max((until - time.monotonic() - 2.0 * faults[-left:].count("stop")), 0) / left
            )
            getattr(self, f"_{fault}")()

    def _kill(self) -> None:
        began = time.monotonic()
        self._server.restart()
        self.kills.append((began + time.monotonic()) / 2)

    def _stop(self) -> None:
        self._server.freeze()
        time.sleep(2)
        self._server.thaw()

    def _flush(self) -> None:
        self._admin.script_flush()

    def _lost(self) -> None:
        self._proxy.fail_next("drop_after")

    def _end(self) -> None:
        self._admin.client_kill_filter(_type="normal", skipme=True)

    def _die(self) -> None:
        self.let_die()
        self._doomed = [start(wait_to_die, self._proxy.port)]

    def let_die(self) -> None:
        """Kill the processes that wait, as they do."""
        for process in self._doomed:
            process.kill()
            process.join()
            self.deaths += 1
        self._doomed = []

    def mourn(self) -> float:
        """Kill three processes that wait; return how long who comes next waits for them."""
        self._doomed += [start(wait_to_die, self._proxy.port) for _ in range(3 - len(self._doomed))]
        bucket = RedisTokenBucket(self._server.client(), *WAITED_FOR)
        deadline = time.monotonic() + PATIENCE
        while (bucket.level.waiting or 0) < 2 * WAITERS and time.monotonic() < deadline:
            time.sleep(0.1)
        self.let_die()
        began = time.monotonic()
        bucket.wait()
        return time.monotonic() - began


def excess(given: list[tuple[float, float]], kills: list[float]) -> float:
    """Return by how much the tokens certainly admitted in any window exceed its bound."""
    (capacity, rate), spans = TERMS, np.array(given)
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--loops", type=int, default=4, help="processes with an event loop")
    parser.add_argument("--tasks", type=int, default=200, help="tasks in each of them")
    often = {"kill": 20, "flush": 200, "end": 500, "lost": 500, "stop": 50, "die": 20}
    for fault, count in often.items():
        parser.add_argument(f"--{fault}", type=int, default=count, help="how often")
    sizes = parser.parse_args()
    faults = [fault for fault in often for _ in range(getattr(sizes, fault))]
    with (
        tempfile.TemporaryDirectory() as name,
        Server() as server,
        FaultProxy(server.port) as proxy,
    ):
        folder, together = Path(name), SPAWN.Barrier(sizes.processes + sizes.loops + 1)
        shared, harm = (proxy.port, folder, together, sizes.seconds), Harm(server, proxy)
        workers = [start(work, *shared) for _ in range(sizes.processes)]
        workers += [start(work_in_tasks, *shared, sizes.tasks) for _ in range(sizes.loops)]
        together.wait(PATIENCE)
        until = time.monotonic() + sizes.seconds
        harm.do(faults, until)
        for worker in workers:
            worker.join(max(until - time.monotonic(), 0) + PATIENCE)
        hung = [worker.kill() for worker in workers if worker.exitcode is None]
        broken = sum(worker.exitcode not in (0, None) for worker in workers)
        proxy.clear()
        mourned = harm.mourn()
        given, failed = given_in(folder), failed_in(folder)
    over = excess(given, harm.kills)
    failures = [name for name in failed if name.startswith("UNEXPECTED")]
    failures += [f"{len(hung)} workers hang"] * bool(hung)
    failures += [f"{broken} workers failed"] * bool(broken)
    failures += [f"{over:.0f} tokens over the bound"] * (over > 0)
    failures += [f"the living waited {mourned:.1f} s for the dead"] * (mourned > MOURNED + 2)
    failures += [f"only {len(given)} tokens were given"] * (
        len(given) < TERMS[1] * sizes.seconds / 4  # a busy machine does little for 800 tasks
    )
    figures = {"given": len(given), "below_bound": round(-over), "lost": proxy.hits}
    finish(failures, **figures, deaths=harm.deaths, mourned=f"{mourned:.1f}", **failed)


if __name__ == "__main__":
    main()
