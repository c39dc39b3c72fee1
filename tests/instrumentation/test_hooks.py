"""What a hook may do, and what it cannot change."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading

import pytest
import trio

from rate_limiter import KeyedRateLimiter, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.instrumentation import log_waits, opentelemetry, prometheus, set_hooks
from rate_limiter.testing import ManualClock
from user_code import Witness


class Held:
    """A hook whose context manager notes when it is entered and left, and with what."""

    def __init__(self):
        self.log = []

    def __call__(self, event):
        self.log.append(event.kind)
        return self

    def __enter__(self):
        self.log.append("enter")

    def __exit__(self, kind, error, traceback):
        self.log.append("exit" if kind is None else kind.__name__)


def wait_in_thread(limiter):
    with limiter.acquire() as permit:
        return permit


def wait_in_task(limiter):
    async def main():
        return await limiter.acquire()

    return asyncio.run(main())


def wait_in_trio(limiter):
    async def main():
        return await limiter.acquire()

    return trio.run(main)


WAITS = [wait_in_thread, wait_in_task, wait_in_trio]


@pytest.fixture
def limiter(quick_clock):
    """A limiter whose bucket is empty."""
    return RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=quick_clock), name="api")


def full_in(limiter):
    return limiter.bucket.level.full_in


@pytest.mark.parametrize("wait", WAITS)
def test_wait_holds_what_a_hook_returns(limiter, wait):
    """P45: A context manager is held while the caller waits, in a thread as around an await."""
    hook, clock = Held(), limiter.bucket._clock
    times = []

    @contextlib.contextmanager
    def timing(event):
        times.append(clock.elapsed)
        yield
        times.append(clock.elapsed)

    set_hooks([hook, timing])
    wait(limiter)

    assert hook.log == ["waiting", "enter", "exit"]
    assert times == [0, 1]


def test_leave_context_managers_in_reverse_order(limiter):
    """Several hooks are nested, as with-blocks would be."""
    log = []

    def nested(name):
        @contextlib.contextmanager
        def hook(event):
            log.append(f"+{name}")
            yield
            log.append(f"-{name}")

        return hook

    set_hooks([nested("a"), lambda event: None, nested("b")])
    wait_in_thread(limiter)

    assert log == ["+a", "+b", "-b", "-a"]


def test_refuse_with_a_context_manager_leaves_it_at_once(clock):
    """For an event that takes no time, a context manager is left at once."""
    hook = Held()
    set_hooks([hook])

    with pytest.raises(RateLimitExceeded):
        wait_in_thread(RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock), block=False))

    assert hook.log == ["refused", "enter", "exit"]


def test_cancel_a_wait_tells_the_context_manager_after_giving_back(clock):
    """P45, P11: A hook sees that a wait was cancelled, and delays nobody behind it."""
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=clock)
    limiter, seen = RateLimiter(bucket), []

    class Look(Held):
        def __exit__(self, kind, error, traceback):
            seen.append((kind, bucket.level.waiting))

    async def main():
        task = asyncio.ensure_future(_acquire(limiter))
        await asyncio.sleep(0)
        assert bucket.level.waiting == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    set_hooks([Look()])
    asyncio.run(main())

    assert seen == [(asyncio.CancelledError, 0)]


async def _acquire(limiter):
    await limiter.acquire()


def raise_error(*_):
    raise LookupError("hook")


class Broken:
    """A hook that raises where it is told to."""

    admitted = True

    def __init__(self, where):
        self.where = where

    def __call__(self, event):
        if self.where == "call":
            raise_error()
        if self.where == "other":
            return 5
        if self.where == "coroutine":
            return self._coroutine()
        return self

    async def _coroutine(self):
        pass

    def __enter__(self):
        if self.where == "enter":
            raise_error()

    def __exit__(self, *exc_info):
        if self.where == "exit":
            raise_error()
        return True  # which would suppress an exception


BROKEN = ["call", "enter", "exit", "other", "coroutine", "suppress"]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("where", BROKEN)
def test_raise_in_a_hook_changes_no_outcome(limiter, caplog, where, wait):
    """P45: Whatever a hook does, the call waits, is charged and can be refunded as without it."""
    around = Held()
    set_hooks([around, Broken(where), around])

    for _ in range(3):
        permit = wait(limiter)
        assert (permit.waited, full_in(limiter), limiter.bucket.level.waiting) == (1, 1, 0)

    permit.refund()
    assert full_in(limiter) == 0
    assert around.log == ["waiting", "enter", "waiting", "enter", "exit", "exit"] * 3
    errors = [record.getMessage() for record in caplog.records]
    text = "the hook Broken failed, which changed nothing; this is logged once"
    assert errors == ([] if where == "suppress" else [text])


@pytest.mark.parametrize("where", BROKEN)
def test_raise_in_a_hook_leaves_a_refusal_as_it_is(limiter, caplog, where):
    """P45: A refused call gets its own error, and has taken nothing."""
    set_hooks([Broken(where)])

    for _ in range(3):
        with pytest.raises(RateLimitExceeded) as caught, limiter.acquire(block=False):
            pytest.fail("it was refused")
        assert (caught.value.retry_after, full_in(limiter)) == (1, 1)

    assert len(caplog.records) == (where != "suppress")


@pytest.mark.parametrize("where", BROKEN)
def test_raise_in_a_hook_lets_a_cancellation_through(clock, caplog, where):
    """P45, P11: A hook neither hides a cancellation nor keeps the tokens of the task."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock))

    async def main():
        task = asyncio.ensure_future(_acquire(limiter))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    set_hooks([Broken(where)])
    asyncio.run(main())

    level = limiter.bucket.level
    assert (level.waiting, level.full_in) == (0, 1)
    assert len(caplog.records) == (where != "suppress")


