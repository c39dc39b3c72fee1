"""Buckets shared by threads that switch as often as the interpreter can."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread, setprofile, settrace

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.testing import ManualClock

THREADS = 8
PATIENCE = 10.0  # seconds for something that takes microseconds, unless it hangs


@pytest.fixture(autouse=True)
def _switch_often():
    """Let the interpreter switch threads wherever it may."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def count_true(call, *, threads=THREADS, calls):
    """Call from several threads that start together, and count how often it returned True."""
    start = Barrier(threads)

    def count():
        start.wait(PATIENCE)
        return sum(call() for _ in range(calls))

    with ThreadPoolExecutor(threads) as pool:
        counts = [pool.submit(count) for _ in range(threads)]
        return sum(future.result() for future in counts)


def trace(frame, event, arg):
    """Trace everything, and each bytecode of the package, in Python: threads can switch there."""
    if "rate_limiter" in frame.f_code.co_filename:
        frame.f_trace_opcodes = True
    return trace


def test_allow_from_threads_at_a_barrier_admits_the_capacity_each_round():
    """P18: Of 16 threads that ask a bucket of 5 at once, 5 are served, in each of 100 rounds."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, clock=clock)
    start = Barrier(16, action=lambda: clock.advance(5))  # full when the round begins
    asked = Barrier(16)

    def ask():
        admitted = []
        for _ in range(100):
            start.wait(PATIENCE)
            admitted.append(bucket.allow())
            asked.wait(PATIENCE)
        return admitted

    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask) for _ in range(16)]
        by_thread = [future.result() for future in asking]

    assert [sum(admitted) for admitted in zip(*by_thread, strict=True)] == [5] * 100


@pytest.mark.no_cover  # measured, the same calls take ten times as long
@pytest.mark.parametrize(
    ("cost", "admitted"), [(1, 7_000), (2, 3_500), (0.1, 70_000), (1 / 3, 21_000)]
)
def test_allow_from_threads_on_a_frozen_clock_admits_exactly_the_capacity(cost, admitted):
    """P18: Eight threads at 10,000 calls each are admitted exactly what the bucket held."""
    bucket = TokenBucket(7_000, 1, clock=ManualClock())

    assert count_true(lambda: bucket.allow(cost), calls=10_000) == admitted
    assert bucket.available_tokens == 0.0


@pytest.mark.parametrize("install", [settrace, setprofile])
def test_allow_from_traced_threads_admits_exactly_the_capacity(install):
    """P18: Threads that a Python tracer lets switch at any bytecode lose and mint nothing."""
    bucket = TokenBucket(500, 1, clock=ManualClock())

    install(trace)
    try:
        admitted = count_true(bucket.allow, calls=150)
    finally:
        install(None)

    assert admitted == 500


def test_refund_from_threads_that_also_take_leaves_the_level_exact():
    """P18: Threads that each give back what they took leave the bucket as they found it."""
    bucket = TokenBucket(THREADS, 1, clock=ManualClock())

    def take_and_give_back():
        taken = bucket.allow()
        bucket.refund(1)
        return taken

    settrace(trace)
    try:
        admitted = count_true(take_and_give_back, calls=100)
    finally:
        settrace(None)

    assert admitted == THREADS * 100
    assert bucket.available_tokens == THREADS


def test_allow_from_threads_on_the_real_clock_admits_at_most_what_accrued():
    """P1: Eight threads on the machine's clock stay within the capacity and what came back."""
    began = time.monotonic()
    bucket = TokenBucket(100, 20_000)

    admitted = count_true(bucket.allow, calls=5_000)

    assert 100 <= admitted <= 100 + 20_000 * (time.monotonic() - began)


def test_wait_from_threads_takes_exactly_the_time_of_the_tokens():
    """P18: However threads interleave, 390 tokens that must accrue at ten a second take 39 s."""
    clock = ManualClock(auto_advance=True)
    bucket = TokenBucket(10, 10, clock=clock)

    count_true(lambda: bucket.wait() is None, calls=50)

    assert clock.elapsed == 39.0
    assert bucket.available_tokens == 0.0


def test_call_decorated_from_threads_runs_exactly_the_capacity():
    """P18: A function that threads share runs as often as its bucket had tokens."""
    ran = []

    @rate_limited(1_000, 1, block=False, clock=ManualClock())
    def work():
        ran.append(1)

    def run():
        try:
            work()
        except RateLimitExceeded:
            return False
        return True

    assert count_true(run, calls=500) == 1_000
    assert len(ran) == 1_000


@pytest.mark.parametrize("method", ["allow", "retry_after", "refund"])
def test_call_while_threads_wait_returns_at_once(method):
    """P16: Threads that sleep until their tokens come hold no lock that others need."""
    clock = ManualClock()
    bucket = TokenBucket(2, 1, initial_tokens=0, clock=clock)
    limiter = RateLimiter(bucket)
    sleepers = [Thread(target=wait, daemon=True) for wait in (bucket.wait, limiter.__enter__)]
    returned = Event()

    for sleeper in sleepers:
        sleeper.start()
    clock.wait_for_sleepers(2)
    caller = Thread(target=lambda: (getattr(bucket, method)(1), returned.set()), daemon=True)
    caller.start()
    came_back = returned.wait(PATIENCE)
    clock.advance(10)
    for sleeper in sleepers:
        sleeper.join(PATIENCE)

    assert came_back
    assert clock.sleepers == 0


def test_run_the_memory_torture_with_small_numbers_succeeds():
    """P1: The torture run that the stress folder holds passes at a hundredth of its size."""
    script = Path(__file__).parent / "stress" / "memory.py"
    sizes = ["--calls=1000", "--loops=2", "--tasks=50", "--cancelled=100"]

    run = subprocess.run(  # noqa: S603 - this project's own script
        [sys.executable, script, *sizes], capture_output=True, text=True, timeout=50, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
