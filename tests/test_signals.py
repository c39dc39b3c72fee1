"""Signal handlers, interrupts and tracers that use the bucket they came in between."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from threading import Thread

import pytest

from rate_limiter import RateLimiter, TokenBucket, compiled
from rate_limiter.testing import ManualClock

# The timer of a test is the one that pytest-timeout would use; and what is interrupted must not be
# the measuring of coverage, which does not give its own lock back.
pytestmark = [pytest.mark.timeout(60, method="thread"), pytest.mark.no_cover]
timed = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
PATIENCE = 5.0  # seconds for something that takes microseconds, unless it hangs
CAPACITY = 2_000
FEWEST = 1 if compiled else 5  # moments in a call: in C there are none
DELAYS = cycle(range(50, 200, 7))  # microseconds


# A permit that an interrupt caught between acquire() and the block says so, rightly.
DROPPED = "ignore:acquire.* was never entered:RuntimeWarning"


@pytest.fixture
def ignored(monkeypatch):
    """Collect what finalizers raised: Python has nobody to pass it on to."""
    kinds = set()
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: kinds.add(failure.exc_type))
    return kinds


@contextmanager
def handler(handle):
    """Have SIGALRM handled for the length of a with-block."""
    before = signal.signal(signal.SIGALRM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, lambda *_: None)  # a late one would set the timer again
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def tracer(trace):
    """Trace this thread for the length of a with-block, and then as before (a debugger may)."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def arm():
    """Have SIGALRM come in 50 to 200 microseconds."""
    signal.setitimer(signal.ITIMER_REAL, next(DELAYS) / 1e6)


def interrupt(*_):
    raise KeyboardInterrupt


def is_free(bucket):
    """Tell whether another thread can take from the bucket and give back."""
    uses = [Thread(target=use, args=(1e-9,), daemon=True) for use in (bucket.allow, bucket.refund)]
    for use in uses:
        use.start()
        use.join(PATIENCE)
    return not any(use.is_alive() for use in uses)


def take_for(bucket, seconds, on_empty):
    """Take tokens as fast as possible; return how many."""
    end = time.monotonic() + seconds
    taken = 0
    while time.monotonic() < end:
        while bucket.allow():
            taken += 1
        on_empty()
    return taken


@timed
@pytest.mark.parametrize("traced", [False, True])
def test_allow_in_a_signal_handler_shares_the_bucket_exactly(traced):
    """P19: A handler that takes from the bucket its thread is at neither hangs nor miscounts."""
    clock = ManualClock()
    bucket = TokenBucket(CAPACITY, 1, clock=clock)
    counts = {"handled": 0, "rounds": 1}

    def handle(signum, frame):
        counts["handled"] += bucket.allow()
        arm()

    def fill():
        counts["rounds"] += 1
        clock.advance(CAPACITY)

    def trace(frame, event, arg):
        return trace

    with handler(handle), tracer(trace if traced else sys.gettrace()):
        arm()
        taken = take_for(bucket, 0.5, fill)
    while bucket.allow():
        taken += 1

    assert counts["handled"] > 0
    assert taken + counts["handled"] == CAPACITY * counts["rounds"]
    assert is_free(bucket)


@timed
@pytest.mark.filterwarnings(DROPPED)
@pytest.mark.parametrize("way", ["allow", "limiter", "decorated"])
def test_interrupt_at_random_moments_leaves_the_lock_free_and_loses_one_call_at_most(way, ignored):
    """P19: Of 600 interrupts none leaves the lock taken, or more gone than its own call's token."""
    bucket = TokenBucket(10**9, 1, clock=ManualClock())
    limiter = RateLimiter(bucket, block=False)
    decorated = limiter(list)
    acts = {"allow": bucket.allow, "limiter": limiter.__enter__, "decorated": decorated}
    act, served, interrupts = acts[way], 0, 0
    due = False  # Python may call a handler late; it interrupts only what is to be interrupted

    def interrupt_what_is_due(*_):
        nonlocal interrupts, due
        if due:
            due = False
            interrupts += 1
            raise KeyboardInterrupt

    with handler(interrupt_what_is_due):
        while interrupts < 600:
            with suppress(KeyboardInterrupt):
                due = True
                arm()
                for _ in range(1_000):
                    act()
                    served += 1
                due = False
            assert interrupts % 20 or is_free(bucket)

    lost = 10**9 - bucket.available_tokens - served
    assert 0 <= lost <= interrupts
    assert ignored <= {KeyboardInterrupt}


@timed
def test_interrupt_a_wait_by_a_signal_gives_its_tokens_back():
    """P11: A real KeyboardInterrupt ends a real sleep at once and returns its tokens."""
    bucket = TokenBucket(2, 1e-6, initial_tokens=1)

    with handler(interrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            bucket.wait(2)

    assert 1 <= bucket.available_tokens < 1.01
    assert is_free(bucket)


class Moment:
    """A tracer that calls something at the n-th line, call or return within the package."""

    def __init__(self, number, on_moment):
        self.left = number
        self.on_moment = on_moment

    def __call__(self, frame, event, arg):
        if "rate_limiter" in frame.f_code.co_filename:
            self.left -= 1
            if self.left == 0:
                self.on_moment()
        return self


def at_each_moment(act, on_moment):
    """Run `act` once for each moment in it, with `on_moment` called then; return how many."""
    number = 0
    while True:
        moment = Moment(number + 1, on_moment)
        with suppress(KeyboardInterrupt), tracer(moment):
            act()
        if moment.left > 0:
            return number
        number += 1


def test_allow_in_the_midst_of_any_line_of_allow_counts_exactly():
    """P19: Wherever a tracer lets a handler in, both it and the call it came in get their token."""
    bucket = TokenBucket(1_000, 1, clock=ManualClock())
    taken = []

    def allow():
        taken.append(bucket.allow())

    count = at_each_moment(allow, allow)

    assert count > FEWEST
    assert taken == [True] * (2 * count + 1)
    assert bucket.available_tokens == 1_000 - len(taken)


@pytest.mark.filterwarnings(DROPPED)
@pytest.mark.parametrize("way", ["allow", "refund", "limiter"])
def test_interrupt_in_the_midst_of_any_line_leaves_the_lock_free(way, ignored):
    """P19: A KeyboardInterrupt at any line of a traced call leaves the bucket usable by others."""
    bucket = TokenBucket(1_000, 1, initial_tokens=500, clock=ManualClock())
    limiter = RateLimiter(bucket)
    acts = {"allow": bucket.allow, "refund": lambda: bucket.refund(1), "limiter": limiter.__enter__}

    def use():
        try:
            acts[way]()
        finally:
            sys.settrace(None)
            assert is_free(bucket)

    count = at_each_moment(use, interrupt)

    assert count > FEWEST
    assert abs(500 - bucket.available_tokens) <= count + 1
    assert ignored <= {KeyboardInterrupt}


@timed
@pytest.mark.parametrize("share", [0, 0.3])
def test_run_the_storm_for_a_moment_succeeds(share):
    """P19: The torture run that the stress folder holds counts exactly after a second of it."""
    script = Path(__file__).parent / "stress" / "storm.py"

    run = subprocess.run(  # noqa: S603 - this project's own script
        [sys.executable, script, "--seconds=1", f"--share={share}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
