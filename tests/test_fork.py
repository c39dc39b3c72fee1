"""Buckets in processes that fork, and in those that start afresh."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

import pytest

import rate_limiter
from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.testing import ManualClock

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# Python 3.12 and later warn of every fork that has threads; that it works is the subject here.
# And a child must not inherit the lock of what measures coverage, which does not mind forks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.no_cover,
]
HOME = os.path.dirname(rate_limiter.__file__)  # noqa: PTH120 - compared with names of files
HUNG = 20.0  # seconds after which a child that needs milliseconds is taken to hang


@contextmanager
def busy(bucket, threads=4):
    """Have threads use the bucket all the time, switching wherever they may."""
    stop = Event()

    def hammer():
        while not stop.is_set():
            for _ in range(100):
                bucket.allow()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    workers = [Thread(target=hammer, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        sys.setswitchinterval(interval)


def fork(run):
    """Run in a forked child; return its exit code, or None if it had to be killed."""
    ended, never_written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            code = run()
        except BaseException:  # noqa: BLE001 - a child must never get back into the test runner
            code = 99
        os._exit(code)
    os.close(never_written)
    # One wait for the child to close its end, which asks busy threads for the interpreter but once.
    hung = not select.select([ended], [], [], HUNG)[0]
    if hung:
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    status = os.waitpid(child, 0)[1]
    return None if hung else os.waitstatus_to_exitcode(status)


@forking
@pytest.mark.parametrize("way", ["allow", "limiter", "refund", "thread"])
def test_use_in_a_forked_child_while_threads_are_busy_works_at_once(way):
    """P20: Of 25 children forked from under four busy threads each can use the bucket."""
    bucket = TokenBucket(10**9, 1, clock=ManualClock())
    limiter = RateLimiter(bucket)

    def child():
        if way == "allow":
            return int(not bucket.allow())
        if way == "limiter":
            with limiter.acquire(5):
                return 0
        if way == "refund":
            bucket.refund(1)
            return 0
        user = Thread(target=bucket.allow, daemon=True)
        user.start()
        user.join(HUNG / 2)
        return int(user.is_alive())

    with busy(bucket):
        for _ in range(25):
            assert fork(child) == 0


@forking
def test_fork_while_a_thread_waits_leaves_the_child_free_to_wait():
    """P20: A child forked while others sleep in the bucket waits on its own."""
    bucket = TokenBucket(1, 200, initial_tokens=0)
    waiter = Thread(target=bucket.wait, args=(2,))
    waiter.start()

    def child():
        bucket.wait()
        return int(bucket.available_tokens > 1)

    code = fork(child)
    waiter.join()

    assert code == 0


@forking
def test_fork_gives_the_child_a_bucket_of_its_own():
    """P20: What a child takes is not gone for its parent, nor the other way round."""
    bucket = TokenBucket(10, 1, clock=ManualClock())
    bucket.allow(3)

    def child():
        return sum(bucket.allow() for _ in range(20))

    codes = [fork(child)]
    bucket.allow(5)
    codes.append(fork(child))

    assert codes == [7, 2]
    assert bucket.available_tokens == 2.0


@forking
@pytest.mark.skipif(rate_limiter.compiled, reason="compiled, the call has no lines")
def test_fork_in_the_midst_of_any_line_hangs_neither_parent_nor_child():
    """P20: A process that forks from a handler, at any line of a call, goes on in both."""
    bucket = TokenBucket(1_000, 1, clock=ManualClock())
    codes = []

    def trace(frame, event, arg):
        if "ledger" in frame.f_code.co_filename:
            codes.append(fork(lambda: int(not bucket.allow())))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        bucket.allow()
    finally:
        sys.settrace(before)

    assert len(codes) > 3
    assert set(codes) == {0}
    assert bucket.available_tokens == 999


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


class Amid:
    """A tracer that forks at each of many lines of the package."""

    def __init__(self, every):
        self.every = every
        self.passed = 0
        self.codes = []

    def __call__(self, frame, event, arg):
        if HOME not in frame.f_code.co_filename:
            return None
        self.passed += event == "line"
        failed = len(self.codes) - self.codes.count(0)
        if event == "line" and self.passed % self.every == 0 and failed < 2:
            self.codes.append(fork(self.child))
        return self

    def child(self):
        sys.settrace(None)
        return int(not is_alike(self.one, self.other, self.group))

    def watch(self, call):
        sys.settrace(self)
        try:
            call()
        finally:
            sys.settrace(None)


def is_alike(one, other, group):
    """Use two buckets by their group, and tell whether both have the same."""
    group.allow(1)
    group.reserve(20).cancel()
    return one.retry_after(20) == other.retry_after(20)


@forking
@pytest.mark.parametrize("way", ["allow", "reserve", "cancel", "settle"])
def test_fork_amid_a_call_of_a_group_leaves_both_buckets_alike_in_the_child(way):
    """P20: A child forked at any line of a group's call finds both buckets as one, and no lock."""
    clock = ManualClock()
    amid = Amid(every=5)
    amid.one, amid.other = (TokenBucket(20, 1, clock=clock) for _ in range(2))
    amid.group = BucketGroup(amid.one, amid.other)
    permit = RateLimiter(amid.group).acquire(6).__enter__()
    held = amid.group.reserve(16)
    calls = {
        "allow": lambda: amid.group.allow(2),
        "reserve": lambda: amid.group.reserve(2),
        "cancel": held.cancel,
        "settle": lambda: permit.settle(3),
    }
    if way == "allow":
        held.cancel()

    amid.watch(calls[way])

    assert len(amid.codes) > 3
    assert set(amid.codes) == {0}


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
