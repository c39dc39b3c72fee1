"""Which events there are, and what they say."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
import threading

import pytest
import trio

from rate_limiter import (
    BackendError,
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from rate_limiter.instrumentation import Event, outage, paused, set_hooks


def enter(limiter, *args, **options):
    with limiter.acquire(*args, **options) as permit:
        return permit


def await_permit(limiter, *args, **options):
    async def main():
        return await limiter.acquire(*args, **options)

    return asyncio.run(main())


def await_in_trio(limiter, *args, **options):
    async def main():
        return await limiter.acquire(*args, **options)

    return trio.run(main)


def call_decorated(limiter, tokens=1):
    return limiter.cost(tokens)(lambda: None)()


def call_priced(limiter, tokens=1):
    return limiter.cost(lambda: tokens)(lambda: None)()


def await_decorated(limiter, tokens=1):
    async def call():
        pass

    return asyncio.run(limiter.cost(tokens)(call)())


TAKES = [enter, await_permit, await_in_trio, call_decorated, call_priced, await_decorated]


@pytest.mark.parametrize("take", TAKES)
def test_take_tokens_that_are_there_tells_of_an_admission(heard, clock, take):
    """P45: An admission is told by every door, those with a fast path too."""
    take(RateLimiter(TokenBucket(3, 1, clock=clock), name="api"), 2)

    assert heard.events == [Event("admitted", "api", 2, 0.0, None)]


@pytest.mark.parametrize("take", TAKES)
def test_take_missing_tokens_tells_of_the_wait_and_its_end(heard, quick_clock, take):
    """P45: A wait is told when it begins, with the seconds to go, and as what it was."""
    limiter = RateLimiter(TokenBucket(3, 0.5, clock=quick_clock), name="api")
    limiter.bucket.allow(3)

    take(limiter, 2)

    assert heard.events == [
        Event("waiting", "api", 2, 4.0, None),
        Event("admitted", "api", 2, 4.0, None),
    ]


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("policy", [{"block": False}, {"timeout": 3}])
def test_take_what_is_refused_tells_what_the_error_says(heard, clock, take, policy):
    """P45: A refusal is told with the seconds until a retry can succeed."""
    limiter = RateLimiter(TokenBucket(3, 0.5, clock=clock), name="api", **policy)
    limiter.bucket.allow(3)

    with pytest.raises(RateLimitExceeded):
        take(limiter, 2)

    assert heard.events == [Event("refused", "api", 2, 4.0, None)]
    assert type(heard.events[0].seconds) is float


@pytest.mark.parametrize("take", [enter, await_permit])
def test_take_more_than_the_capacity_tells_of_a_refusal_for_ever(heard, clock, take):
    """P45: A cost that never fits is refused without a time."""
    with pytest.raises(CostExceedsCapacity):
        take(RateLimiter(TokenBucket(3, 1, clock=clock), block=False), 4)

    assert heard.events == [Event("refused", None, 4, None, None)]


@pytest.mark.parametrize("take", [enter, await_permit])
@pytest.mark.parametrize(
    ("policy", "taken", "expected"),
    [
        ({}, 1, Event("admitted", "api", 2, 0.0)),
        ({}, 3, Event("would_wait", "api", 2, 2.0)),
        ({"timeout": 1}, 3, Event("would_refuse", "api", 2, 2.0)),
        ({"block": False}, 3, Event("would_refuse", "api", 2, 2.0)),
    ],
)
def test_take_in_a_dry_run_tells_what_would_have_been(  # noqa: PLR0917 - a table
    heard, clock, take, policy, taken, expected
):
    """P45: A dry run tells of the wait or the refusal that it spared the caller."""
    limiter = RateLimiter(TokenBucket(3, 1, clock=clock), dry_run=True, name="api", **policy)
    limiter.bucket.allow(taken)

    take(limiter, 2)

    assert heard.events == [expected]


def test_take_above_the_capacity_in_a_dry_run_tells_the_wait(heard, clock):
    """P45: What would have waited for more than the capacity has a time."""
    enter(RateLimiter(TokenBucket(3, 1, clock=clock), dry_run=True), 5)
    enter(RateLimiter(TokenBucket(3, 1, clock=clock), dry_run=True, block=False), 5)

    assert heard.events == [Event("would_wait", None, 5, 2.0), Event("would_refuse", None, 5)]


@pytest.mark.parametrize("take", [enter, await_permit])
def test_wait_of_a_group_tells_what_holds_it_up(heard, quick_clock, take):
    """P45: A wait and a refusal of a group name the bucket that holds the call up longest."""
    one, two = (TokenBucket(3, rate, clock=quick_clock) for rate in (1, 0.5))
    limiter = RateLimiter(BucketGroup(one=one, two=two, free=TokenBucket(9, 1, clock=quick_clock)))
    limiter.bucket.allow({"one": 3, "two": 3})

    take(limiter, {"two": 1, "free": 1, "one": 0})
    with pytest.raises(RateLimitExceeded):
        take(limiter, {"one": 1, "two": 2}, block=False)

    waiting, _, refused = heard.events
    assert (waiting.refused_by, waiting.seconds) == ("two", 2.0)
    assert (refused.refused_by, refused.seconds) == ("two", 4.0)


def test_change_the_cost_in_a_hook_changes_nothing(clock):
    """P45: An event has a copy of the cost, so that a hook cannot change what is settled."""
    bucket = BucketGroup(one=TokenBucket(5, 1, clock=clock), two=TokenBucket(5, 1, clock=clock))

    def hook(event):
        event.tokens["one"] = 5

    hook.admitted = True
    set_hooks([hook])
    with RateLimiter(bucket).acquire({"one": 1}) as permit:
        permit.refund()

    assert permit.tokens == {"one": 1}
    assert bucket.level.available_tokens == 5


def test_tell_of_a_cost_that_cannot_be_read_again_leaves_it_out(heard, clock):
    """P45: A mapping of the user's that raises when an event is made of it changes nothing."""

    class Once(dict):
        reads = 0

        def items(self):
            self.reads += 1
            if self.reads > 1:
                raise LookupError
            return super().items()

    limiter = RateLimiter(BucketGroup(one=TokenBucket(5, 1, clock=clock)), name="api")
    limiter.cost(lambda: Once(one=1))(lambda: None)()

    assert heard.events == [Event("admitted", "api", None, 0.0)]


