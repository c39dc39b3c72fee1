"""What comes in between calls of either core: handlers, finalizers, replaced functions.

No bytecode is between two functions of C that `map` calls. So a signal that the first raises, or
a collection that it makes due, comes wherever the second looks for one.
"""

import _thread
import contextlib
import copy
import gc
import math
import operator
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from threading import Thread
from unittest import mock

import pytest

from each import each
from rate_limiter import KeyedRateLimiter, RateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.testing import ManualClock

RATES = [
    5,
    20_000,
    10**6,
    math.pi,
    33.333333,
]  # of some a microsecond is more than 30 bits of parts


@pytest.fixture
def on_signal():
    """Set a handler, and give what raises its signal without a bytecode in between."""
    before = signal.getsignal(signal.SIGUSR1)

    def handled(handler):
        signal.signal(signal.SIGUSR1, lambda *_: handler())
        return partial(_thread.interrupt_main, signal.SIGUSR1)

    yield handled
    signal.signal(signal.SIGUSR1, before)


def bucket_of(rate, tokens=10):
    """Make a bucket whose level a step has just written, so that a call reads it anew."""
    clock = ManualClock()
    clock.advance(10**6)
    bucket = TokenBucket(tokens, rate, clock=clock)
    bucket.allow()
    bucket.refund(1)
    return bucket


def in_one_go(*calls):
    """Call one function of C after the other."""
    return list(map(operator.call, calls))


@pytest.mark.parametrize("rate", RATES)
def test_handle_a_signal_amid_a_call_loses_nothing(on_signal, rate):
    """P19: What a handler takes or gives back counts, whatever call it comes into."""
    bucket = bucket_of(rate)
    raised = on_signal(lambda: [bucket.allow() for _ in range(5)])
    assert in_one_go(raised, bucket.allow) == [None, True]
    assert bucket.available_tokens == pytest.approx(4)

    raised = on_signal(lambda: bucket.refund(3))
    assert in_one_go(raised, bucket.allow) == [None, True]
    assert bucket.available_tokens == pytest.approx(6)

    raised = on_signal(lambda: bucket.pause(60))
    bucket.refund(1)
    in_one_go(raised, bucket.allow)
    assert bucket.level.paused_for == 60


