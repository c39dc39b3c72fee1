"""Where operations run: a few buckets, a clock that stands still, and a line before them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from rate_limiter import BucketGroup, KeyedRateLimiter, TokenBucket
from rate_limiter.memory import at_rest

from .clockwork import Clockwork
from .waiters import LineOfReservations, LineOfTasks, LineOfThreads

__all__ = ["KINDS", "LINES", "Actor", "World", "make_world"]

CAPACITY = 100  # far above what is ever there, so that nothing overflows and each token counts
AT_FIRST = 9
LEFT = 2  # tokens of a bucket that is short of them
KINDS = ("single", "group", "nested", "shared", "keyed", "resting")
LINES = ("empty", "short", "threads", "tasks", "reservations")


@dataclass
class Actor:
    """Who runs an operation: the caller under test, or what comes in between."""

    bucket: object
    cost: float
    timeout: float | None = None
    held: object = None  # a limiter, a permit or a reservation made in advance


@dataclass
class World:
    """Buckets, those who wait for them, and those who act on them."""

    root: object
    other: object  # the same bucket, or a group that shares a bucket with it
    leaves: list
    clock: Clockwork = field(default_factory=Clockwork)
    keyed: KeyedRateLimiter | None = None
    line: LineOfThreads | LineOfTasks | LineOfReservations = field(
        default_factory=LineOfReservations
    )
    loop: asyncio.AbstractEventLoop | None = None
    inside: list | None = None  # the buckets of the root, if those are not all the leaves

    def __post_init__(self) -> None:
        self.caller = Actor(self.root, 4)
        self.guest = Actor(self.other, 3, timeout=0)
        self.inside = self.inside or self.leaves
        self.clock.let_others_run = self.let_others_run

    def let_others_run(self) -> None:
        """Let those in line whose time has come go."""
        self.line.let_run()

    def form(self, line: str) -> None:
        """Have others wait, once whoever acts has prepared for it."""
        if line == "empty":
            return
        for leaf in self.leaves:
            rest = int(leaf.available_tokens) - LEFT * (line == "short")
            if rest > 0:
                leaf.allow(rest)
        if line == "threads":
            self.line = LineOfThreads(self.clock)
        elif line == "tasks":
            self.line = LineOfTasks(self.event_loop())
        if line != "short":
            for bucket, cost in ((self.root, 2), (self.leaves[-1], 1), (self.other, 3)):
                self.line.join(bucket, cost)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of this world, made when it is first needed."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        return self.loop

    def close(self) -> None:
        """End what is left of it."""
        if self.loop is not None and not self.loop.is_running():
            self.loop.close()


def make_world(kind: str) -> World:
    """Make buckets of this kind, that nobody has come to yet."""
    clock = Clockwork()
    a, b, c = (TokenBucket(CAPACITY, 1, initial_tokens=AT_FIRST, clock=clock) for _ in range(3))
    if kind == "single":
        return World(a, a, [a], clock)
    if kind == "group":
        group = BucketGroup(a=a, b=b)
        return World(group, group, [a, b], clock)
    if kind == "nested":
        outer = BucketGroup(inner=BucketGroup(a=a, b=b), c=c)
        return World(outer, outer, [a, b, c], clock)
    if kind == "shared":
        ab, bc = BucketGroup(a=a, b=b), BucketGroup(b=b, c=c)
        return World(ab, bc, [a, b, c], clock, inside=[a, b])
    return _make_keyed(clock) if kind == "keyed" else _make_resting(clock)


def _make_keyed(clock: Clockwork) -> World:
    """Make limiters of which one bucket is in use, and the others are full and may be dropped."""
    keyed = KeyedRateLimiter(lambda: TokenBucket(CAPACITY, 1, clock=clock), max_keys=20)
    victim = keyed["victim"].bucket
    victim.allow(CAPACITY - AT_FIRST)
    for number in range(10):
        keyed[number]
    return World(victim, victim, [victim], clock, keyed=keyed)


def _make_resting(clock: Clockwork) -> World:
    """Make limiters of which one bucket is held, and other keys are at rest, some of them full."""
    at_rest.gettrace = lambda: None  # what comes in between lines is no tracer of bytecodes
    keyed = KeyedRateLimiter.from_rate("1/second", CAPACITY, max_keys=20, clock=clock)
    victim = keyed["victim"].bucket
    victim.allow(CAPACITY - AT_FIRST)
    for number in range(10):
        keyed._take_at_rest(number, 1 + number % 2)
    clock.advance(1)
    return World(victim, victim, [victim], clock, keyed=keyed)
