"""A choice of all the points at which something can come in between; and that the judge sees."""

import signal
import time
from threading import Event, Lock

import pytest

from rate_limiter import RateLimitExceeded, TokenBucket

from . import outcome, waiters
from .clockwork import Clockwork
from .injectors import Injector
from .operations import OPERATIONS, Operation
from .outcome import HungError
from .pool import Pool
from .scenarios import Scenario, scenarios
from .worlds import World

# A tracer is what lets things in: that of coverage would have to stand aside.
pytestmark = pytest.mark.no_cover
SHARE = 2_999  # one point in this many; a prime, so that no kind of point is left out
SECONDS = 240  # a choice that takes a twentieth of this, unless much hangs or the machine is busy

ALLOW, INTERRUPT = OPERATIONS[0], Injector("interrupt")


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="what hangs could not be killed here")
def test_injection_at_a_choice_of_points_finds_nothing():
    """P19: Nothing is torn by what comes in between, at one of many points in every scenario."""
    pool = Pool(SHARE, patience=3, until=time.monotonic() + SECONDS)
    numbers = list(range(len(scenarios())))

    done = pool.run(numbers)

    assert pool.findings == []
    assert done == len(numbers)
    assert pool.points > 1_000


class Bell:
    """A sleeper."""

    def __init__(self):
        self.rung = Event()

    def sleep(self, seconds):
        self.rung.wait(seconds)
        self.rung.clear()

    def wake(self):
        self.rung.set()


class Pair:
    """Two buckets that are taken from together, in one of many wrong ways.

    Args:
        clock: Of its buckets.
        fault: The way; what it does wrong is between the lines of the method of that name.
    """

    def __init__(self, clock, fault):
        self.clock = clock
        self.a, self.b = (TokenBucket(100, 1, initial_tokens=9, clock=clock) for _ in "ab")
        self.fault = fault
        self.lock = Lock()
        self.open = self.deaf = self.busy = False

    def allow(self, tokens=1):
        if tokens > 50:  # of the judge, whose looks are to be true
            return self.take(tokens)
        return getattr(self, self.fault)(tokens)

    def refund(self, tokens):
        for bucket in (self.a, self.b):
            bucket.refund(tokens)

    def retry_after(self, tokens=1):
        with self.lock:
            return self.a.retry_after(tokens)

    def reserve(self, tokens):
        return self.a.reserve(tokens)

    def take(self, tokens):
        return self.a.allow(tokens) and self.b.allow(tokens)

    def wait(self, tokens):
        sleeper = Bell()
        self.clock.sleep(sleeper, self.clock.now() + 10 * 10**9)
        while self.deaf:
            self.clock.sleep(sleeper, None)

    def sound(self, tokens):
        return self.take(tokens)

    def halved(self, tokens):
        taken = self.a.allow(tokens)
        return taken and self.b.allow(tokens)

    def minting(self, tokens):
        self.refund(tokens)
        return self.take(2 * tokens)

    def losing(self, tokens):
        taken = self.take(2 * tokens)
        self.refund(tokens)
        return taken

    def locking(self, tokens):
        self.lock.acquire()
        taken = self.take(tokens)
        self.lock.release()
        return taken

    def deafening(self, tokens):
        self.deaf = True
        taken = self.take(tokens)
        self.deaf = False
        return taken

    def opening(self, tokens):
        if self.open:
            return True
        self.open = True
        taken = self.take(tokens)
        self.open = False
        return taken

    def widening(self, tokens):
        self.a.configure(capacity=200)
        taken = self.take(tokens)
        self.a.configure(capacity=100)
        return taken

    def lying(self, tokens):
        if self.busy:
            return True
        self.busy = True
        self.asked = Bell()  # allocations, for a finalizer to come in
        taken = self.take(tokens)
        self.busy = False
        return taken

    def discouraging(self, tokens):
        if self.busy:
            raise RateLimitExceeded("not now", retry_after=0.0, tokens=tokens)
        self.busy = True
        self.asked = Bell()
        taken = self.take(tokens)
        self.busy = False
        return taken


def wrongs_of(fault, injector=INTERRUPT, line="empty"):
    """Return everything that is found wrong with such a pair, at all its lines."""

    def make(kind):
        clock = Clockwork()
        pair = Pair(clock, fault)
        return World(pair, pair, [pair.a, pair.b], clock)

    scenario = Scenario(ALLOW, "pair", line, home=__file__, make=make)
    return {
        wrong
        for number in range(1, scenario.lines + 1)
        for wrong in scenario.try_point(injector, number)
    }


@pytest.mark.parametrize(
    ("fault", "line", "wrong"),
    [
        ("halved", "empty", "the buckets disagree"),
        ("minting", "empty", "4 tokens minted"),
        ("losing", "empty", "4 tokens lost"),
        ("deafening", "threads", "those who waited: asleep"),
        ("opening", "empty", "tokens do not come back at the rate"),
        ("widening", "empty", "at once: (9.0, 9.0)"),
    ],
)
def test_judge_of_a_bucket_torn_by_an_interrupt_says_so(monkeypatch, fault, line, wrong):
    """P19: What an interrupt leaves half done in a bucket with a known fault is found."""
    monkeypatch.setattr(waiters, "PATIENCE", 0.1)

    wrongs = wrongs_of(fault, line=line)

    assert any(one.startswith(wrong) for one in wrongs), wrongs


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [("lying", "answers"), ("discouraging", "refused, and told to come again in 0 s")],
)
@pytest.mark.parametrize("kind", ["handler", "finalizer"])
def test_judge_of_a_bucket_that_lies_to_a_handler_says_so(fault, wrong, kind):
    """P19: A wrong answer to a handler or finalizer, by a bucket with a known fault, is seen."""
    wrongs = wrongs_of(fault, Injector(kind, ALLOW))

    assert any(one.startswith(wrong) for one in wrongs), wrongs


def test_judge_of_a_lock_left_held_says_that_another_thread_hangs(monkeypatch):
    """P19: A lock that an interrupt leaves taken is found, for another thread does not get in."""
    monkeypatch.setattr(outcome, "PATIENCE", 0.2)

    with pytest.raises(HungError, match="another thread cannot act"):
        wrongs_of("locking")


def test_judge_of_a_sound_bucket_finds_nothing():
    """P19: An interrupt within what is one step leaves nothing to find."""
    assert wrongs_of("sound") == set()


def test_pool_whose_worker_takes_too_long_says_so():
    """P19: A process that does not answer in time is found, and killed."""
    pool = Pool(1, patience=0.0, start_takes=0.0)

    pool.run([0])

    assert [finding.split(" | ")[-1] for finding in pool.findings] == ["the worker does not answer"]


def test_pool_whose_worker_dies_says_so():
    """P19: A process that ends is found."""
    pool = Pool()

    pool.run([10**6])

    assert len(pool.findings) == 1


def test_scenarios_hold_every_operation_that_there_is():
    """P19: No operation, no kind of bucket and no state of its line is left out."""
    there = {one.operation for one in scenarios() if isinstance(one.operation, Operation)}

    assert there >= {one for one in OPERATIONS if one.name != "resume"}
    assert {(one.kind, one.line) for one in scenarios() if one.operation is ALLOW} == {
        (kind, line)
        for kind in ("single", "group", "nested", "shared")
        for line in ("empty", "short", "threads", "tasks", "reservations")
    }
