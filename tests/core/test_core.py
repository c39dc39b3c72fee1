"""The compiled core and the Python core: which one serves, and that both say the same."""

import gc
import inspect
import os
import pickle
import subprocess
import sys
import types
import weakref
import zlib
from pathlib import Path

import pytest
from both import compare
from second_copy import load_copy

import rate_limiter
from rate_limiter import (
    KeyedRateLimiter,
    Permit,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    compiled,
    core,
)
from rate_limiter.calls import call_maker, in_parts
from rate_limiter.charges import CallCharge, FixedCharge
from rate_limiter.memory import ledger
from rate_limiter.memory.ledger import FastPath, Ledger
from rate_limiter.memory.transaction import JOURNAL
from rate_limiter.testing import ManualClock

ROOT = Path(__file__).resolve().parents[2]
needs_core = pytest.mark.skipif(not compiled, reason="there is no compiled core here")


@pytest.fixture(scope="session")
def pure():
    """A copy of the package that Python alone serves."""
    return load_copy("pure_rate_limiter", pure=True)


@needs_core
@pytest.mark.parametrize("seed", range(20))
def test_do_anything_on_both_cores_comes_out_alike(pure, seed):
    """P46: Generated operations have the same answers, errors, messages and integers in both."""
    assert compare(rate_limiter, pure, seed, 400) is None


