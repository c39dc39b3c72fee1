"""Calls of all that the compiled core does, in parts that leave nothing behind; see leaks.py."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import pickle
import weakref
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from random import Random
from types import ModuleType
from typing import Any

import wrapt
from both import START, TERMS, Clock, World, operations, outcome, run

import rate_limiter
from rate_limiter import (
    KeyedRateLimiter,
    Permit,
    RateLimiter,
    TokenBucket,
    per_instance,
    rate_limited,
)
from rate_limiter.charges import charging
from rate_limiter.memory.ledger import Ledger
from rate_limiter.testing import ManualClock
from rate_limiter.token_bucket import Alike

LENGTH = 400  # generated operations on a world
COSTS = [1, 2, 0.5, 1 / 3, 2**53, 2**70, 1e300, Fraction(1, 3), -1, 0, True, "1", None, []]
KEYS = ["a", "b", 7, 2**70, 1.5, None, True, b"a", ("a", 7), ("a", ("b",)), Fraction(1, 3), []]


def attempted(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Return what a call returns; None if it raises, as many are to do here."""
    try:
        return call(*args, **named)
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is
        return None


def generated(steps: int) -> None:
    """Carry out generated operations, on worlds of the compiled core alone."""
    for seed in range(-(-steps // LENGTH)):
        random = Random(seed)  # noqa: S311 - for tests
        world = World(rate_limiter, random.choice(TERMS), random.choice(START))
        try:
            for _, operation in zip(range(LENGTH), operations(random), strict=False):
                outcome(world, operation)
        finally:
            world.keys.steps.keep_to_steps(False)


class Failing(Clock):
    """A clock that fails every other time, once it may."""

    failing = False

    def now(self):
        self.instant += 1
        if self.failing and self.instant % 2:
            raise ArithmeticError("no time")
        return self.instant


class Wide(Clock):
    """A clock whose instants soon have more than 64 bits, or are no integers."""

    def now(self):
        self.instant += 1
        return [2**70, 1, 1.5, "now", Fraction(7)][self.instant % 5]


def takes() -> None:
    """Take tokens from buckets of all terms and clocks, whatever comes of it."""
    failing = Failing(0)
    for clock in (ManualClock(), Clock(0), Clock(2**62 + 5), failing, Wide(0), None):
        for terms in TERMS:
            failing.failing = False
            bucket = attempted(TokenBucket, *terms, **({"clock": clock} if clock else {}))
            if bucket is None:
                continue
            failing.failing = True
            for cost in COSTS:
                for method in (bucket.allow, bucket.try_consume, bucket._at_once):
                    attempted(method, cost)
            attempted(bucket.allow)
            attempted(bucket.allow, tokens=1)
            attempted(bucket.allow, 1, 2)
            look_into(attempted(bucket._at_once, terms[0] / 2))
            attempted(lambda one: one._ledger.full_at, bucket)
    attempted(TokenBucket.allow)
    attempted(TokenBucket.allow, "bucket")


def look_into(moment: Any) -> None:
    """Read what a bucket was like just after, and more than there is."""
    if moment is not None:
        assert len(list(moment)) == len(moment) == 3
        attempted(lambda: moment[3])
        attempted(lambda: moment[-1])


def permits() -> None:
    """Enter permits in every way, settle and refund them, and drop them."""
    bucket = TokenBucket(50, 1, clock=ManualClock())
    for dry_run in (False, True):
        limiter = RateLimiter(bucket, block=False, dry_run=dry_run)
        for number in range(80):  # some more than there are tokens
            attempted(use, limiter, number)
        limiter.acquire()
        limiter.acquire(2)
        attempted(limiter.acquire, 1, 2, 3)
        attempted(limiter.acquire, tokens=1)
        attempted(RateLimiter.acquire, 7)
        attempted(RateLimiter.__enter__, 7)
        attempted(Permit.__enter__, 7)
        attempted(limiter.__exit__, type=None)
        limiter._permit = None
        attempted(limiter.acquire)
        attempted(limiter.__enter__)
    half = Permit.__new__(Permit)
    for name in ("_after", "_state", "_door", "_paid"):
        attempted(getattr, half, name)
        attempted(delattr, half, name)
    attempted(half.__enter__)


def use(limiter: RateLimiter, number: int) -> None:
    """Use a permit, and look at all that it knows."""
    with limiter.acquire(*[[], [1], [2], [0.5]][number % 4]) as permit:
        permit.settle([0, 1, 3, 0.25][number // 4 % 4])
        permit.settle(1)
    assert permit._after is permit._after
    str((permit, permit.levels, permit.waited, permit.tokens))
    permit._after = permit._after
    attempted(delattr, permit, "_after")
    attempted(permit.__enter__)
    attempted(permit.settle, -1)
    attempted(permit)
    if number % 3:
        permit.refund()
        permit.refund()
        attempted(permit.settle, 1)
    with limiter:
        attempted(fail_within, limiter)
    run(limiter.acquire().__aenter__())
    run(limiter.__aenter__())


def fail_within(limiter: RateLimiter) -> None:
    with limiter:
        raise ArithmeticError("in the block")


def functions() -> None:
    """Decorate everything, and call it right and wrong, admitted and refused."""
    for failing in (False, True):
        clock = Failing(0)
        bucket = TokenBucket(20, 1, clock=clock)
        limiters = RateLimiter(bucket, block=False), RateLimiter(bucket, timeout=0)
        decorators = [
            *limiters,
            *(one.cost(by) for one in limiters for by in (2, 0.5, Fraction(1, 3), len_of, fail)),
        ]
        calls = [call for decorator in decorators for call in decorated(decorator)]
        clock.failing = failing
        for call in calls:
            for args in ((), (1,), (1, 2)):
                attempted(call, *args)
                attempted(call, *args, value=3)
                attempted(call, *args, nothing=4)


def len_of(*args: Any, **named: Any) -> int:
    return len(args) + 1


def fail(*_: Any, **__: Any) -> Any:
    raise ArithmeticError("called")


def decorated(decorator: Any) -> list[Callable[..., Any]]:
    """Return calls of everything that this decorator makes; all of it refers to itself."""

    @decorator
    def function(value: Any = 3) -> Any:
        return value, function

    @decorator
    async def coroutine(value: Any = 3) -> Any:
        return value, coroutine

    @decorator
    def generator(value: Any = 3) -> Any:
        yield value, generator

    @decorator
    class Limited:
        pass

    class Client:
        @decorator
        def method(self, value: Any = 3) -> Any:
            return value, Client

        @decorator
        async def coroutine(self, value: Any = 3) -> Any:
            return value, Client

        @decorator
        @classmethod
        def of_class(cls, value: Any = 3) -> Any:
            return value

        @staticmethod
        @decorator
        def static(value: Any = 3) -> Any:
            return value

        @decorator
        def __call__(self, value: Any = 3) -> Any:
            return value

    client = Client()
    inspect.signature(function)
    str((function, function.limiter, Client.method, client.method))
    assert weakref.ref(function)() is function
    return [
        *(function, Limited, decorator(fail), decorator(client), decorator(str.upper)),
        *(client.method, client.of_class, client.static, client, Client.method),
        lambda *args, **named: run(coroutine(*args, **named)),
        lambda *args, **named: run(client.coroutine(*args, **named)),
        lambda *args, **named: next(generator(*args, **named)),
    ]


def keys() -> None:
    """Call by key: at rest and in use, new and known, plain and not, refused and too many."""
    for failing, dry_run in ((False, False), (False, True), (True, False)):
        clock = Failing(0)
        policy = {"block": False, "dry_run": dry_run, "max_keys": 9}
        make = partial(TokenBucket, 3, 1, clock=clock)
        all_limiters = [
            *(KeyedRateLimiter(one, **policy) for one in (make, Alike(make()))),
            KeyedRateLimiter.from_rate("3/second", clock=clock, **policy),
        ]
        calls = [
            [charging(limiters, cost, tell)(tell) for cost in (1, 2, 0.5, len_of)]
            for limiters in all_limiters
        ]
        clock.failing = failing
        for limiters, some in zip(all_limiters, calls, strict=True):
            use_keys(limiters, some)

    class Client:
        @rate_limited(2, 1, block=False, key=per_instance)
        def method(self, *_: Any) -> Any:
            return self

    for client in [Client() for _ in range(5)]:
        for args in ((), (1,), (), ()):
            attempted(client.method, *args)
        attempted(client.method, 1, nothing=2)


def use_keys(limiters: KeyedRateLimiter, calls: list[Callable[..., Any]]) -> None:
    """Call functions for all keys, some of which are in use, and then for the next ones."""
    held = attempted(lambda: limiters["a"].bucket)
    for _ in range(3):
        for call in calls:
            for key in KEYS:
                attempted(call, key)
                attempted(call, key, nothing=1)
                attempted(limiters._keys.take, key, 1)
        attempted(limiters._keys.take, "a")
        attempted(limiters.reset, "a")
        attempted(limiters._sweep)
        attempted(held and held.pause, 1)
    for number in range(30):
        attempted(calls[0], f"user {number}")


def tell(key: Any = 1, *_: Any) -> Any:
    return key


def copies() -> None:
    """Pickle and copy what is live, which is refused, and functions, which are the same again."""
    bucket = TokenBucket(5, 1, clock=ManualClock())
    limiter = RateLimiter(bucket, block=False)
    permit = limiter.acquire().__enter__()
    limited = limiter(tell)
    for one in (bucket, limiter, permit, limited, bucket.allow, bucket._ledger, TokenBucket.allow):
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            attempted(copied, one)
    assert pickle.loads(pickle.dumps(TokenBucket.allow)) is TokenBucket.allow  # noqa: S301 - own


def subclasses() -> None:
    """Make and drop what is derived, with slots or a dictionary, cycles and finalizers."""
    clock = ManualClock()
    gone: list[int] = []
    bucket = TokenBucket(50, 1, clock=clock)
    limiter = RateLimiter(bucket, block=False)
    bases: list[tuple[type, Callable[[Any], Any]]] = [
        (TokenBucket, lambda kind: kind(5, 1, clock=clock)),
        (Ledger, lambda kind: kind(bucket._ledger.limit, 0)),
        (RateLimiter, lambda kind: kind(bucket, block=False)),
        (Permit, lambda kind: kind(limiter, 1)),
    ]
    bodies = [{}, {"__slots__": ("own",)}, {"__slots__": ("__dict__",)}]
    for base, make in bases:
        for body in [*bodies, *({**one, "__del__": lambda _: gone.append(1)} for one in bodies)]:
            kind: Any = type("Own", (base,), body)
            instances = [make(kind) for _ in range(3)]
            for one in instances:
                attempted(setattr, one, "own", instances)
                use_derived(one)
            use_half_made(kind.__new__(kind))


def use_derived(one: Any) -> None:
    for name in ("allow", "acquire", "__enter__", "_at_once"):
        attempted(lambda name=name: getattr(one, name)())


def use_half_made(one: Any) -> None:
    use_derived(one)
    for name in ("full_at", "fast", "limit", "_state"):
        attempted(getattr, one, name)
        attempted(delattr, one, name)
        attempted(setattr, one, name, one)


def modules() -> None:
    """Load the core once more, have it make all that it makes, wrongly as well, and drop it."""
    core = load_core()

    class Journal:
        __slots__ = ("busy",)

    class Bucket:
        __slots__ = ("_ledger", "_now", "circle")

        @partial(core.twin, "at_once")
        def _at_once(self, tokens: Any = 1) -> Any:
            """Do nothing."""
            return self, tokens

        @partial(core.twin, "allow")
        def allow(self, tokens: Any = 1) -> Any:
            return self, tokens

    class Wrapper(wrapt.FunctionWrapper):
        pass

    journal = Journal()
    attempted(core.watch, journal)
    for kind in ("journal", "bucket", "limit", "permit", "nothing"):
        for owner in (Journal, Bucket, Wrapper, int, 7):
            attempted(core.layout, kind, owner)
            attempted(core.layout, kind, owner, "mark", "another")
    core.layout("journal", Journal)
    core.layout("bucket", Bucket)
    journal.busy = False
    core.watch(journal)
    bucket = Bucket()
    bucket.circle = bucket.allow
    for method in (bucket.allow, bucket._at_once, Bucket.allow):
        attempted(method)
        attempted(method, tokens=1)
    ask_twin(Bucket._at_once)
    attempted(core.twin, "nothing", tell)
    for one in ("Twin", "Moment", "LimitFields", "LedgerFields", "PermitFields"):
        attempted(lambda one=one: getattr(core, one)())
    wrap_functions(core, Wrapper, bucket)


def load_core() -> ModuleType:
    """Return another module of the same library."""
    spec = importlib.util.spec_from_file_location("rate_limiter._core", CORE.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask_twin(twin: Any) -> None:
    twin.more = twin
    str((twin, twin.__doc__, twin.__module__, twin.__class__, twin.__wrapped__, twin.__name__))
    attempted(getattr, twin, "nothing")
    attempted(pickle.dumps, twin)
    inspect.signature(twin)
    assert weakref.ref(twin)() is twin


def wrap_functions(core: Any, wrapper: type, bucket: Any) -> None:
    """Derive wrappers, and give them calls of every kind."""
    attempted(core.function_wrapper, 7)
    attempted(core.function_wrapper, bool)
    attempted(core.set_call, print, tell, tell, None)
    kind = core.function_wrapper(wrapper)
    attempted(kind.__new__(kind))
    by_key = tell, {}, 1, tell
    for quick in (None, fail, len_of, bucket.allow, partial(bucket.allow, 2), partial(tell, a=1)):
        for more in ((), (by_key,), (7,), (by_key, by_key)):
            wrapped = kind(tell, lambda *_: None)
            for _ in range(2):
                attempted(core.set_call, wrapped, tell, fail, quick, *more)
                attempted(wrapped, 1)
            wrapped._self_circle = wrapped


CORE: Any = rate_limiter.core.load()
PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part for part in (takes, permits, functions, keys, copies, subclasses, modules)
}
"""Calls by what they are of, each of which is to leave nothing behind."""
