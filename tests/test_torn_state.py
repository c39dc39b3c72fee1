"""A change of state that something comes in between: it has happened whole, or not at all."""

import signal
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace

import pytest

from injection.injectors import Injector, Moment, act_of, interrupt, put_right
from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

# A tracer lets things in, a timer rings: coverage and pytest-timeout have to keep away from both.
pytestmark = [pytest.mark.timeout(60, method="thread"), pytest.mark.no_cover]
timed = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
PATIENCE = 20.0  # seconds for what takes microseconds, however busy the machine, unless it hangs


class HangError(BaseException):
    """Something did not come back."""


def ring(*_):
    raise HangError


@pytest.fixture(autouse=True)
def alarm(monkeypatch):
    """Let an alarm end what hangs, a finalizer too, which has nobody to tell of it."""
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: None)
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def two(taken=0):
    """Return two buckets and their group, from which so many tokens have been taken."""
    clock = ManualClock(start=9)
    a, b = (TokenBucket(10, 1, clock=clock) for _ in "ab")
    world = SimpleNamespace(a=a, b=b, group=BucketGroup(a=a, b=b), clock=clock)
    if taken:
        world.group.allow(taken)
    return world


def alike(world):
    """Tell whether both buckets are the same, and the group still answers."""
    same = world.a.retry_after(10) == world.b.retry_after(10)
    return same and isinstance(world.group.allow(), bool)


@contextmanager
def within(seconds):
    """Raise HangError in a with-block that takes longer, again and again until it is heard."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def torn_at(make, call, act, is_whole, kind="handler"):
    """Return the lines of the package at which something came in and left a world torn.

    Args:
        make: Makes a world.
        call: Is called with it, once for each line that the call passes.
        act: Is called with it at that line, or from a finalizer at the next allocation.
        is_whole: Is called with it in the end.
        kind: Of the injector that runs `act`.
    """
    torn, number = [], 0
    while len(torn) < 3:
        number += 1
        world = make()
        moment = Moment(number, act_of(Injector(kind), partial(act, world)))
        try:
            with within(PATIENCE):
                with put_right(), moment.watching(), suppress(KeyboardInterrupt, MemoryError):
                    call(world)
                if not moment.where:
                    return torn
                torn += [] if is_whole(world) else [moment.where]
        except HangError:
            return [*torn, f"{moment.where} hangs"]
        except Exception as error:  # noqa: BLE001 - of the call, or of a look at what is left
            torn.append(f"{moment.where} {error!r}")
    return torn


def stop(world):
    interrupt()


def run_out(world):
    raise MemoryError


exceptions = pytest.mark.parametrize("act", [stop, run_out], ids=["interrupt", "memory"])
guests = pytest.mark.parametrize("kind", ["handler", "finalizer"])


@exceptions
@pytest.mark.parametrize("taken", [0, 9])
def test_exception_amid_a_take_from_a_group_takes_from_both_or_none(act, taken):
    """P7: An interrupt at any line of a group's `allow` leaves both buckets alike, and usable."""
    assert torn_at(lambda: two(taken), lambda world: world.group.allow(2), act, alike) == []


@guests
def test_handler_amid_a_take_from_a_group_is_counted_exactly(kind):
    """P19: A handler that takes from the group at any line of `allow` gets its own, and no more."""

    def is_whole(world):
        return world.a.available_tokens == 3.0 and alike(world)

    def take(world):
        world.group.allow(3)

    assert torn_at(two, lambda world: world.group.allow(4), take, is_whole, kind) == []


@exceptions
def test_exception_amid_configure_leaves_an_empty_bucket_empty(act):
    """P9: An interrupt at any line of `configure` mints nothing."""

    def configure(world):
        world.a.configure(tokens_per_second=2)

    assert torn_at(lambda: two(10), configure, act, lambda world: not world.a.allow()) == []


@guests
def test_handler_amid_configure_of_an_empty_bucket_is_refused(kind):
    """P9: A handler that asks an empty bucket at any line of its `configure` is not admitted."""
    admitted = []

    def ask(world):
        admitted.append(world.a.allow())

    def configure(world):
        world.a.configure(tokens_per_second=2)

    torn = torn_at(lambda: two(10), configure, ask, lambda world: not world.a.allow(), kind)

    assert torn == []
    assert len(admitted) > 3
    assert not any(admitted)