def say(script, **environment):
    """Return what a script prints in a process with these variables of the environment."""
    run = subprocess.run(  # noqa: S603 - own code
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_decorate_where_wrapt_serves_in_python_lets_python_call():
    """P46: A wrapper of wrapt's in Python has a metaclass; nothing is derived from it in C."""
    script = "from rate_limiter import rate_limited\n"
    script += "call = rate_limited(1, 1, block=False)(lambda: 'called')\n"
    script += "print(call(), call.limiter.bucket.allow())"
    assert say(script, WRAPT_DISABLE_EXTENSIONS="true") == "called False"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_import_with_the_pure_variable_lets_python_serve(value):
    """P46: RATE_LIMITER_PURE keeps the compiled core away."""
    script = "from rate_limiter import TokenBucket, compiled\n"
    script += "print(compiled, TokenBucket(2, 1).allow())"
    assert say(script, RATE_LIMITER_PURE=value) == "False True"


@pytest.mark.parametrize("value", ["", "0"])
def test_import_without_the_pure_variable_takes_the_core_that_is_there(value):
    """P46: A variable that is empty or 0 says nothing."""
    script = "import importlib.util, rate_limiter\n"
    script += (
        "print(rate_limiter.compiled, importlib.util.find_spec('rate_limiter._core') is not None)"
    )
    assert len(set(say(script, RATE_LIMITER_PURE=value).split())) == 1


def test_load_where_none_was_built_lets_python_serve(monkeypatch):
    """P46: Without a compiler there is no compiled core, and nothing else is missing."""
    monkeypatch.setenv("RATE_LIMITER_PURE", "0")
    monkeypatch.setitem(sys.modules, "rate_limiter._core", None)
    monkeypatch.delattr(rate_limiter, "_core", raising=False)
    assert core.load() is None


@pytest.mark.parametrize("interface", [core._INTERFACE + 1, core._INTERFACE])
def test_load_a_build_for_other_code_warns_and_lets_python_serve(monkeypatch, interface):
    """P46: In a checkout that has moved on, a build that was left behind is no error."""
    built = types.SimpleNamespace(INTERFACE=interface)
    monkeypatch.setenv("RATE_LIMITER_PURE", "0")
    monkeypatch.setitem(sys.modules, "rate_limiter._core", built)
    monkeypatch.setattr(rate_limiter, "_core", built, raising=False)
    if interface == core._INTERFACE:
        assert core.load() is built
        return
    with pytest.warns(RuntimeWarning, match="build it again"):
        assert core.load() is None


@needs_core
def test_build_is_of_this_source():
    """P46: What is tested is the source that is there, not one built before it changed."""
    source = ROOT / "src" / "rate_limiter" / "_core.c"
    assert zlib.crc32(source.read_bytes()) >> 1 == core.load().SOURCE


@needs_core
def test_ask_a_twin_about_itself_answers_as_its_python_function():
    """P46: Signature, names and documentation are those of the specification."""
    twin, python = TokenBucket.allow, inspect.unwrap(TokenBucket.allow)
    assert inspect.isfunction(python)
    assert inspect.signature(twin) == inspect.signature(python)
    assert inspect.getdoc(twin) == inspect.getdoc(python)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(twin, name) == getattr(python, name)
    assert repr(twin) == f"<compiled twin of {python!r}>"
    assert FastPath.allow is twin
    assert weakref.ref(twin)() is twin
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = twin.nothing


@needs_core
def test_name_an_unknown_twin_raises():
    """P46: A misspelt name is found when the package is imported."""
    module = core.load()
    with pytest.raises(LookupError, match="alow"):
        module.twin("alow", print)
    with pytest.raises(LookupError, match="buckets"):
        module.layout("buckets", TokenBucket)
    with pytest.raises(AttributeError, match="_ledger"):
        module.layout("bucket", int)
    with pytest.raises(TypeError, match=r"Mistaken\._ledger must be a slot"):
        module.layout("bucket", type("Mistaken", (), {"_ledger": 3}))
    with pytest.raises(TypeError, match="journal"):
        module.watch(object())


@needs_core
def test_make_parts_of_the_core_directly_is_refused():
    """P46: The types of the core have no life of their own."""
    module = core.load()
    for name in ("Twin", "Moment"):
        with pytest.raises(TypeError, match="cannot create"):
            getattr(module, name)()


class Counted(TokenBucket):
    """A bucket that counts its answers."""

    __slots__ = ("answers",)

    def allow(self, tokens=1):
        self.answers = getattr(self, "answers", 0) + 1
        return super().allow(tokens)


def test_derive_a_bucket_that_asks_its_base_counts_all_calls():
    """P46: A subclass that has its own `allow` is asked, and may ask the twin."""
    bucket = Counted(2, 1, clock=ManualClock())
    assert [bucket.allow(), bucket.try_consume(), bucket.allow(), bucket.allow()] == [
        *(True, True, False, False)
    ]
    assert bucket.answers == 3


@pytest.mark.parametrize("name", ["_at_once", "_take_quickly"])
def test_replace_a_method_of_a_class_is_heard_by_permits_and_decorators(monkeypatch, name):
    """P46: What has been put in the place of a twin is asked, as it is in Python."""
    asked = []
    monkeypatch.setattr(TokenBucket, name, lambda bucket, tokens=1: asked.append(tokens))
    bucket = TokenBucket(1, 1, clock=ManualClock())
    limiter = RateLimiter(bucket, block=False)
    with limiter.acquire():
        pass
    with pytest.raises(RateLimitExceeded):
        limiter(print)()
    assert asked == [1]


@pytest.mark.parametrize("name", ["acquire", "__enter__"])
def test_derive_a_limiter_or_permit_that_overrides_is_heard(name):
    """P46: `with limiter:` calls `acquire` and the permit's `__enter__`, whoever has made them."""
    heard = []
    limiter = RateLimiter(TokenBucket(5, 1, clock=ManualClock()))

    class Own(RateLimiter):
        __slots__ = ()

        def acquire(self, *args, **kwargs):
            heard.append("acquire")
            return super().acquire(*args, **kwargs)

    class OwnPermit(Permit):
        def __enter__(self):
            heard.append("__enter__")
            return super().__enter__()

    if name == "acquire":
        limiter = Own(limiter.bucket)
    else:
        limiter._permit = OwnPermit
    with limiter as permit:
        assert permit.tokens == 1
    assert heard == [name]
    assert limiter.bucket.available_tokens == 4


def test_begin_a_step_while_the_clock_is_read_sends_the_call_through_a_step(monkeypatch):
    """P19: A step that is under way once the time is known is not disturbed."""
    clock = ManualClock()
    bucket, steps = TokenBucket(5, 1, clock=clock), []
    now = clock.now
    in_step = TokenBucket._allow_in_step

    def now_amid_a_step():
        monkeypatch.setattr(JOURNAL, "busy", True)
        return now()

    def allow_in_step(bucket, tokens):
        steps.append(tokens)
        return in_step(bucket, tokens)

    monkeypatch.setattr(bucket, "_now", now_amid_a_step)
    monkeypatch.setattr(TokenBucket, "_allow_in_step", allow_in_step)
    assert bucket.allow(2)
    assert steps == [2]


def lives_of_a_limited_function():
    """Make a limited function that refers to itself, and return weak references to all about it."""
    bucket, around = TokenBucket(5, 1, clock=ManualClock()), {}
    limiter = RateLimiter(bucket)

    def function():
        return around["limited"]

    around["limited"] = limited = limiter(function)
    assert limited() is limited
    return [weakref.ref(one) for one in (function, limited, limiter, bucket)]


def test_drop_a_limited_function_and_all_about_it_frees_it():
    """P46: Wrapper, function, bucket and limiter refer to each other, and go together."""
    lives = lives_of_a_limited_function()
    gc.collect()
    assert [life() for life in lives] == [None] * 4


def test_call_a_limited_function_that_calls_itself_ends_in_a_recursion_error():
    """P46: Calls within calls are counted as Python counts them."""
    limiter = RateLimiter(TokenBucket(10**9, 1))

    @limiter
    def function():
        return function()

    with pytest.raises(RecursionError):
        function()


def test_use_what_is_half_made_raises_and_breaks_nothing():
    """P19: An interrupt may leave an object without what its class would have given it."""
    permit, half = Permit.__new__(Permit), Ledger.__new__(Ledger)
    for one, name in [(permit, "_after"), (permit, "_state"), (half, "full_at"), (half, "fast")]:
        with pytest.raises(AttributeError, match=name):
            getattr(one, name)
        with pytest.raises(AttributeError):
            delattr(one, name)
    with pytest.raises(AttributeError):
        permit.__enter__()
    bucket = TokenBucket.__new__(TokenBucket)
    with pytest.raises(AttributeError):
        bucket.allow()
    bucket._ledger, bucket._now = half, int
    with pytest.raises(AttributeError):
        bucket.allow()


def test_use_a_wrapper_that_is_half_made_raises():
    """P19: So it is with the wrapper of a function."""
    kind = type(RateLimiter(TokenBucket(1, 1))(print_nothing))
    half_made = kind.__new__(kind)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        half_made()


def print_nothing():
    pass


class Noted(FixedCharge):
    """A charge that can be told apart from the function it is for."""

    def run(self, args, kwargs):
        raise RateLimitExceeded(str(args))


async def print_nothing_async():
    pass


@pytest.mark.fast_path
def test_take_a_call_in_parts_tells_what_pays_and_what_is_called(monkeypatch):
    """P46: The compiled core gets what a limited call consists of, of every kind."""
    monkeypatch.setattr(ledger, "gettrace", lambda: None)  # what measures coverage is a tracer
    bucket = TokenBucket(1, 1, clock=ManualClock())
    charge = Noted(RateLimiter(bucket, block=False), 1)

    slow, quick = in_parts(len, charge, call_maker(len))
    assert [quick(), quick()] == [True, False]
    with pytest.raises(RateLimitExceeded, match="abc"):
        slow("abc")
    call, quick = in_parts(print_nothing_async, charge, call_maker(print_nothing_async))
    assert inspect.iscoroutinefunction(call)
    assert quick is None


@pytest.mark.parametrize("cost", [2, len])
@pytest.mark.parametrize("tracer", [None, print])
def test_take_a_call_by_key_in_parts_pays_for_the_key(cost, tracer, monkeypatch):
    """P46: The key's limiter is paid, once its key is known; a computed cost is left to Python."""
    monkeypatch.setattr(ledger, "gettrace", lambda: tracer)  # what measures coverage is one
    monkeypatch.setattr(JOURNAL, "busy", False)
    keyed = KeyedRateLimiter(lambda: TokenBucket(3, 1, clock=ManualClock()), block=False)
    charge = CallCharge(keyed, cost, str.lower)

    slow, quick, *by_key = in_parts(str.upper, charge, call_maker(str.upper))

    assert (slow("Ab"), quick) == ("AB", None)
    assert keyed["ab"].bucket.available_tokens == 1
    assert len(by_key) == (cost == 2)
    for key, limiters, tokens, pay in by_key:
        assert (key, limiters, tokens) == (str.lower, keyed, 2)
        pay("other", True)
        assert keyed["other"].bucket.available_tokens == 1
        with pytest.raises(RateLimitExceeded):
            pay("other", False)


@needs_core
def test_give_a_call_to_what_is_no_wrapper_raises():
    """P46: What is written into must have the room for it."""
    module = core.load()
    with pytest.raises(TypeError, match="function_wrapper"):
        module.set_call(print, print, print, None)
    with pytest.raises(TypeError, match="must be a class"):
        module.function_wrapper(print)


def test_pickle_a_bound_method_of_a_bucket_is_refused():
    """P21: A method refers to its bucket, which is refused."""
    with pytest.raises(TypeError, match="live TokenBucket"):
        pickle.dumps(TokenBucket(1, 1).allow)


@needs_core
def test_drop_buckets_leaves_nothing_behind():
    """P46: No reference is lost, and none is kept, by whatever way a call ends."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, clock=clock)
    counts = []
    for _ in range(3):
        for _ in range(100):
            bucket.allow()
            bucket.allow(2)
            bucket.allow(0.5)
            bucket._at_once(1)
            with pytest.raises(ValueError, match="tokens"):
                bucket.allow(-1)
            clock.advance(1)
        gc.collect()
        watched = (bucket, clock, bucket._ledger.limit, TokenBucket.allow, None, True)
        counts.append([sys.getrefcount(one) for one in watched][:4])
    assert counts[1] == counts[2]
