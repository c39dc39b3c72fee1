"""What is done with buckets in processes that fork; returns what the children came to."""

import os
import select
import signal
import sys
from contextlib import contextmanager
from threading import Event, Thread

import rate_limiter
from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

HOME = os.path.dirname(rate_limiter.__file__)  # noqa: PTH120 - compared with names of files
HUNG = 20.0  # seconds after which a child that needs milliseconds is taken to hang


@contextmanager
def busy(use, threads=4):
    """Have threads use something all the time, switching wherever they may."""
    stop = Event()

    def hammer():
        while not stop.is_set():
            for _ in range(100):
                use()

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
        except BaseException:  # noqa: BLE001 - a child must never get back into its parent's work
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


def under_busy_threads(way):
    """Fork 25 children under four busy threads, until one fails; each uses the bucket."""
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

    codes = []
    with busy(bucket.allow):
        while len(codes) < 25 and not any(codes):
            codes.append(fork(child))
    return codes


def while_threads_move_a_clock():
    """Fork 40 children while threads move a clock, until one fails; each moves it."""
    clock, codes = ManualClock(), []

    def child():
        clock.advance(1)
        return int(clock.elapsed < 1)

    with busy(lambda: clock.advance(0), threads=2):
        while len(codes) < 40 and not any(codes):
            codes.append(fork(child))
    return codes


def while_a_thread_waits():
    """Fork a child while a thread sleeps in the bucket; the child waits on its own."""
    bucket = TokenBucket(1, 200, initial_tokens=0)
    waiter = Thread(target=bucket.wait, args=(2,))
    waiter.start()

    def child():
        bucket.wait()
        return int(bucket.available_tokens > 1)

    code = fork(child)
    waiter.join()
    return code


def with_buckets_of_their_own():
    """Take in a child, in its parent, and in another child; return what each got or has left."""
    bucket = TokenBucket(10, 1, clock=ManualClock())
    bucket.allow(3)

    def child():
        return sum(bucket.allow() for _ in range(20))

    codes = [fork(child)]
    bucket.allow(5)
    codes.append(fork(child))
    return codes, bucket.available_tokens


def at_any_line():
    """Fork at each line of a call's step; return the codes, and what is left in the parent."""
    bucket = TokenBucket(1_000, 1, clock=ManualClock())
    codes = []

    def trace(frame, event, arg):
        if "ledger" in frame.f_code.co_filename:
            codes.append(fork(lambda: int(not bucket.allow())))
        return trace

    sys.settrace(trace)
    try:
        bucket.allow()
    finally:
        sys.settrace(None)
    return codes, bucket.available_tokens


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


def amid_a_call_of_a_group(way):
    """Fork at many lines of a group's call; each child uses the group."""
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
    return amid.codes