def test_take_at_once_of_a_function_like_those_of_sdks_tells_once(heard, clock):
    """P45: A function that returns what is to be awaited tells each call once."""

    async def inner():
        return "done"

    limiter = RateLimiter(TokenBucket(1, 1, clock=clock), name="sdk")
    dry = RateLimiter(TokenBucket(1, 1, clock=clock), name="dry", dry_run=True)

    async def main():
        def call():
            return inner()

        call.__wrapped__ = inner
        answers = [await limiter(call)(), await dry(call)()]
        waiting = asyncio.ensure_future(limiter(call)())
        await asyncio.sleep(0)
        clock.advance(1)
        return [*answers, await waiting]

    assert asyncio.run(main()) == ["done"] * 3
    assert heard.kinds == ["admitted", "admitted", "waiting", "admitted"]
    assert [event.limiter for event in heard.events] == ["sdk", "dry", "sdk", "sdk"]


def test_refuse_a_new_key_tells_of_it_without_the_key(heard, clock):
    """P45: A key that finds no room is a refusal; no event carries a key."""
    limiters = KeyedRateLimiter.from_rate("1/minute", clock=clock, max_keys=1, name="users")
    enter(limiters["secret-ada"])

    with pytest.raises(RateLimitExceeded) as caught:
        limiters["secret-ben"]

    assert heard.events[1:] == [Event("refused", "users", None, caught.value.retry_after)]
    assert "secret" not in repr(heard.events)


def test_use_keys_tells_the_name_of_the_keyed_limiter(heard, quick_clock):
    """P45: All limiters of a keyed one have its name, and no key is told."""
    limiters = KeyedRateLimiter(
        lambda: TokenBucket(1, 1, clock=quick_clock), name="users", timeout=1
    )
    for _ in range(2):
        enter(limiters["secret"])
        with pytest.raises(RateLimitExceeded):
            enter(limiters["secret"], 3)

    assert {event.limiter for event in heard.events} == {"users"}
    assert "waiting" in heard.kinds
    assert "secret" not in repr([limiters, limiters["secret"], heard.events])


def test_wait_for_a_bucket_without_limiter_tells_no_hook(heard, quick_clock):
    """Events are what happens at a limiter."""
    bucket = TokenBucket(1, 1, clock=quick_clock)
    bucket.wait(3)
    asyncio.run(bucket.wait_async(3))
    assert not bucket.allow()
    assert not heard.events


def test_admit_tells_only_hooks_that_ask(quick_clock):
    """P45: A hook without the attribute `admitted` hears of everything else."""
    kinds = []
    set_hooks([lambda event: kinds.append(event.kind)])
    limiter = RateLimiter(TokenBucket(1, 1, clock=quick_clock))

    enter(limiter)
    enter(limiter)

    assert kinds == ["waiting"]


@pytest.mark.parametrize("kind", ["lone", "group"])
def test_set_hooks_late_reaches_what_was_decorated_before(clock, kind):
    """P45: Admissions of functions decorated before are told, until the hooks are gone."""
    bucket = TokenBucket(9, 1, clock=clock)
    bucket = BucketGroup(bucket) if kind == "group" else bucket
    events = []
    function = RateLimiter(bucket, name="f")(lambda: None)

    def hook(event):
        events.append(event.kind)

    hook.admitted = True
    function()
    set_hooks([hook])
    function()
    set_hooks([])
    function()

    assert events == ["admitted"]
    assert bucket.level.available_tokens == 6


def test_count_admissions_under_threads_counts_each(heard):
    """P45: The fast paths are off while admissions are counted, so none is missed or doubled."""
    bucket = TokenBucket(500, 1e-6)
    function = rate_limited(500, 1e-6, block=False, make_bucket=lambda *_: bucket)(lambda: None)
    interval = sys.getswitchinterval()

    def work():
        for _ in range(100):
            with contextlib.suppress(RateLimitExceeded):
                function()

    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert (heard.kinds.count("admitted"), heard.kinds.count("refused")) == (500, 100)


def test_tell_of_a_pause_and_an_outage(heard):
    """Clients tell of pauses, and stores of outages."""
    paused("github", 30)
    outage()
    outage("github", 1.0)

    assert heard.events == [
        Event("paused", "github", None, 30.0),
        Event("outage", None),
        Event("outage", "github", None, 1.0),
    ]


def test_refuse_without_a_hook_tells_nobody(clock):
    """P45: Without a hook an event goes nowhere."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock), block=False)
    with pytest.raises(RateLimitExceeded):
        enter(limiter)
    paused("api", 3)


def test_fail_in_a_bucket_is_no_refusal(heard):
    """An error that is no refusal goes to the caller, and is told to no hook."""

    class Broken(TokenBucket):
        def _admit(self, *_):
            raise BackendError("away")

    limiter = RateLimiter(Broken(1, 1))
    with pytest.raises(BackendError):
        enter(limiter)

    assert not heard.events


def test_keep_an_event_it_is_frozen_and_can_be_pickled():
    """An event is a value."""
    event = Event("refused", "api", 1, 2.0, "two")
    with pytest.raises(AttributeError, match="can't set attribute"):
        event.kind = "waiting"
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - our own
