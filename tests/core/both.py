"""The same operations on both cores: generated, carried out side by side, and compared.

A world is a bucket of some terms on a clock of its own, with what a program builds upon it. Each
operation is a name and numbers; it returns what a caller would see, an error with its message
included. So a run of them on two worlds must return the same, step by step (P46).
"""

from __future__ import annotations

import gc
import math
import warnings
from decimal import Decimal
from fractions import Fraction
from random import Random

from keys import KEY_OPERATIONS, Keys

START = [
    *(0, 0, 7, -(10**9), 2**62 - 10**15, 2**62 - 3, 2**62 + 5, 2**63 - 10**10, 2**63 + 9),
    *(-(2**62) - 5, -(2**63) - 10**10),
]
TERMS = [
    *((5, 1), (1, 1), (10, 3), (3, 1e-3), (2.5, 0.7), (1, 1e9), (1000, 1e10), (7, Fraction(1, 7))),
    *((100, math.pi), (0.5, 2), (10**9, 1), (10_000, 1 / 300_000), (1e-3, 1e-6), (2**60, 2**58)),
    (2**56, 1e9),
]
COSTS = [
    *(1, 1, 1, 1, 2, 3, 5, 7, 1.0, 2.0, 0.5, 0.1, 1 / 3, 2.5, 1e-9, 1e-300, 10**6),
    *(2**53 - 1, 2**53, 2**53 + 1, 2**54 + 2, 10**30, 1e15, 1e300, 4.5e15),
    *(Fraction(1, 3), Fraction(7, 2), Decimal("0.25"), Decimal("NaN"), math.nan, math.inf),
    *(0, -1, 0.0, -0.5, True, False, None, "1", 1j, {"a": 1}, []),
]
STEPS = [0, 1, 2, 999, 10**6, 333_333_333, 10**9, 7 * 10**9, 10**12, 10**15]  # nanoseconds


class Clock:
    """A clock that may step back, say what is no plain integer, and do something when asked.

    It goes on when it is read, so that both cores have to read it equally often; but not where they
    need not: what gets in the way of a call amid it, an odd key for example, is left to Python,
    which reads it again.
    """

    def __init__(self, start):
        self.instant = start
        self.goes_on = True
        self.kind = int
        self.meddle = None

    def now(self):
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        if self.goes_on and self.kind in (int, Odd) and abs(self.instant) < 2**61:
            self.instant += 1
        return self.kind(self.instant)

    def sleep(self, sleeper, until):
        raise NotImplementedError

    async def sleep_async(self, sleeper, until):
        raise NotImplementedError


class Odd(int):
    """An integer of another kind."""


class World:
    """A bucket of a copy of the package, and what is built upon it."""

    def __init__(self, package, terms, start):
        self.package = package
        self.clock = Clock(start)
        self.bucket = package.TokenBucket(1000, 1000, clock=self.clock)
        other = package.TokenBucket(3, 2, clock=self.clock)
        self.group = package.BucketGroup(a=self.bucket, b=other)
        limiters = [
            package.RateLimiter(self.bucket, block=False),
            package.RateLimiter(self.bucket, timeout=0),
            package.RateLimiter(self.bucket, block=False, dry_run=True),
            package.RateLimiter(self.group, block=False),
        ]
        self.limiters = limiters
        self.calls = [call for limiter in limiters for call in decorated(limiter)]
        self.keyed = keyed(package, terms, self.clock)
        self.keys = Keys(package, terms, self.clock)
        self.permits = []
        self.reservations = []
        self.bucket.configure(*terms)  # only now, for what never fits cannot be decorated


def decorated(limiter):
    """Return calls of everything that this limiter has decorated."""

    @limiter
    def function(*args, **kwargs):
        return args, sorted(kwargs.items())

    @limiter.cost(2)
    def dear(*args):
        return len(args)

    @limiter.cost(lambda *args: len(args))
    def by_length(*args):
        return args

    class Client:
        @limiter
        def method(self, value=3):
            return value

        @limiter.cost(0.5)
        async def coroutine(self, value):
            return value

    client = Client()
    return [
        lambda n: function(),
        lambda n: function(n, key=n),
        dear,
        lambda n: by_length(*range(n % 4)),
        lambda n: client.method(),
        lambda n: client.method(value=n),
        lambda n: Client.method(client, n),
        lambda n: client.method(1, 2, 3),
        lambda n: run(client.coroutine(n)),
        lambda n: run(Client.coroutine(client, value=n)),
    ]


