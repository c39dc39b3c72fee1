"""Signals, interrupts, finalizers and threads on buckets of all kinds, counted exactly (P19)."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import random
import signal
import sys
import time
import warnings
from contextlib import suppress
from itertools import count, cycle
from threading import Event, Thread

from figures import finish, switching_often

from rate_limiter import (
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.testing import ManualClock

CAPACITY = 10**9
MOST = 3  # tokens of a call
KEYS = 20
SPEED = 20_000  # tokens per second of the buckets that are waited for
ROUND = 1.0  # seconds after which everything is counted
HUNG = 20.0  # seconds beyond a round
DELAYS = cycle(range(50, 300, 7))  # microseconds


class Storm:
    """Buckets of many kinds, what is done to them, and how often it was.

    What is taken is counted afterwards, and what is given back before: so an interrupt in between
    makes tokens seem lost, as an interrupted call may lose them, and never minted.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.began = time.monotonic()
        self.wealthy = self._pair(2 * CAPACITY, 1, initial_tokens=CAPACITY)
        self.poor = self._pair(10, 1, initial_tokens=0)
        self.quick = (TokenBucket(5, SPEED), TokenBucket(5, SPEED))
        self.paused = TokenBucket(10, 1, clock=self.clock)
        self.group = BucketGroup(*self.wealthy)
        self.empty = BucketGroup(self.poor[0], BucketGroup(self.poor[1]))
        self.waited = BucketGroup(*self.quick)
        self.limiter = RateLimiter(self.group, block=False)
        self.keyed = KeyedRateLimiter(lambda: TokenBucket(CAPACITY, 1, clock=self.clock))
        self.counts = {name: count() for name in ("taken", "given", "stolen", "waits", "errors")}
        self.by_key = [count() for _ in range(KEYS)]
        self.acts = [
            self.take, self.take, self.give, self.settle, self.queue, self.hold, self.steal,
            self.wait, self.change, self.pause, self.ask_key,
        ]  # fmt: skip

    def _pair(self, *args: float, **options: float) -> tuple[TokenBucket, TokenBucket]:
        one, other = (TokenBucket(*args, clock=self.clock, **options) for _ in range(2))
        return one, other

    def take(self) -> None:
        if self.group.allow(2):
            next(self.counts["taken"])
            next(self.counts["taken"])

    def give(self) -> None:
        next(self.counts["given"])
        self.group.refund(1)

    def settle(self) -> None:
        """Take three, and use one."""
        with self.limiter.acquire(3) as permit:
            permit.settle(1)
        next(self.counts["taken"])

    def queue(self) -> None:
        """Stand in a line that does not move, and leave it."""
        self.empty.reserve(2).cancel()

    def hold(self) -> None:
        """Stand in it for one token more than is wanted, and leave it."""
        held = self.empty.reserve(1)
        held.settle(2)
        held.cancel()

    def steal(self) -> None:
        if self.empty.allow():
            next(self.counts["stolen"])

    def wait(self) -> None:
        with suppress(RateLimitExceeded):
            self.waited.wait(1, timeout=0.001)
            next(self.counts["waits"])

    def change(self) -> None:
        """Change what does not matter while the clock stands still."""
        self.wealthy[0].configure(tokens_per_second=random.choice((1, 2, 3)))  # noqa: S311
        self.poor[1].configure(capacity=random.choice((10, 11)))  # noqa: S311

    def pause(self) -> None:
        self.paused.pause(random.choice((1, 5)))  # noqa: S311
        if hasattr(self.paused, "resume"):
            self.paused.resume()

    def ask_key(self) -> None:
        key = random.randrange(KEYS)  # noqa: S311
        if self.keyed[key].bucket.allow():
            next(self.by_key[key])

    def act(self) -> None:
        """Do any of these; an error is a failure."""
        try:
            random.choice(self.acts)()  # noqa: S311
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not to be
            next(self.counts["errors"])
            self.error = f"{type(error).__name__}: {error}"

    def failures(self, interrupts: int) -> list[str]:
        """Return what does not add up when everybody has stopped."""
        counts = {name: next(counter) for name, counter in self.counts.items()}
        most = MOST * interrupts
        failures = [f"{counts['errors']} errors, as {self.error}"] if counts["errors"] else []
        if counts["stolen"]:
            failures.append(f"{counts['stolen']} taken from empty buckets")
        lost = [CAPACITY - _level(one) - counts["taken"] + counts["given"] for one in self.wealthy]
        if lost[0] != lost[1] or not 0 <= lost[0] <= most:
            failures.append(f"{lost} tokens of each bucket lost to {interrupts} interrupts")
        waits = [one.retry_after(10) - 10 for one in self.poor]
        if waits[0] != waits[1] or not 0 <= waits[0] <= most:
            failures.append(f"{waits} tokens of each empty bucket lost to {interrupts} interrupts")
        due = 5 + SPEED * (time.monotonic() - self.began)
        if counts["waits"] > due:
            failures.append(f"{counts['waits']} waits served of {due:.0f}")
        for counter, key in zip(self.by_key, range(KEYS), strict=True):
            gone = CAPACITY - _level(self.keyed[key].bucket) - next(counter)
            if not 0 <= gone <= interrupts:
                failures.append(f"{gone} tokens of a key lost to {interrupts} interrupts")
        return failures + self._leftovers(most)

    def _leftovers(self, lost: int) -> list[str]:
        """Return whose line is not empty, or whose limit no longer holds, when time has passed."""
        self.clock.advance(lost + 100)
        time.sleep(0.01)
        failures = []
        for name, bucket in (("poor", self.empty), ("quick", self.waited), ("paused", self.paused)):
            most = int(bucket.capacity)
            if not bucket.allow(most):
                failures.append(f"the {name} bucket does not fill: {bucket!r}")
            elif name != "quick" and bucket.allow():
                failures.append(f"the {name} bucket holds more than its capacity: {bucket!r}")
        return failures


