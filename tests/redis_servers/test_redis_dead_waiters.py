"""Processes that are killed while their threads wait at a real server."""

import subprocess
import sys
from pathlib import Path

import pytest
from doomed import LIMIT, RENEWAL, START

from rate_limiter.redis import RedisTokenBucket
from rate_limiter.testing import ManualClock

SCRIPT = Path(__file__).with_name("doomed.py")
WAITERS = 20
LIFE = 15.0  # seconds for which a place is kept that nobody renews


def die_waiting(server, name, kind, renewals):
    """Have a process wait, and kill it when all its threads do."""
    arguments = [str(server.port), name, kind, str(WAITERS), str(renewals)]
    command = [sys.executable, SCRIPT, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        try:
            assert process.stdout.readline() == b"\n"
        finally:
            process.kill()


@pytest.mark.parametrize("renewals", [0, 2])
@pytest.mark.parametrize(("kind", "lines"), [("alone", 1), ("group", 2)])
def test_kill_a_process_that_waits_frees_its_places_after_15_s(  # noqa: PLR0917
    redis_server, client, name, kind, lines, renewals
):
    """P40: kill -9 leaves places that last 15 s from their last renewal, in every line."""
    clock = ManualClock(start=START)
    buckets = [RedisTokenBucket(client, f"{name}-{n}", *LIMIT, clock=clock) for n in range(lines)]
    die_waiting(redis_server, name, kind, renewals)
    clock.advance(renewals * RENEWAL)
    reserved = [bucket.reserve() for bucket in buckets]
    clock.advance(LIFE - 0.001)
    assert [bucket.level.waiting for bucket in buckets] == [WAITERS + 1] * lines

    clock.advance(0.001)
    # What was reserved behind them needs nobody who renews it, and keeps the time it was told.
    assert [bucket.level.waiting for bucket in buckets] == [1] * lines
    for reservation in reserved:
        reservation.cancel()
    full_in = 100 - renewals * RENEWAL - LIFE
    assert [bucket.retry_after() for bucket in buckets] == [pytest.approx(full_in)] * lines
