"""Leases of real processes on a real server."""

import asyncio
import json
import subprocess
import sys

import pytest

from rate_limiter.redis import AsyncRedisTokenBucket, Lease, RedisTokenBucket
from rate_limiter.shared import holding

CAPACITY, RATE, PROCESSES, SECONDS = 40, 200, 4, 1.2
LEASE = Lease(tokens=10, seconds=0.2)
LONG = Lease(tokens=10, seconds=60)  # which no test outlives
SPENDER = f"""
import json, redis, sys, time
from rate_limiter.redis import Lease, RedisTokenBucket
client = redis.Redis(port=int(sys.argv[1]))
lease = Lease({LEASE.tokens}, {LEASE.seconds})
bucket = RedisTokenBucket(client, sys.argv[2], {CAPACITY}, {RATE}, lease=lease)
client.ping()
print("ready", flush=True)
sys.stdin.readline()
spent, end = [], time.monotonic() + {SECONDS}
while time.monotonic() < end:
    if bucket.allow():
        spent.append(time.monotonic())  # which all processes of a machine share
    else:
        time.sleep(0.001)
print(json.dumps(spent))
"""


@pytest.fixture(autouse=True)
def untraced(monkeypatch):
    """What measures coverage is a tracer, under which buckets leave decisions to the store."""
    monkeypatch.setattr(holding, "gettrace", lambda: None)


def spend(port, name):
    """Have processes spend what they can; return when, in seconds."""
    run = [sys.executable, "-c", SPENDER, str(port), name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    jobs = [subprocess.Popen(run, **pipes) for _ in range(PROCESSES)]  # noqa: S603 - our own code
    for job in jobs:
        assert job.stdout.readline() == "ready\n"
    for job in jobs:
        job.stdin.write("go\n")
        job.stdin.flush()
    return sorted(when for job in jobs for when in json.loads(job.communicate(timeout=30)[0]))


def test_spend_leases_in_four_processes_keeps_the_stated_bound(redis_server, name):
    """P42: In every window, at most capacity + rate * T + processes * (lease - 1) are spent."""
    spent = spend(redis_server.port, name)

    level, last = CAPACITY + PROCESSES * (LEASE.tokens - 1), spent[0]
    most = level
    for when in spent:
        level = min(level + (when - last) * RATE, most) - 1
        last = when
        assert level > -1
    assert len(spent) > RATE * SECONDS / 2


@pytest.mark.parametrize("close", [True, False])
def test_end_a_process_gives_its_lease_back(redis_server, name, close):
    """P42: What a process holds at its end, or on `close()`, is there for others at once."""
    code = SPENDER.partition("client.ping()")[0] + "bucket.allow()\n" + "bucket.close()\n" * close
    run = [sys.executable, "-c", code, str(redis_server.port), name]
    subprocess.run(run, check=True, timeout=30)  # noqa: S603 - our own code
    with redis_server.client() as client:
        assert RedisTokenBucket(client, name, CAPACITY, RATE).available_tokens >= CAPACITY - 1


@pytest.mark.fast_path
def test_close_a_bucket_of_tasks_gives_its_lease_back(async_client, name):
    """P42: So it is in a task, and the bucket can be used afterwards."""

    async def main():
        async with async_client() as client:
            leased = AsyncRedisTokenBucket(client, name, CAPACITY, 0.01, lease=LONG)
            other = AsyncRedisTokenBucket(client, name, CAPACITY, 0.01)
            assert await leased.allow(3)
            assert await other.available_tokens == pytest.approx(30, abs=0.1)
            await leased.close()
            await leased.close()
            assert await other.available_tokens == pytest.approx(37, abs=0.1)
            assert await leased.allow()
            await leased.close()  # while there is a client to do it by

    asyncio.run(main())


@pytest.mark.fast_path
def test_make_by_words_takes_a_lease(client, name):
    """A rate in words goes with a lease as numbers do."""
    bucket = RedisTokenBucket.from_rate(client, name, "40/hour", lease=LONG)
    assert bucket.allow()
    assert RedisTokenBucket.from_rate(client, name, "40/hour").available_tokens < 31
    bucket.close()
