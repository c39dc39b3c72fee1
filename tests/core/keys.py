"""Keys at rest and in use, for `both`: what a program does with them, and what gets in its way."""

from __future__ import annotations

import math
from importlib import import_module

MOST = 40  # keys that may be in use
PLAIN = [
    *("a", "b", "user", "", 1, 1.0, True, 2**61, 2, 2**62, -1, -2, 0, False, 0.0, None, b"a"),
    *(("a", 1), ("a", True), (), ("a", (1,)), (None, b"b"), math.nan, math.inf, 10**30, 1.5),
]
MEDDLERS = ["a", 1, 2**61, ("a", 1), "other"]  # what those equal that do something when asked


class Keys:
    """Calls that are limited by key, and their limiters, on a copy of the package."""

    def __init__(self, package, terms, clock):
        name = package.__name__
        charging = import_module(f"{name}.charges").charging
        alike = import_module(f"{name}.token_bucket").Alike
        self.steps = import_module(f"{name}.memory.transaction")
        bucket = package.TokenBucket(max(terms[0], 2), terms[1], clock=clock)
        own = package.KeyedRateLimiter(
            lambda: package.TokenBucket(3, 1, clock=clock), block=False, max_keys=MOST
        )
        self.limiters = [
            own,
            *(
                package.KeyedRateLimiter(alike(bucket), block=False, dry_run=dry_run, max_keys=most)
                for dry_run, most in [(False, MOST), (True, MOST), (False, 2**70)]
            ),
        ]
        self.charging = charging
        self.clock = clock
        self.held = []
        self.odd = [
            *(Meddler(self, key) for key in MEDDLERS),
            *(
                Own("a"),
                Own("c"),
                Equal(1),
                Equal(2**61),
                Raising(1),
                Raising("a"),
                [],
                Unhashable(),
            ),
        ]

    def key(self, number):
        """Return a key: mostly one of a few, sometimes one of many, or an odd one."""
        if number % 5 == 0:
            return f"user {number % 200}"
        return (PLAIN * 2 + self.odd)[number % (2 * len(PLAIN) + len(self.odd))]

    def call(self, cost, number, key):
        """Call a function that has just been decorated, so that any cost can be tried."""
        charged = self.charging(self.limiters[number % 4], cost, told)
        if number % 7 == 0:
            return send(charged(function_async)(key))
        return charged(function)(key)

    def state(self):
        """Return all that is kept of keys."""
        return [
            (one._keys.count, list(one._keys.full_at.items()), [entry(e) for e in one._all()])
            for one in self.limiters
        ]


def entry(entry):
    """Return what is kept of a key in use."""
    limiter = entry.limiter
    return entry.key, entry.number, limiter and limiter.bucket._ledger.full_at


def told(key):
    return key


def function(key):
    return "called"


async def function_async(key):
    return "awaited"


def send(coroutine):
    """Run what never suspends to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    return "suspended"


class Own(str):
    """A string of the user's."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return str.__eq__(self, other)


class Equal:
    """Equals a key, and has its hash."""

    def __init__(self, key):
        self.key = key

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return (other.key if isinstance(other, Equal) else other) == self.key

    def __repr__(self):
        return f"{type(self).__name__}({self.key!r})"


class Raising(Equal):
    """Cannot be compared."""

    __hash__ = Equal.__hash__

    def __eq__(self, other):
        raise ArithmeticError(f"{self} == {other!r}")


class Unhashable:
    """Cannot be hashed."""

    def __hash__(self):
        raise ArithmeticError("no hash")

    def __repr__(self):
        return "Unhashable()"


class Meddler(Equal):
    """Calls, wakes or fills the key that it equals, or others, when it is hashed or compared."""

    def __init__(self, keys, key):
        super().__init__(key)
        self.keys = keys
        self.asked = 0
        self.within = False

    def __hash__(self):
        self.meddle()
        return hash(self.key)

    def __eq__(self, other):
        self.meddle()
        return Equal.__eq__(self, other)

    def meddle(self):
        if self.within:
            return
        self.asked += 1
        self.within = True
        attempt(lambda: meddle(self.keys, self.key, self.asked))
        self.within = False