def run(coroutine):
    """Run what never suspends to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    return "suspended"


def keyed(package, terms, clock):
    """Return calls of a function with a key."""
    terms = max(terms[0], 2), terms[1]
    asked = []

    def tell(key, *_):
        asked.append(key)
        return key

    @package.rate_limited(*terms, block=False, key=tell, clock=clock)
    def function(*args):
        return args, len(asked)

    class Client:
        @package.rate_limited(*terms, block=False, cost=2, key=package.per_instance, clock=clock)
        def method(self):
            return "method"

    clients = [Client() for _ in range(3)]
    keys = ["a", "b", -1, -2, 1, 1.0, True, None, b"a", (1, "a"), Fraction(1), [], {}, "a" * 9]
    return [
        *(lambda n, key=key: function(key, n) for key in keys),
        *(lambda n, client=client: client.method() for client in clients),
        lambda n: function(),
        lambda n: Client.method(),
    ]


def operations(random):
    """Yield operations without end, many of them with keys."""
    while True:
        names = KEY_NAMES if random.random() < 0.4 else NAMES
        name = random.choice(names)
        yield name, random.choice(COSTS), random.choice(STEPS), random.randrange(1000)


def entered(world, permit):
    world.permits = [*world.permits[-5:], permit.__enter__()]
    return sorted(map(str, permit.levels.items())), permit.waited, permit.tokens


def awaited(world, permit):
    run(permit.__aenter__())
    world.permits = [*world.permits[-5:], permit]
    return sorted(map(str, permit.levels.items())), repr(permit)


def reserve(world, cost, step, number):
    world.reservations = [*world.reservations[-3:], world.bucket.reserve(cost)]
    return world.reservations[-1].delay


def cancel(world, cost, step, number):
    for reservation in world.reservations:
        reservation.cancel()


def advance(world, cost, step, number):
    world.clock.instant += step if number % 10 else -step


def leap(world, cost, step, number):
    world.clock.instant = START[number % len(START)]


def strange(world, cost, step, number):
    world.clock.kind = [int, int, Odd, Fraction][number % 4]


def meddle(world, cost, step, number):
    acts = [
        lambda: world.bucket.pause(1),
        lambda: world.bucket.reserve(1e6),
        lambda: world.bucket.allow(1),
        lambda: configure(world, cost, step, number),
        lambda: world.bucket.allow(cost),
        lambda: world.limiters[0].acquire().__enter__().refund(),
    ]
    world.clock.meddle = acts[number % len(acts)]


def plain(world, cost, step, number):
    world.clock.kind = int


def configure(world, cost, step, number):
    terms = TERMS[number % len(TERMS)]
    world.bucket.configure(*[*terms, None][number % 3 : number % 3 + 2 - number % 2])


def settled(world, cost, step, number):
    if world.permits:
        world.permits[number % len(world.permits)].settle(cost)


def refunded(world, cost, step, number):
    if world.permits:
        world.permits[number % len(world.permits)].refund()


def dropped(world, cost, step, number):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        world.limiters[number % 4].acquire()
    return [str(warning.message) for warning in caught]


def entered_twice(world, cost, step, number):
    permit = world.limiters[number % 4].acquire()
    permit.__enter__()
    permit.__enter__()


OPERATIONS = {
    "allow": lambda w, cost, step, n: w.bucket.allow(cost),
    "allow one": lambda w, cost, step, n: w.bucket.allow(),
    "allow by name": lambda w, cost, step, n: w.bucket.allow(tokens=cost),
    "try_consume": lambda w, cost, step, n: w.bucket.try_consume(cost),
    "allow wrongly": lambda w, cost, step, n: w.bucket.allow(1, 2),
    "allow named wrongly": lambda w, cost, step, n: w.bucket.allow(token=cost),
    "allow of nothing": lambda w, cost, step, n: type(w.bucket).allow(),
    "allow of something else": lambda w, cost, step, n: type(w.bucket).allow("bucket"),
    "group": lambda w, cost, step, n: w.group.allow(cost),
    "wait": lambda w, cost, step, n: w.bucket.wait(cost, timeout=0),
    "wait_async": lambda w, cost, step, n: run(w.bucket.wait_async(cost, timeout=0)),
    "level": lambda w, cost, step, n: str(w.bucket.level),
    "repr": lambda w, cost, step, n: repr(w.bucket),
    "retry_after": lambda w, cost, step, n: w.bucket.retry_after(cost),
    "refund": lambda w, cost, step, n: w.bucket.refund(cost),
    "pause": lambda w, cost, step, n: w.bucket.pause(step / 1e9),
    "resume": lambda w, cost, step, n: w.bucket.resume(),
    "reset": lambda w, cost, step, n: w.bucket._reset(),
    "full_in": lambda w, cost, step, n: w.bucket._full_in(),
    "reserve": reserve,
    "cancel": cancel,
    "advance": advance,
    "leap": leap,
    "strange clock": strange,
    "plain clock": plain,
    "meddling clock": meddle,
    "configure": configure,
    "acquire": lambda w, cost, step, n: entered(w, w.limiters[n % 4].acquire(cost)),
    "acquire one": lambda w, cost, step, n: entered(w, w.limiters[n % 4].acquire(1)),
    "acquire by name": lambda w, cost, step, n: entered(w, w.limiters[n % 4].acquire(tokens=cost)),
    "acquire wrongly": lambda w, cost, step, n: w.limiters[n % 4].acquire(1, 2, 3, 4, 5),
    "acquire with": lambda w, cost, step, n: entered(w, w.limiters[0].acquire(1, block=False)),
    "enter": lambda w, cost, step, n: entered(w, w.limiters[n % 4]),
    "await": lambda w, cost, step, n: awaited(w, w.limiters[n % 4].acquire()),
    "settle": settled,
    "refund permit": refunded,
    "drop permit": dropped,
    "enter twice": entered_twice,
    "call": lambda w, cost, step, n: w.calls[n % len(w.calls)](n),
    "call by key": lambda w, cost, step, n: w.keyed[n % len(w.keyed)](n),
    "full_at": lambda w, cost, step, n: w.bucket._ledger.full_at,
}
NAMES = [*OPERATIONS, *["allow", "allow one", "advance", "call", "acquire one", "plain clock"] * 4]
NAMES += ["call by key"] * 6
KEY_NAMES = [*KEY_OPERATIONS, *["call key", "call key for two", "advance"] * 4]


def outcome(world, operation):
    """Return what a caller sees of an operation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of permits that an error has kept from being entered
        return attempt(world, *operation)


