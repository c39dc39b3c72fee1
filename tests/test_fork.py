"""Buckets in processes that fork, and in those that start afresh."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

import forked
import rate_limiter
from rate_limiter import RateLimitExceeded, rate_limited
from rate_limiter.testing import ManualClock
from small_process import SmallProcess

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture(scope="module")
def small():
    """A process that forks."""
    with SmallProcess() as process:
        yield process


@forking
@pytest.mark.parametrize("way", ["allow", "limiter", "refund", "thread"])
def test_use_in_a_forked_child_while_threads_are_busy_works_at_once(small, way):
    """P20: Of 25 children forked from under four busy threads each can use the bucket."""
    assert small(forked.under_busy_threads, way) == [0] * 25


@forking
def test_fork_while_threads_move_a_manual_clock_leaves_it_to_be_moved(small):
    """P20: A test that forks goes on, whatever its other threads were doing with the clock."""
    assert small(forked.while_threads_move_a_clock) == [0] * 40


@forking
def test_fork_while_a_thread_waits_leaves_the_child_free_to_wait(small):
    """P20: A child forked while others sleep in the bucket waits on its own."""
    assert small(forked.while_a_thread_waits) == 0


@forking
def test_fork_gives_the_child_a_bucket_of_its_own(small):
    """P20: What a child takes is not gone for its parent, nor the other way round."""
    codes, left = small(forked.with_buckets_of_their_own)

    assert codes == [7, 2]
    assert left == 2.0


@forking
@pytest.mark.skipif(rate_limiter.compiled, reason="compiled, the call has no lines")
def test_fork_in_the_midst_of_any_line_hangs_neither_parent_nor_child(small):
    """P20: A process that forks from a handler, at any line of a call, goes on in both."""
    codes, left = small(forked.at_any_line)

    assert len(codes) > 3
    assert set(codes) == {0}
    assert left == 999


FORK_WHILE_LOGGING = """
import logging, os, sys, threading, time
from rate_limiter import TokenBucket

bucket, inside = TokenBucket(9, 1), threading.Event()

class Limited(logging.Logger):
    def __init__(self, name):
        super().__init__(name)
        inside.set()
        time.sleep(0.2)
        bucket.reserve().cancel()

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0 if bucket.allow() else 1)
    codes.append(os.waitpid(child, 0)[1])

codes = []
logging.setLoggerClass(Limited)
threading.Thread(target=logging.getLogger, args=("mine",), daemon=True).start()
inside.wait()
forking = threading.Thread(target=fork, daemon=True)
forking.start()
forking.join(3)
print(codes, flush=True)
os._exit(0)  # what hangs keeps the lock of logging, which every exit wants
"""


@forking
def test_fork_while_a_logger_that_uses_the_bucket_is_made_hangs_nobody():
    """P20: No lock of the bucket is held before a fork, where other libraries want theirs."""
    run = subprocess.run(  # noqa: S603 - this file's own script
        [sys.executable, "-W", "ignore", "-c", FORK_WHILE_LOGGING],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert run.stdout == "[0]\n", run.stderr


@forking
@pytest.mark.parametrize("way", ["allow", "reserve", "cancel", "settle"])
def test_fork_amid_a_call_of_a_group_leaves_both_buckets_alike_in_the_child(small, way):
    """P20: A child forked at any line of a group's call finds both buckets as one, and no lock."""
    codes = small(forked.amid_a_call_of_a_group, way)

    assert len(codes) > 3
    assert set(codes) == {0}


@rate_limited(3, 1, block=False, clock=ManualClock())
def double(number):
    return 2 * number


def test_call_decorated_in_a_spawned_process_works_by_name():
    """P20: A decorated function is sent to another process by name, and is limited there afresh."""
    for number in range(3):
        assert double(number) == 2 * number
    start_method = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(1, mp_context=start_method) as pool:
        assert list(pool.map(double, range(3))) == [0, 2, 4]
        assert isinstance(pool.submit(double, 4).exception(), RateLimitExceeded)