def test_raise_again_in_a_context_manager_is_no_failure(clock, caplog):
    """A context manager that raises again what it was given has not failed."""

    class Again(Held):
        def __exit__(self, kind, error, traceback):
            if error is not None:
                raise error

    class Stopped(Exception):
        pass

    class Stopping(ManualClock):
        def sleep(self, sleeper, until):
            raise Stopped

    set_hooks([Again()])
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=Stopping()))
    with pytest.raises(Stopped):
        wait_in_thread(limiter)

    assert (limiter.bucket.level.waiting, caplog.records) == (0, [])


@pytest.mark.parametrize("wait", [wait_in_thread, wait_in_task])
@pytest.mark.parametrize("where", ["__call__", "__enter__", "__exit__"])
def test_interrupt_a_hook_gives_the_tokens_back(limiter, where, wait):
    """P45, P19: An interrupt within a hook ends the wait, and what was held is left."""

    def interrupt(*_):
        raise KeyboardInterrupt

    around, interrupted = Held(), type("Interrupted", (Held,), {where: interrupt})()
    set_hooks([around, interrupted, around])

    with pytest.raises(KeyboardInterrupt):
        wait(limiter)

    level = limiter.bucket.level
    waited = where == "__exit__"  # then all of it has come in
    assert (level.waiting, level.full_in) == (0, 0 if waited else 1)
    ends = ["exit", "exit"] if waited else ["KeyboardInterrupt"]
    assert around.log == ["waiting", "enter"] * len(ends) + ends


def test_wait_in_a_hook_tells_nobody(limiter):
    """P45: What a hook does with limiters is not told, so that it cannot call itself for ever."""
    clock = ManualClock(auto_advance=True)
    own = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock))
    kinds = []

    def use_limiters():
        with own, own.acquire(2):
            pass
        with contextlib.suppress(RateLimitExceeded), own.acquire(block=False):
            pass

    @contextlib.contextmanager
    def hook(event):
        kinds.append(event.kind)
        use_limiters()
        yield
        use_limiters()

    hook.admitted = True
    set_hooks([hook])
    wait_in_thread(limiter)
    wait_in_thread(limiter)

    assert kinds == ["waiting", "admitted"] * 2