@pytest.mark.parametrize("rate", RATES)
def test_interrupt_a_call_whose_handler_has_taken_leaves_a_whole_bucket(on_signal, rate):
    """P19: A KeyboardInterrupt at that moment leaves the level as the handler left it."""
    bucket = bucket_of(rate)

    def take_and_interrupt():
        bucket.allow(5)
        raise KeyboardInterrupt

    raised = on_signal(take_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        in_one_go(raised, bucket.allow)
    assert bucket.available_tokens == pytest.approx(5, abs=1)


def test_configure_amid_a_call_leaves_the_call_a_limit(on_signal):
    """P19: A limit that is replaced while a call reads it goes only when nobody reads it."""
    bucket = bucket_of(5, tokens=1000)
    for rate in range(20_000, 20_040):
        bucket.configure(tokens_per_second=rate)
        raised = on_signal(partial(bucket.configure, tokens_per_second=rate + 100_000))
        assert in_one_go(raised, bucket.allow) == [None, True]
        gc.collect()
    assert bucket.available_tokens == pytest.approx(960, abs=1)


def test_collect_garbage_amid_a_call_loses_nothing():
    """P19: A finalizer that takes tokens comes in anywhere, in any thread."""
    bucket, taken, left = bucket_of(20_000), [], []

    class Garbage:
        def __init__(self):
            self.me = self

        def __del__(self):
            taken.append(bucket.allow(5))

    def call():
        before = gc.get_threshold()
        gc.collect()
        gc.disable()
        gc.set_threshold(1)
        Garbage()
        bucket.refund(1)
        try:
            in_one_go(gc.enable, list, list, list, list, bucket.allow)
        finally:
            gc.set_threshold(*before)
        gc.collect()
        left.append(bucket.available_tokens)

    thread = Thread(target=call)
    thread.start()
    thread.join()
    assert (taken, left) == ([True], [4])


def test_import_under_a_frozen_clock_goes_by_it():
    """P46: A monotonic clock that another library has replaced is no clock of the machine's."""
    code = """
        import time
        fixed = [10**18]
        time.monotonic_ns = lambda: fixed[0]
        from rate_limiter import TokenBucket
        bucket = TokenBucket(1, 1)
        print(bucket.allow(), bucket.allow())
        fixed[0] += 10**9
        print(bucket.allow())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert told.stdout.split() == ["True", "False", "True"]


def test_take_from_a_full_bucket_counts_from_the_instant_of_the_interpreter():
    """P46: Both cores read one clock."""
    bucket = TokenBucket(1, 1)
    before = time.monotonic_ns()
    assert bucket.allow()
    after = time.monotonic_ns()
    ledger = bucket._ledger
    assert before <= ledger.full_at // ledger.limit.scale - 10**9 <= after


class Meddling(ManualClock):
    """A clock that does something when it is read, once."""

    act = staticmethod(int)

    def now(self):
        act, self.act = self.act, int
        act()
        return super().now()


@pytest.mark.fast_path
def test_change_a_permit_while_the_clock_is_read_takes_what_it_was_made_for():
    """P46: A cost that nobody else has is kept for the length of the call."""
    clock, kept = Meddling(), []
    bucket = TokenBucket(1000, 10, clock=clock)
    permit = RateLimiter(bucket).acquire(float("12.25"))

    def change():
        permit._tokens = 1
        for number in range(2_000):  # until no cache has the cost any more
            bucket.retry_after(number % 900 + 1 + number * 1e-5)
        kept.extend(float("77.5") for _ in range(50))  # in the place of what is free

    clock.act = change
    with permit:
        assert bucket.available_tokens == 1000 - 12.25


class Derived(RateLimiter):
    """A limiter whose instances have a dictionary."""


class Asked(RateLimiter):
    """A limiter that hears of each look at its attributes."""

    def __getattribute__(self, name):
        if name == "acquire":
            return lambda: RateLimiter.acquire(self, 3)
        return RateLimiter.__getattribute__(self, name)


def test_enter_a_limiter_whose_acquire_is_replaced_uses_that():
    """P46: `with limiter:` is `limiter.acquire()`, also where a test has put another one there."""
    limiter = Derived(TokenBucket(10, 1, clock=ManualClock()))
    with mock.patch.object(limiter, "acquire", partial(limiter.acquire, 3)), limiter:
        assert limiter.bucket.available_tokens == 7
    asked = Asked(TokenBucket(10, 1, clock=ManualClock()))
    with asked:
        assert asked.bucket.available_tokens == 7
    with Derived(asked.bucket):
        assert asked.bucket.available_tokens == 6


@each("name", ["allow", "try_consume", "wait", "reserve"])
def test_specify_a_mock_by_a_bucket_knows_the_parameters(name):
    """P46: A method is a function to whatever asks, whichever core serves."""
    stands_in = mock.create_autospec(TokenBucket, instance=True)
    with pytest.raises(TypeError):
        getattr(stands_in, name)(1, 2, 3, 4)
    getattr(stands_in, name)(1)
    getattr(stands_in, name).assert_called_once_with(tokens=1)


def test_patch_a_method_by_its_own_specification_passes_the_object():
    """P46: So a patched method of the class gets the bucket."""
    bucket = TokenBucket(10, 1)
    with mock.patch.object(TokenBucket, "allow", autospec=True) as patched:
        bucket.allow(2)
    patched.assert_called_once_with(bucket, 2)
    assert bucket.allow()


def test_copy_or_pickle_a_method_gives_that_method():
    """P46: A function is copied and pickled by its name."""
    for method in (TokenBucket.allow, RateLimiter.acquire, RateLimiter.__enter__):
        assert copy.copy(method) is copy.deepcopy(method) is method
        assert pickle.loads(pickle.dumps(method)) is method  # noqa: S301 - our own


def test_set_an_attribute_of_a_method_is_there():
    """P46: Frameworks put marks on functions."""
    TokenBucket.allow.marked = True
    assert TokenBucket.allow.marked
    del TokenBucket.allow.marked
    assert not hasattr(TokenBucket.allow, "marked")


@each("name", ["_core_function", "_core_tokens", "_core_bucket", "_core_module"])
def test_reach_for_the_parts_of_a_limited_function_finds_none(name):
    """P46: What a call in C relies on can neither be deleted nor replaced."""

    @rate_limited(10, 1)
    def function():
        return "called"

    assert not hasattr(type(function), name)
    setattr(function, name, 5)  # of the function within, as any other attribute
    assert getattr(function.__wrapped__, name) == 5
    delattr(function, name)
    assert function() == "called"


class Ticking:
    """A clock that moves on whenever somebody looks."""

    def __init__(self):
        self.looks = 0

    def now(self):
        self.looks += 1
        return self.looks * 10**8

    def sleep(self, sleeper, until):
        raise NotImplementedError

    async def sleep_async(self, sleeper, until):
        raise NotImplementedError


def looks_of(call):
    """Return how often the clock is looked at in a call that may be refused."""

    def looks(clock):
        before = clock.looks
        with contextlib.suppress(RateLimitExceeded, ValueError):
            call()
        return clock.looks - before

    return looks


@pytest.mark.fast_path
@pytest.mark.no_cover  # a tracer is in the way of what is at rest
@each("cost", [1, 2, 2**40, 2**52, 1e15, 1e300])
def test_look_at_a_clock_as_often_whichever_core_serves(cost):
    """P46: A clock that a look moves would tell the cores apart."""
    clock = Ticking()
    bucket = TokenBucket(2, 1, clock=clock)
    limiter = RateLimiter(bucket, block=False)
    bucket.allow(2)
    assert looks_of(lambda: bucket.allow(cost))(clock) == 1
    assert looks_of(lambda: limiter.acquire(cost).__enter__())(clock) == 2


@pytest.mark.no_cover
def test_refuse_a_key_in_use_looks_at_the_clock_twice():
    """P46: To take at once, and to refuse, whichever core serves."""
    clock = Ticking()
    users = KeyedRateLimiter(lambda: TokenBucket(1, 0.001, clock=clock), block=False)
    held = users["ada"]

    @rate_limited(1, 0.001, block=False, key=lambda user: user, clock=clock)
    def function(user):
        return user

    function("ada")
    kept = function.limiter["ada"]
    assert looks_of(lambda: function("ada"))(clock) == 3
    assert kept is not held