def meddle(keys, key, number):
    """Change what is being looked at."""
    limiters = keys.limiters[number % 4]
    acts = [
        lambda: None,
        lambda: keys.call(1, number, key),
        lambda: keys.held.append(limiters[key]),
        lambda: limiters.reset(key),
        lambda: limiters[key].bucket.pause(2),
        lambda: [keys.call(1, number, f"more {key} {more}") for more in range(10)],
        keys.held.clear,
        limiters._sweep,
        lambda: leave_busy(keys, None, None, number),
        lambda: listen(keys, None, None, number),
    ]
    acts[number // 4 % len(acts)]()


def attempt(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return repr(error)


def many(keys, cost, step, number):
    """Call for many keys, some of which may be known."""
    for more in range(number % 30):
        keys.call(1, number, f"user {(number + more) % 200}")


def hold(keys, cost, step, number):
    keys.held = [*keys.held[-4:], keys.limiters[number % 4][keys.key(number)]]


def use_held(keys, cost, step, number):
    return keys.held and keys.held[number % len(keys.held)].bucket.allow(cost)


def drop_held(keys, cost, step, number):
    keys.held.clear()


def meddle_in_clock(keys, cost, step, number):
    keys.clock.meddle = lambda: meddle(keys, keys.key(number // 7), number)


def leave_busy(keys, cost, step, number):
    """Leave what an interrupt may leave; the next step clears it."""
    keys.steps.JOURNAL.busy = True


def listen(keys, cost, step, number):
    """Keep everybody to steps for a while, as hooks do."""
    keys.steps.keep_to_steps(number % 3 == 0)


def put_far_off(keys, cost, step, number):
    """Have a key at rest be full at what is beyond 64 bits of nanoseconds, or of whatever kind."""
    full_at = keys.limiters[number % 4]._keys.full_at
    if full_at:
        key = list(full_at)[-1 - number // 4 % min(len(full_at), 5)]
        full_at[key] = [10**45, -(10**45), True][number % 3]
        return attempt(lambda: keys.call(1, number, key)), attempt(
            lambda: keys.call(2, number, key)
        )
    return None


KEY_OPERATIONS = {
    "call key": lambda k, cost, step, n: k.call(1, n, k.key(n)),
    "call key for two": lambda k, cost, step, n: k.call(2, n, k.key(n)),
    "call key for any cost": lambda k, cost, step, n: k.call(cost, n, k.key(n)),
    "call many keys": many,
    "take at rest": lambda k, cost, step, n: k.limiters[n % 4]._keys.take(k.key(n), cost),
    "take at rest by name": lambda k, cost, step, n: k.limiters[1]._keys.take(tokens=1, key="a"),
    "take at rest wrongly": lambda k, cost, step, n: k.limiters[1]._keys.take("a"),
    "hold key": hold,
    "use held key": use_held,
    "drop held keys": drop_held,
    "wake key": lambda k, cost, step, n: repr(k.limiters[n % 4][k.key(n)].bucket),
    "pause key": lambda k, cost, step, n: k.limiters[n % 4][k.key(n)].bucket.pause(step / 1e9),
    "reserve for key": lambda k, cost, step, n: k.limiters[1][k.key(n)].bucket.reserve(3).delay,
    "reset key": lambda k, cost, step, n: k.limiters[n % 4].reset(k.key(n)),
    "sweep keys": lambda k, cost, step, n: k.limiters[n % 4]._sweep(),
    "tend keys": lambda k, cost, step, n: k.limiters[n % 4]._tend(k.key(n)),
    "far off": put_far_off,
    "clock that meddles with keys": meddle_in_clock,
    "busy is left": leave_busy,
    "hooks listen": listen,
}
