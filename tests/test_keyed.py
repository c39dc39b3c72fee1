"""One limiter for each key: which one, with what policy, and how many."""

import asyncio
import math
import sys
import threading
import time

import pytest

from rate_limiter import (
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from rate_limiter.testing import ManualClock

PRIVATE = "user@example.org"


def make_limiters(clock=None, capacity=2, rate=1, **options):
    """Limiters with a bucket of two tokens for each key."""
    clock = clock or ManualClock()
    return KeyedRateLimiter(lambda: TokenBucket(capacity, rate, clock=clock), **options)


@pytest.fixture
def fast_switching():
    """Have the interpreter switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_get_a_key_again_returns_the_same_limiter():
    """A key has one limiter, equal keys share it, and other keys have their own."""
    limiters = make_limiters()
    first = limiters["a"]
    assert limiters["a"] is first
    assert limiters[1] is limiters[1.0]
    assert limiters["b"] is not first
    assert first.bucket.allow(2)
    assert not limiters["a"].bucket.allow()
    assert limiters["b"].bucket.allow(2)
    assert len(limiters) == 3


@pytest.mark.parametrize("key", [None, 0, "", (1, "a"), frozenset(), b"\0", float("nan")])
def test_get_any_hashable_key_returns_a_limiter(key):
    """Whatever is hashable is a key, None and the empty string included."""
    limiters = make_limiters()
    assert isinstance(limiters[key], RateLimiter)
    assert limiters[key] is limiters[key]


@pytest.mark.parametrize(
    ("options", "block", "timeout"),
    [({}, True, None), ({"block": False}, False, None), ({"timeout": 3}, True, 3)],
)
def test_get_a_limiter_has_the_policy_given(options, block, timeout):
    """Every key's limiter waits, or refuses, as the keyed limiter was told."""
    limiter = make_limiters(**options)["a"]
    assert (limiter.block, limiter.timeout) == (block, timeout)


@pytest.mark.parametrize(
    ("make_bucket", "options", "error", "match"),
    [
        (None, {}, TypeError, "make_bucket must be callable"),
        (TokenBucket(1, 1), {}, TypeError, "make_bucket must be callable"),
        (list, {"block": 1}, TypeError, "block must be True or False"),
        (list, {"block": False, "timeout": 1}, ValueError, "needs block=True"),
        (list, {"timeout": math.nan}, ValueError, "timeout"),
        (list, {"timeout": "1"}, TypeError, "timeout"),
        (list, {"max_keys": 0}, ValueError, "max_keys must be above 0"),
        (list, {"max_keys": -1}, ValueError, "max_keys must be above 0"),
        (list, {"max_keys": True}, TypeError, "max_keys must be an int"),
        (list, {"max_keys": 1.5}, TypeError, "max_keys must be an int"),
        (list, {"max_keys": None}, TypeError, "max_keys must be an int"),
    ],
)
def test_make_keyed_limiter_with_bad_arguments_raises(make_bucket, options, error, match):
    """P22: What is out of range or of the wrong kind is refused with a message that says so."""
    with pytest.raises(error, match=match):
        KeyedRateLimiter(make_bucket, **options)


def test_get_a_key_whose_bucket_is_none_raises():
    """What make_bucket returns must be a bucket; if it is not, no key is added."""
    limiters = KeyedRateLimiter(list)
    with pytest.raises(TypeError, match="bucket must be a TokenBucket"):
        limiters["a"]
    assert len(limiters) == 0


@pytest.mark.parametrize("key", [[PRIVATE], {PRIVATE: 1}, {PRIVATE}, (1, [PRIVATE])])
def test_get_an_unhashable_key_raises(key):
    """P26: An unhashable key is a TypeError that names its type and never its value."""
    limiters, calls = make_limiters(), []

    @rate_limited(2, 1, key=lambda key: key, clock=ManualClock())
    def call(key):
        calls.append(key)

    for use in (limiters.__getitem__, call):
        with pytest.raises(TypeError, match="hashable") as caught:
            use(key)
        assert PRIVATE not in str(caught.value)
    assert (len(limiters), len(call.limiter), calls) == (0, 0, [])


def test_refuse_a_key_never_shows_it():
    """P26: Neither a refusal of a known key nor of a new one, nor any repr, shows a key."""
    limiters = make_limiters(block=False, max_keys=1)
    texts = [repr(limiters), repr(limiters[PRIVATE]), repr(limiters[PRIVATE].acquire)]
    with limiters[PRIVATE].acquire(2) as permit:
        texts.append(repr(permit))
    for key in (PRIVATE, PRIVATE + "-2"):
        with pytest.raises(RateLimitExceeded) as caught, limiters[key].acquire():
            pass
        texts += [str(caught.value), repr(caught.value), repr(vars(caught.value))]
    assert len(texts) == 10
    assert not [text for text in texts if PRIVATE in text]


@pytest.mark.parametrize("policy", [{}, {"block": False}, {"timeout": 0}])
def test_call_with_a_key_limits_each_key(policy):
    """A decorated function charges the bucket of the key that its arguments name."""
    clock = ManualClock(auto_advance=not policy)

    @rate_limited(1, 1, key=lambda user, **_: user, clock=clock, **policy)
    def fetch(user, *, page=0):
        return user, page

    assert [fetch("a"), fetch("b", page=2)] == [("a", 0), ("b", 2)]
    if policy:
        with pytest.raises(RateLimitExceeded):
            fetch("a")
    else:
        assert fetch("a") == ("a", 0)
    assert clock.elapsed == (0 if policy else 1)
    assert len(fetch.limiter) == 2


def test_call_a_coroutine_function_with_a_key_limits_each_key():
    """P16: A task that waits for its key holds up no task of another key."""
    clock = ManualClock()

    @rate_limited(1, 1, key=lambda user: user, clock=clock)
    async def fetch(user):
        return user

    async def main():
        await fetch("a")
        waiting = [asyncio.create_task(fetch("a")) for _ in range(50)]
        await asyncio.sleep(0)
        others = [await fetch(user) for user in range(50)]
        blocked = sum(not task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return others, blocked

    assert asyncio.run(main()) == (list(range(50)), 50)


def test_wait_for_a_key_holds_up_no_other_thread():
    """P16: While a thread waits for its key, any other key is served, new or old."""
    clock = ManualClock()
    limiters = make_limiters(clock)
    assert limiters["a"].bucket.allow(2)
    waiting = threading.Thread(target=limiters["a"].bucket.wait, daemon=True)
    waiting.start()
    clock.wait_for_sleepers()
    for key in range(20):
        with limiters[key].acquire(2) as permit:
            assert permit.waited == 0
    assert waiting.is_alive()
    clock.advance(1)
    waiting.join(10)
    assert not waiting.is_alive()


def test_get_a_new_key_from_several_threads_makes_one_bucket(fast_switching):
    """P25: Threads that ask for one new key at once get one bucket, however they interleave."""
    rounds, threads = 150, 4
    clock = ManualClock()

    def make_bucket():
        time.sleep(0)  # lets the others in
        return TokenBucket(1, 1, clock=clock)

    limiters = KeyedRateLimiter(make_bucket)
    barrier = threading.Barrier(threads)
    got = [[] for _ in range(rounds)]

    def ask():
        for key in range(rounds):
            barrier.wait(20)
            bucket = limiters[key].bucket
            got[key].append((bucket, bucket.allow()))

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert [len({id(bucket) for bucket, _ in one}) for one in got] == [1] * rounds
    assert [sum(allowed for _, allowed in one) for one in got] == [1] * rounds


@pytest.mark.parametrize("decorated", [False, True])
def test_put_a_clock_under_keys_starts_full_and_goes_back(decorated):
    """Under another clock every key starts full; after it, all have the tokens that they had."""
    own = ManualClock()
    limiters = make_limiters(own, block=False)

    @rate_limited(2, 1, block=False, key=lambda key: key, clock=own)
    def call(key):
        return True

    def allow(key):
        if not decorated:
            return limiters[key].bucket.allow()
        try:
            return call(key)
        except RateLimitExceeded:
            return False

    assert [allow("a"), allow("a"), allow("a")] == [True, True, False]
    with ManualClock().under(call if decorated else limiters) as clock:
        assert [allow("a"), allow("a"), allow("a"), allow("b")] == [True, True, False, True]
        clock.advance(1)
        assert [allow("a"), allow("a")] == [True, False]
    assert allow("a") is False
    own.advance(1)
    assert [allow("a"), allow("a")] == [True, False]


def test_put_a_clock_under_crowded_keys_begins_anew():
    """What the own clock says of when a key can be dropped means nothing on another one."""
    own = ManualClock(start=1_000)
    limiters = make_limiters(own, max_keys=1)
    limiters["a"].bucket.allow()
    with pytest.raises(RateLimitExceeded):
        limiters["b"]
    with ManualClock().under(limiters) as clock:
        limiters["c"].bucket.allow()
        with pytest.raises(RateLimitExceeded) as caught:
            limiters["d"]
        assert caught.value.retry_after == 1
        clock.advance(1)
        assert limiters["d"].bucket.allow()


@pytest.mark.parametrize("use", [list, lambda limiters: "ada" in limiters])
def test_use_as_a_collection_is_refused(use):
    """Neither iteration nor `in` makes a bucket for every number there is."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1))
    with pytest.raises(TypeError):
        use(limiters)
    assert len(limiters) == 0


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"block": False}, "block=False"),
        ({"timeout": 2}, "timeout=2"),
        ({"dry_run": True}, "timeout=None, dry_run=True"),
    ],
)
def test_repr_shows_number_and_policy(policy, shown):
    """P26: The repr says how many there are and what they do, and names no key."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1), **policy)
    limiters["secret"]
    assert repr(limiters) == f"KeyedRateLimiter(1 limiters, {shown})"


def test_make_bucket_that_needs_the_key_is_given_it():
    """A maker that cannot do without the key gets it, also when the key comes back."""
    keys = []

    def make(key):
        keys.append(key)
        return TokenBucket(1, 1)

    limiters = KeyedRateLimiter(make)
    limiters["ada"], limiters["bob"], limiters["ada"]

    assert keys[:2] == ["ada", "bob"]


def test_make_bucket_without_a_signature_is_called_without_the_key():
    """What is written in C and does not say what it takes is given nothing."""
    limiters = KeyedRateLimiter(Unspoken(lambda: TokenBucket(1, 1)))

    assert limiters["ada"].bucket.allow()


class Unspoken:
    """A callable of which `inspect` cannot tell what it takes."""

    def __init__(self, make):
        self._make = make

    def __call__(self, *args):
        return self._make(*args)

    @property
    def __signature__(self):
        raise ValueError("no signature")


async def make_async(key):
    """Return what would be awaited."""


def test_make_keyed_limiter_with_an_async_maker_is_refused():
    """P22: A coroutine is no bucket, which is said before there is a key, and none is left over."""
    with pytest.raises(TypeError, match="make_bucket must be a plain function"):
        KeyedRateLimiter(make_async)


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ({}, (True, None, False)),
        ({"timeout": 3}, (True, 3, False)),
        ({"block": False}, (False, None, False)),
        ({"dry_run": True}, (True, None, True)),
    ],
)
def test_read_policy_of_keyed_limiters_is_that_of_each(options, policy):
    """The policy can be read without a key, and is that of every key."""
    limiters = KeyedRateLimiter.from_rate("1/second", **options)
    for one in (limiters, limiters["key"]):
        assert (one.block, one.timeout, one.dry_run) == policy
