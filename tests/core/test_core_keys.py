"""Keys at rest in the compiled core: what it hands over, and that nothing is torn or lost."""

import gc
import sys
from contextlib import suppress

import pytest
from second_copy import load_copy

import rate_limiter
from rate_limiter import KeyedRateLimiter, RateLimitExceeded, compiled
from rate_limiter.charges import CallCharge
from rate_limiter.memory import at_rest
from rate_limiter.memory.at_rest import KeysAtRest
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.fast_path

set_nomemory = None
remove_mem_hooks = int
if sys.version_info < (3, 12):  # a failed allocation ends later interpreters themselves
    with suppress(ImportError):  # an interpreter without its own test module
        from _testcapi import remove_mem_hooks, set_nomemory

needs_core = pytest.mark.skipif(not compiled, reason="there is no compiled core here")
NEVER = 1e-6  # tokens per second
KEYS = ["ada", 7, 1.5, None, True, b"ada", ("ada", 7), ()]


@pytest.fixture(autouse=True)
def _as_without_a_tracer(monkeypatch):
    """Take keys at rest as fast as ever, also while coverage is measured."""
    monkeypatch.setattr(at_rest, "gettrace", lambda: None)


def decorated(package=rate_limiter, **options):
    """Return a function that pays a token for the key that it is given."""
    options = {"block": False, "key": lambda key: key} | options
    return package.rate_limited(3, NEVER, **options)(lambda key: "called")


def attempt(call, key):
    try:
        return call(key)
    except RateLimitExceeded:
        return "refused"


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.parametrize("cost", [1, 1.5, 2])
def test_call_for_a_key_on_the_clock_of_the_machine_counts_its_tokens(key, cost):
    """P46: Where no clock of Python's is asked, keys at rest are counted all the same."""
    call = decorated(cost=cost)
    times = int(3 // cost)
    assert [attempt(call, key) for _ in range(times)] == ["called"] * times
    assert list(call.limiter._keys.full_at) == [key]
    assert (attempt(call, key), len(call.limiter)) == ("refused", 1)
    assert list(call.limiter._keys.full_at) == []
    left = call.limiter[key].bucket.available_tokens
    assert left == pytest.approx(3 - cost * times, abs=1e-3)


@pytest.mark.parametrize("at_rest", [True, False])
def test_pay_for_a_key_tries_it_at_rest_if_told_so(at_rest):
    """P46: What the compiled core has tried is not tried again."""
    limiters = KeyedRateLimiter.from_rate("3/hour", block=False)
    _, _, _, pay = CallCharge(limiters, 1, str).by_key
    pay("ada", at_rest)
    assert list(limiters._keys.full_at) == ["ada"] * at_rest
    assert len(limiters) == 1


@needs_core
def test_call_for_keys_asks_a_clock_as_often_as_python_does():
    """P46: A call that keys at rest cannot pay does not begin anew in Python."""
    counts = []
    for package in (rate_limiter, load_copy("pure_rate_limiter_of_keys", pure=True)):
        clock, asked = ManualClock(), []
        now = clock.now
        clock.now = lambda now=now, asked=asked: asked.append(1) or now()
        call = decorated(package, clock=clock)
        for key in ["ada", "bob", "ada", "ada", "ada"]:
            asked.append(call)
            try:
                call(key)
            except package.RateLimitExceeded:
                asked.append("refused")
        counts.append([one if isinstance(one, int | str) else "call" for one in asked])
    assert counts[0] == counts[1]
    assert counts[0][-1] == "refused"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(KeyedRateLimiter, "_take_at_rest"), (KeyedRateLimiter, "_tend"), (KeysAtRest, "take")],
)
def test_replace_a_method_of_keys_is_heard_by_decorators(monkeypatch, owner, name):
    """P46: What has been put in the place of a method is asked, as it is in Python."""
    heard = []
    call = decorated(clock=ManualClock())
    monkeypatch.setattr(owner, name, lambda keys, key, *tokens: heard.append(key) or 0)
    assert call("ada") == "called"
    assert heard == ["ada"]


def test_derive_a_keyed_limiter_that_overrides_is_heard():
    """P46: A subclass that has its own way to a key is asked."""
    heard = []

    class Own(KeyedRateLimiter):
        def _take_at_rest(self, key, tokens):
            heard.append(key)
            return super()._take_at_rest(key, tokens)

    call = decorated(clock=ManualClock())
    call.limiter.__class__ = Own
    assert [call("ada"), call("ada")] == ["called"] * 2
    assert heard == ["ada", "ada"]


def test_use_keys_that_are_half_made_raises_and_breaks_nothing():
    """P19: An interrupt may leave an object without what its class would have given it."""
    with pytest.raises(AttributeError):
        KeysAtRest.__new__(KeysAtRest).take("ada", 1)
    for name in ("now", "full_at", "in_use", "count", "most"):
        call = decorated(clock=ManualClock())
        delattr(call.limiter._keys, name)
        with pytest.raises(AttributeError, match=name):
            call("ada")
    call = decorated(clock=ManualClock())
    del call.limiter._keys
    with pytest.raises(AttributeError, match="_keys"):
        call("ada")


def test_call_for_a_key_whose_clock_raises_takes_nothing():
    """P22: An error of a clock is the caller's, and no key is left behind."""
    clock = ManualClock()
    call = decorated(clock=clock)
    call.limiter._keys.now = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        call("ada")
    assert len(call.limiter) == 0


@pytest.mark.skipif(
    set_nomemory is None or sys.gettrace() is not None,
    reason="allocations cannot be made to fail here, or would fail in what measures coverage",
)
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_run_out_of_memory_tears_no_keys(known):
    """P19: Whichever allocation of a call fails, keys and their number go together."""
    failures = 0
    for number in range(40):
        call = decorated()
        for key in range(5):  # the next one makes the dictionary grow
            call(key)
        keys, key = call.limiter._keys, 0 if known else 5
        before = dict(keys.full_at)
        set_nomemory(number, number + 1)
        try:
            call(key)
        except MemoryError:
            failures += 1
        finally:
            remove_mem_hooks()
        assert keys.count == len(keys.full_at)
        assert {other: keys.full_at[other] for other in before if other != key} == {
            other: full_at for other, full_at in before.items() if other != key
        }
    assert failures


def test_call_for_keys_leaves_nothing_behind():
    """P46: No reference is lost, and none is kept, by whatever way a call for a key ends."""
    clock = ManualClock()
    call = decorated(clock=clock, cost=1.5)
    keys = call.limiter._keys
    keys.count = 10_000  # no small integer, of which there is but one
    watched = [
        *("a key", ("a", "tuple"), b"bytes", 12345678.5, 2**40),
        *(keys, keys.limit, clock, keys.now, call.limiter, KeysAtRest.take),
    ]
    counts, blocks = [], []
    for _ in range(4):
        for _ in range(100):
            for key in watched[:5]:
                assert [attempt(call, key) for _ in range(3)] == ["called", "called", "refused"]
            clock.advance(10**7)
            call.limiter._sweep()
            call.limiter._sweep()
        gc.collect()
        assert len(call.limiter) == 10_000
        counts.append([sys.getrefcount(one) for one in watched])
        blocks.append(sys.getallocatedblocks())
    assert counts[1] == counts[2] == counts[3]
    assert blocks[3] - blocks[1] < 500  # of 1,000 new keys and as many refusals