def attempt(world, name, *numbers):
    quiet = world.clock.meddle is None and not world.keys.steps.JOURNAL.busy
    world.clock.goes_on = quiet and "key" not in name and name not in KEY_OPERATIONS
    try:
        if name in KEY_OPERATIONS:
            return KEY_OPERATIONS[name](world.keys, *numbers)
        return OPERATIONS[name](world, *numbers)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        more = {key: str(getattr(error, key, None)) for key in ("retry_after", "tokens", "levels")}
        return type(error).__name__, str(error), more


def compare(first, second, seed, count):
    """Run generated operations on a world of each package; return the first that differs."""
    gc.disable()  # so that the keys that nobody holds are the same in both
    try:
        return run_both(first, second, Random(seed), count)  # noqa: S311 - for tests
    finally:
        gc.enable()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `outcome`
            gc.collect()


def run_both(first, second, random, count):
    terms, start = random.choice(TERMS), random.choice(START)
    worlds = [World(package, terms, start) for package in (first, second)]
    history = []
    try:
        for _, operation in zip(range(count), operations(random), strict=False):
            history.append(operation)
            got = [outcome(world, operation) for world in worlds]
            if same(*got):
                got = [(world.bucket._ledger.full_at, world.keys.state()) for world in worlds]
            if not same(*got):
                return {"terms": terms, "start": start, "history": history[-20:], "got": got}
    finally:
        for world in worlds:
            world.keys.steps.keep_to_steps(False)
    return None


def same(one, another):
    """Tell whether two outcomes are the same, NaN included, and of the same type."""
    return repr(one) == repr(another)