def _level(bucket: TokenBucket) -> int:
    return round(bucket.available_tokens)


class Ring:
    """Garbage that uses the buckets when it is collected, at whatever line that is."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.me = self

    def __del__(self) -> None:
        with suppress(KeyboardInterrupt):  # it is lost here, and so is what it interrupted
            self.storm.act()


class Weather:
    """The signals: each uses the buckets, and some interrupt what they come in between."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.handlers = self.interrupts = 0
        self.storm: Storm | None = None
        self.armed = False  # whether what runs may be interrupted

    def arm(self) -> None:
        """Have the next one come in 50 to 300 microseconds."""
        signal.setitimer(signal.ITIMER_REAL, next(DELAYS) / 1e6)

    def handle(self, signum: int, frame: object) -> None:
        storm = self.storm
        if storm is None:
            return
        self.handlers += 1
        storm.act()
        storm.act()
        interrupts = self.armed and random.random() < self.share  # noqa: S311
        if interrupts:
            self.armed = False  # one at a time: the next may come before this one is caught
            self.interrupts += 1
        self.arm()
        if interrupts:
            raise KeyboardInterrupt

    def rage(self, storm: Storm, seconds: float) -> int:
        """Use the buckets under it for some seconds; return how many interrupts there were."""
        self.storm, before, end = storm, self.interrupts, time.monotonic() + seconds
        self.arm()
        while time.monotonic() < end:
            try:
                self.armed = True
                for _ in range(50):
                    Ring(storm)
                    storm.act()
                self.armed = False
            except KeyboardInterrupt:
                pass
        self.storm = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self.interrupts - before


def run_round(weather: Weather, seconds: float, threads: int) -> list[str]:
    """Let it rage over new buckets, with other threads on them; then count."""
    storm, stop = Storm(), Event()

    def use() -> None:
        while not stop.is_set():
            storm.act()

    others = [Thread(target=use) for _ in range(threads)]
    for other in others:
        other.start()
    interrupts = weather.rage(storm, seconds)
    stop.set()
    for other in others:
        other.join()
    gc.collect()
    return storm.failures(interrupts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.3, help="of signals that interrupt")
    parser.add_argument("--threads", type=int, default=2, help="besides")
    sizes = parser.parse_args()
    warnings.simplefilter("ignore")  # a permit that an interrupt caught half way says so, rightly
    sys.unraisablehook = lambda failure: None
    weather, failures, rounds = Weather(sizes.share), [], 0
    signal.signal(signal.SIGALRM, weather.handle)
    end = time.monotonic() + sizes.seconds
    gc.set_threshold(7)
    with switching_often():
        while not failures and (left := end - time.monotonic()) > 0:
            faulthandler.dump_traceback_later(ROUND + HUNG, exit=True)
            failures = run_round(weather, min(ROUND, left), sizes.threads)
            rounds += 1
    faulthandler.cancel_dump_traceback_later()
    finish(failures, rounds=rounds, handlers=weather.handlers, interrupts=weather.interrupts)


if __name__ == "__main__":
    main()