def test_log_from_a_handler_that_waits_ends(quick_clock, limiter, caplog):
    """P45: A handler of the log that waits for tokens itself is not logged in turn."""
    own = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=quick_clock))
    seen = []

    def wait_and_note(record):
        with own:
            seen.append(record.getMessage())
        raise LookupError("a filter that fails")

    caplog.set_level("DEBUG", "rate_limiter")
    caplog.handler.addFilter(wait_and_note)
    try:
        wait_in_thread(limiter)
        set_hooks([raise_error, raise_error])
        wait_in_thread(limiter)
    finally:
        caplog.handler.removeFilter(wait_and_note)

    assert [text.partition(" ")[0] for text in seen] == ["limiter", "limiter", "the", "the"]


def test_set_other_hooks_during_a_wait_leaves_what_is_held(clock):
    """What was entered is left, also when other hooks were set meanwhile."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock))
    hook, later = Held(), Held()
    set_hooks([hook])
    thread = threading.Thread(target=wait_in_thread, args=[limiter])
    thread.start()
    clock.wait_for_sleepers()

    set_hooks([later])
    clock.advance(1)
    thread.join()

    assert (hook.log, later.log) == (["waiting", "enter", "exit"], [])


@pytest.mark.parametrize("wait", [wait_in_thread, wait_in_task])
def test_run_a_hook_leaves_the_package_free(quick_clock, wait):
    """P38, P45: No hook runs under the lock, so no lock of the user's can deadlock with it."""
    witness = Witness()

    class Looking(Held):
        admitted = True

        def __call__(self, event):
            witness.look()
            return self

        def __enter__(self):
            witness.look()

        def __exit__(self, *exc_info):
            witness.look()

    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=quick_clock), max_keys=1)
    dry = RateLimiter(TokenBucket(1, 1, clock=quick_clock), dry_run=True)
    set_hooks([Looking()])
    for limiter in (limiters["a"], dry):
        wait(limiter)
        wait(limiter)
    with pytest.raises(RateLimitExceeded), limiters["a"].acquire(block=False):
        pass
    with pytest.raises(RateLimitExceeded):
        limiters["b"]

    assert (witness.held, witness.free) == (0, 3 * 7)


async def async_hook(event):
    pass


class AsyncHook:
    async def __call__(self, event):
        pass


@pytest.mark.parametrize(
    ("hooks", "match"),
    [
        (log_waits(), "hooks must be a list of callables"),
        ("ab", "hooks must be a list of callables, as in .hook., got 'ab'"),
        (None, "hooks must be a list of callables"),
        ([5], r"a hook must be callable, got 5 \(int\)"),
        ([async_hook], "a hook must be a plain function, got the async one async_hook"),
        ([functools.partial(async_hook)], "the async one async_hook"),
        ([AsyncHook()], "the async one AsyncHook"),
        ([prometheus], r"prometheus makes a hook: write set_hooks\(\[prometheus\(\)\]\)"),
        ([log_waits(), log_waits], r"log_waits makes a hook"),
        ([opentelemetry], r"opentelemetry makes a hook"),
    ],
)
def test_set_hooks_refuses_what_is_none(limiter, hooks, match):
    """What cannot be a hook is refused, and those before stay."""
    hook = Held()
    set_hooks([hook])

    with pytest.raises(TypeError, match=match):
        set_hooks(hooks)

    wait_in_thread(limiter)
    assert hook.log == ["waiting", "enter", "exit"]


def test_set_hooks_takes_any_iterable(limiter):
    """A generator of hooks will do."""
    hook = Held()
    set_hooks(one for one in (hook,))
    wait_in_thread(limiter)
    wait_in_thread(limiter)
    assert hook.log == ["waiting", "enter", "exit"] * 2
