"""One bucket for several processes: it counts by the server's clock, and serves in order."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import commandstats

from rate_limiter.redis import RedisTokenBucket

SCRIPT = Path(__file__).with_name("redis_caller.py")
HOUR = 3600


class Caller:
    """A process of `redis_caller.py`."""

    def __init__(self, closing, port, offset, world):
        self.offset = offset
        self._process = closing.enter_context(
            subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, SCRIPT, str(port), str(offset), world],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        closing.callback(self._process.kill)

    def tell(self, *order):
        """Give an order."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Return the answer to the last order."""
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def callers(redis_server):
    """Be five processes, whose clocks are up to two hours apart."""
    worlds = ["threads", "threads", "tasks", "threads", "tasks"]
    offsets = [0, HOUR, -HOUR, 0.5 * HOUR, 7]
    with ExitStack() as closing:
        callers = [
            Caller(closing, redis_server.port, *pair) for pair in zip(offsets, worlds, strict=True)
        ]
        assert [caller.answer() for caller in callers] == ["ready"] * 5
        yield callers


def now(client):
    """Return the seconds of the server's clock."""
    seconds, microseconds = client.time()
    return seconds + microseconds / 10**6


def run_together(client, callers, orders, *arguments):
    """Have processes do something; return how many of each were admitted, and how long it took."""
    before = now(client)
    for caller, order in zip(callers, orders, strict=True):
        caller.tell(order, *arguments)
    admitted = [caller.answer() for caller in callers]
    return admitted, now(client) - before


@pytest.mark.parametrize(
    ("orders", "least"),
    [
        (["allow"] * 5, 1),
        (["wait"] * 5, 1),
        (["allow", "wait", "allow", "wait", "wait"], 0),  # who does not wait, may get nothing
    ],
    ids=["allow", "wait", "both"],
)
def test_call_from_processes_admits_the_capacity_and_then_the_rate(
    client, callers, name, orders, least
):
    """P27: By the server's clock they get the capacity and the rate, whatever theirs say."""
    capacity, rate = 60, 400

    admitted, seconds = run_together(client, callers, orders, name, capacity, rate, 0.4)

    # How much of the rate they get is the machine's business as well.
    assert capacity < sum(admitted) <= capacity + rate * seconds
    assert min(admitted) >= least


def test_wait_from_processes_is_served_in_order(redis_server, client, callers, name):
    """P10: Processes line up behind each other, and who comes last leaves last."""
    bucket, left = RedisTokenBucket(client, name, 1, 10), f"{name}-left"
    assert bucket.allow()
    order = [callers[number] for number in (3, 0, 4, 2, 1)]
    for caller in order:
        asked = commandstats(client)["evalsha"]
        caller.tell("line_up", name, 1, 10, left)
        redis_server.wait_until(
            lambda asked=asked: commandstats(client)["evalsha"] > asked, "it has asked"
        )
        assert not bucket.allow(1e-9)

    bucket.wait()
    client.rpush(left, "last")

    assert [caller.answer() for caller in order] == [1, 2, 3, 4, 5]
    assert client.lrange(left, 0, -1) == [
        *(f"{caller.offset}".encode() for caller in order),
        b"last",
    ]
    client.delete(left)
