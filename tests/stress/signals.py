"""Signal handlers and interrupts that come in between calls of the bucket they use (P19)."""

from __future__ import annotations

import argparse
import faulthandler
import signal
import time
from contextlib import suppress
from itertools import cycle
from threading import Thread

from figures import finish

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

CAPACITY = 100_000
DELAYS = cycle(range(50, 300, 7))  # microseconds
HUNG = 30.0  # seconds


def arm() -> None:
    """Have SIGALRM come in 50 to 300 microseconds."""
    signal.setitimer(signal.ITIMER_REAL, next(DELAYS) / 1e6)


def run_handlers(seconds: float, failures: list[str]) -> tuple[int, int]:
    """Take from a bucket that a handler takes from as well; count exactly."""
    clock = ManualClock()
    bucket = TokenBucket(CAPACITY, 1, clock=clock)
    here = handled = handlers = 0
    rounds = 1

    def handle(signum: int, frame: object) -> None:
        nonlocal handled, handlers
        handlers += 1
        handled += bucket.allow()
        arm()

    signal.signal(signal.SIGALRM, handle)
    end = time.monotonic() + seconds
    arm()
    while time.monotonic() < end:
        while bucket.allow():
            here += 1
        clock.advance(CAPACITY)
        rounds += 1
    signal.signal(signal.SIGALRM, lambda *_: None)  # a late one would set the timer again
    signal.setitimer(signal.ITIMER_REAL, 0)
    while bucket.allow():
        here += 1
    if here + handled != rounds * CAPACITY:
        failures.append(f"{here} + {handled} admitted of {rounds * CAPACITY}")
    return handlers, here + handled


def run_interrupts(interrupts: int, failures: list[str]) -> int:
    """Interrupt calls; another thread must get in, and at most one token an interrupt is lost."""
    capacity = 10**9
    bucket = TokenBucket(capacity, 1, clock=ManualClock())
    served = came = 0
    due = False  # Python may call a handler late; it interrupts only what is to be interrupted

    def handle(signum: int, frame: object) -> None:
        nonlocal came, due
        if due:
            due = False
            came += 1
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handle)
    while came < interrupts:
        with suppress(KeyboardInterrupt):
            due = True
            arm()
            for _ in range(10_000):
                bucket.allow()
                served += 1
            due = False
        if not allows_elsewhere(bucket):
            failures.append("the lock is not free after an interrupt")
            break
        served += 1
    lost = round(capacity - bucket.available_tokens) - served
    if not 0 <= lost <= interrupts:
        failures.append(f"{lost} tokens lost")
    return lost


def allows_elsewhere(bucket: TokenBucket) -> bool:
    """Take a token in another thread, and tell whether that came back."""
    other = Thread(target=bucket.allow, daemon=True)
    other.start()
    other.join(HUNG / 2)
    return not other.is_alive()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of handlers")
    parser.add_argument("--interrupts", type=int, default=10_000)
    sizes = parser.parse_args()
    failures: list[str] = []
    longest = sizes.seconds + sizes.interrupts / 100 + HUNG
    faulthandler.dump_traceback_later(longest, exit=True)
    handlers, admitted = run_handlers(sizes.seconds, failures)
    lost = run_interrupts(sizes.interrupts, failures)
    faulthandler.cancel_dump_traceback_later()
    finish(
        failures, handlers=handlers, admitted=admitted, interrupts=sizes.interrupts, lost_calls=lost
    )


if __name__ == "__main__":
    main()