def reserved():
    """Return two empty buckets, with a reservation that waits in both."""
    world = two(10)
    world.held = world.group.reserve(3)
    return world


@exceptions
def test_exception_amid_cancel_gives_back_to_both_buckets_or_none(act):
    """P11: An interrupt at any line of `cancel` leaves both buckets alike."""
    assert torn_at(reserved, lambda world: world.held.cancel(), act, alike) == []


@exceptions
def test_cancel_after_an_interrupted_cancel_gives_everything_back(act):
    """P11: A cancel that was interrupted at any line can be made again, and then is complete."""

    def is_whole(world):
        world.held.cancel()
        return world.group.retry_after() == 1.0 and alike(world)

    assert torn_at(reserved, lambda world: world.held.cancel(), act, is_whole) == []


def test_cancel_in_a_handler_amid_the_same_cancel_gives_back_once():
    """P11: One reservation that is cancelled amid its own cancel gives its tokens back once."""

    def cancel(world):
        world.held.cancel()

    def is_whole(world):
        return world.group.retry_after() == 1.0 and alike(world)

    assert torn_at(reserved, cancel, cancel, is_whole) == []


@exceptions
@pytest.mark.parametrize("cost", [{"a": 1, "b": 1}, {"a": 6, "b": 6}])
def test_exception_amid_settle_of_a_permit_corrects_both_buckets_or_none(act, cost):
    """P7: An interrupt at any line of `settle` leaves both buckets alike."""
    assert torn_at(paid, lambda world: world.permit.settle(cost), act, alike) == []


@exceptions
def test_refund_after_an_interrupted_refund_gives_everything_back_once(act):
    """P9: A refund that was interrupted at any line can be tried again, and is made once."""

    def is_whole(world):
        world.permit.refund()
        return world.a.available_tokens == 10.0 and alike(world)

    def make():
        world = paid()
        world.group.allow(6)
        world.clock.advance(6)
        return world

    assert torn_at(make, lambda world: world.permit.refund(), act, is_whole) == []


def paid():
    """Return two buckets with a permit that took four tokens of each."""
    world = two()
    world.permit = RateLimiter(world.group).acquire(4).__enter__()
    return world


@exceptions
def test_exception_amid_a_reservation_loses_its_own_tokens_at_most(act):
    """P19: An interrupt at any line of `reserve` takes its tokens from both buckets or none."""

    def is_whole(world):
        return world.a.retry_after(10) in (10.0, 13.0) and alike(world)

    assert torn_at(lambda: two(10), lambda world: world.group.reserve(3), act, is_whole) == []


@exceptions
def test_exception_amid_a_keyed_access_leaves_one_limiter_for_each_key(act):
    """P25: An interrupt at any line of a new key's access leaves all keys as they are."""

    def make():
        clock = ManualClock(start=9)
        keyed = KeyedRateLimiter(lambda: TokenBucket(10, 1, clock=clock))
        keyed["victim"].bucket.allow(10)
        for number in range(20):
            keyed[number]
        return keyed

    def is_whole(keyed):
        same = all(keyed[key] is keyed[key] for key in ("victim", "new", 3))
        return same and not keyed["victim"].bucket.allow() and keyed["new"].bucket.allow(10)

    assert torn_at(make, lambda keyed: keyed["new"], act, is_whole) == []


@timed
def test_reserve_and_cancel_in_a_real_handler_amid_the_same_raises_nothing():
    """P19: Handlers that reserve and cancel amid a reserve and cancel find a line that is whole."""
    bucket, errors = TokenBucket(3, 3000), []

    def use():
        try:
            bucket.reserve().cancel()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not to be
            errors.append(error)

    def handle(*_):
        use()
        signal.setitimer(signal.ITIMER_REAL, 1e-4)  # only now, or slow handlers would pile up

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    end = time.monotonic() + 1
    while time.monotonic() < end and not errors:
        use()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)

    assert errors == []
