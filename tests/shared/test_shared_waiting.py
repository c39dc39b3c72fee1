"""Callers who wait in a shared bucket: what they ask while they do, and when they leave."""

import asyncio

import pytest

from rate_limiter import (
    BackendError,
    BucketGroup,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.shared import line
from rate_limiter.shared.failures import NoConnection, ReplyLost


class Interrupted(BaseException):
    """Comes out of the blue, as KeyboardInterrupt does."""


def interrupt():
    raise Interrupted


def stand_ahead(bucket, count):
    """Have others stand in line: the next caller waits for one token more."""
    bucket.allow()
    return [bucket.reserve() for _ in range(count)]


@pytest.mark.parametrize(
    ("ahead", "renewals"), [(0, 0), (9, 0), (10, 1), (14, 1), (15, 2), (19, 2), (30, 5)]
)
def test_wait_asks_again_every_5_s_beyond_10(make_bucket, asked, clock, ahead, renewals):
    """P13: A caller asks once, and once more for each 5 s that it waits beyond 10."""
    bucket = make_bucket()
    stand_ahead(bucket, ahead)
    asked()
    bucket.wait()
    assert asked() == ["take"] + ["renew"] * renewals
    assert clock.elapsed == ahead + 1


def test_wait_async_asks_again_every_5_s_beyond_10(make_async_bucket, make_bucket, asked, clock):
    """P13: So it is in a task."""
    stand_ahead(make_bucket(), 30)
    asked()
    asyncio.run(make_async_bucket().wait())
    assert asked() == ["take"] + ["renew"] * 5
    assert clock.elapsed == 31


def test_wait_behind_callers_who_leave_moves_up_at_the_next_renewal(make_bucket, clock):
    """P11: Who waits long gets the tokens of those ahead who left."""
    bucket = make_bucket()
    places = stand_ahead(bucket, 30)
    clock.events = [None, *(place.cancel for place in places[5:])]
    clock.events[1] = lambda: [place.cancel() for place in places[5:]]
    bucket.wait()
    assert clock.elapsed == 10  # it heard of it at its second renewal


def test_wait_of_at_most_10_s_keeps_the_time_it_was_told(make_bucket, clock):
    """What was told is kept, also if somebody ahead leaves."""
    bucket = make_bucket()
    places = stand_ahead(bucket, 9)
    clock.events = [places[0].cancel]
    bucket.wait()
    assert clock.elapsed == 10


def test_wait_whose_renewal_fails_goes_on(make_bucket, store, asked, clock):
    """P39: A renewal that fails is tried again, for the place lasts longer than that."""
    bucket = make_bucket()
    stand_ahead(bucket, 20)
    store.failures = [None, BackendError("away"), BackendError("away")]
    bucket.wait()
    assert clock.elapsed == 21


def test_wait_without_a_renewal_for_15_s_fails_and_gives_its_place_back(
    make_bucket, store, asked, clock
):
    """P31: A place that could not be renewed is no place, and the caller hears of it."""
    bucket = make_bucket()
    stand_ahead(bucket, 40)
    asked()
    store.failures = [None, *[BackendError("away")] * 4]
    with pytest.raises(BackendError, match="away"):
        bucket.wait()
    assert asked() == ["take", "renew", "renew", "renew", "renew", "cancel"]
    assert clock.elapsed == 20
    assert bucket.level.waiting == 20


def test_wait_without_a_renewal_leaves_it_to_the_fallback(make_bucket, store, clock):
    """P31: So does one with a fallback, which then decides."""
    stand_ahead(make_bucket(), 40)
    bucket = make_bucket(fallback="allow")
    store.failures = [None, *[BackendError("away")] * 9]
    bucket.wait()
    assert 15 < clock.elapsed <= 20


def test_wait_in_a_line_that_a_pause_holds_up_beyond_the_timeout_raises(make_bucket, asked, clock):
    """P12: It raises when it hears that its timeout cannot be met, and nothing is taken."""
    bucket = make_bucket()
    stand_ahead(bucket, 20)
    clock.events = [lambda: bucket.pause(60)]
    with pytest.raises(RateLimitExceeded, match="but the timeout is 30 s"):
        bucket.wait(timeout=30)
    assert clock.elapsed == 5
    assert bucket.level.waiting == 15


def test_wait_with_a_timeout_goes_on_asking_within_it(make_bucket, clock):
    """A timeout that can be met is told at each renewal, and counts from the beginning."""
    bucket = make_bucket()
    stand_ahead(bucket, 20)
    bucket.wait(timeout=21)
    assert clock.elapsed == 21


def test_wait_of_a_process_that_was_stopped_asks_again(make_bucket, asked, clock):
    """P40: Who heard last more than 15 s ago cannot know that it still has its place."""
    bucket = make_bucket()
    stand_ahead(bucket, 5)
    asked()
    clock.events = [lambda: clock.advance(60)]
    bucket.wait()
    assert asked() == ["take", "renew"]
    assert bucket.level.available_tokens == 0


@pytest.fixture
def crowd(monkeypatch):
    """Have every line count as one of too many who renew."""
    monkeypatch.setattr(line, "_RENEWING", 0)


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(("late", "asks"), [(0, ["take"]), (15, ["take"]), (16, ["take", "renew"])])
def test_wait_told_a_time_far_away_leaves_then(make_bucket, asked, clock, late, asks):
    """P13: In a crowd a caller is told once; how late it is counts from the time that it heard."""
    bucket = make_bucket()
    stand_ahead(bucket, 39)
    asked()
    clock.events = [lambda: clock.advance(40 + late)]
    bucket.wait()
    assert (asked(), clock.elapsed) == (asks, 40 + late)


def test_wait_of_a_process_that_was_stopped_pays_once(make_bucket, clock):
    """P40: Tokens that nobody left with are given back before others are taken."""
    bucket = make_bucket(capacity=100)
    bucket.allow(100)
    clock.events = [lambda: clock.advance(21)]
    bucket.wait(3)
    assert (clock.elapsed, bucket.available_tokens) == (21, 18)


@pytest.mark.parametrize("error", [NoConnection("away"), ReplyLost("late")])
def test_wait_of_a_process_that_was_stopped_gives_back_at_most_once(
    make_bucket, store, asked, clock, error
):
    """P29: What a renewal may have given back is not given back once more."""
    bucket = make_bucket(capacity=10)
    bucket.allow(10)
    asked()
    store.failures = [None, error]
    clock.events = [lambda: clock.advance(20)]
    with pytest.raises(BackendError):
        bucket.wait(3)
    assert asked() == ["take", "renew"] + ["cancel"] * isinstance(error, NoConnection)


def test_wait_that_has_lost_its_place_stands_in_line_again(make_bucket, asked, clock):
    """P40: A place that was given back is taken by nobody twice: its caller starts anew."""
    bucket = make_bucket()
    stand_ahead(bucket, 20)
    clock.events = [lambda: clock.advance(17)]  # of the 21
    bucket.wait()
    assert clock.elapsed == 21  # the last of those ahead has left a second ago


@pytest.mark.parametrize("ahead", [5, 20])
def test_wait_interrupted_gives_its_place_back(make_bucket, asked, clock, ahead):
    """P11: An interrupt while it sleeps costs nothing."""
    bucket = make_bucket()
    stand_ahead(bucket, ahead)
    asked()
    clock.events = [interrupt]
    with pytest.raises(Interrupted):
        bucket.wait()
    assert asked() == ["take", "cancel"]
    assert bucket.level.waiting == ahead


def test_wait_interrupted_while_the_store_is_away_raises_the_interrupt(make_bucket, store, clock):
    """P40: What could not be given back runs out by itself."""
    bucket = make_bucket()
    stand_ahead(bucket, 20)
    store.failures = [None, BackendError("away")]
    clock.events = [interrupt]
    with pytest.raises(Interrupted):
        bucket.wait()
    assert bucket.level.waiting == 21
    clock.advance(15)
    assert bucket.level.waiting == 5


@pytest.mark.parametrize("ahead", [5, 20])
@pytest.mark.parametrize("turns", range(6))
def test_cancel_a_task_at_any_turn_gives_its_place_back(
    make_async_bucket, make_bucket, clock, ahead, turns
):
    """P11: A task that is cancelled costs nothing, whenever that is."""
    stand_ahead(make_bucket(), ahead)

    async def main():
        task = asyncio.create_task(make_async_bucket().wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    clock._auto_advance = False
    asyncio.run(main())
    assert make_bucket().level.waiting == ahead


def test_cancel_a_task_that_got_its_tokens_gives_them_back(make_async_bucket, make_bucket, clock):
    """P11: So do tokens that were there at once, if nobody heard of them."""

    async def main():
        task = asyncio.create_task(make_async_bucket(3).allow())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert make_bucket(3).available_tokens == 3


def test_cancel_a_task_that_was_refused_or_only_looked_gives_nothing_back(
    make_async_bucket, make_bucket, asked
):
    """What took nothing gives nothing back."""
    make_bucket().allow()

    async def main():
        bucket = make_async_bucket()
        for call in (bucket.allow(), bucket.retry_after(), bucket._level()):
            task = asyncio.ensure_future(call)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asked()
    asyncio.run(main())
    assert asked() == ["take", "take", "level"]


def test_close_a_waiting_task_with_its_loop_asks_nothing_more(
    make_async_bucket, make_bucket, asked
):
    """A loop that is gone can ask nobody: the place runs out by itself."""
    stand_ahead(make_bucket(), 20)
    waiting = make_async_bucket().wait()
    loop = asyncio.new_event_loop()
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    asked()
    task.get_coro().close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert asked() == []


def test_wait_for_a_group_takes_a_place_in_each_bucket(make_bucket, asked, clock):
    """P7: A group stands in each line, renews all its places at once, and pays when it leaves."""
    slow, quick = make_bucket(name="slow"), make_bucket(10, 10, name="quick")
    stand_ahead(slow, 20)
    asked()
    BucketGroup(slow, quick).wait()
    assert asked() == ["take"] + ["renew"] * 3
    assert clock.elapsed == 21
    clock.advance(1)
    assert quick.level.waiting == 0


def test_wait_in_the_thread_of_a_running_loop_warns(make_bucket):
    """Blocking an event loop works, and warns with the seconds that it takes."""
    bucket = make_bucket()
    bucket.allow()

    async def main():
        bucket.wait()

    with pytest.warns(RuntimeWarning, match="waiting 1 s for tokens blocks the event loop"):
        asyncio.run(main())


def test_wait_whose_warning_is_an_error_gives_its_place_back(make_bucket):
    """A warning that is an error is raised, and nothing stays charged."""
    bucket = make_bucket()
    bucket.allow()

    async def main():
        bucket.wait()

    with pytest.raises(RuntimeWarning, match="blocks the event loop"):
        asyncio.run(main())
    assert bucket.level.waiting == 0


def fail_after(clock, seconds):
    """Make what a store does that hangs: nothing, until its client gives up."""

    def fail(_):
        clock.advance(seconds)
        raise BackendError("no answer")

    return fail


@pytest.mark.parametrize(("rate", "admitted"), [(1 / 19, True), (1 / 33, False)])
def test_wait_until_the_store_is_away_has_the_rest_of_its_timeout_left(
    make_bucket, store, clock, rate, admitted
):
    """P31: A fallback that takes over a wait does not begin anew with its timeout."""
    local = TokenBucket(1, rate, clock=clock)
    local.allow()
    bucket = make_bucket(1, 1 / 18, fallback=local)
    bucket.allow()
    limiter = RateLimiter(bucket, timeout=20)
    fail = fail_after(clock, 1)
    clock.events = [lambda: setattr(store, "ask", fail)]
    if admitted:
        with limiter.acquire() as permit:
            assert permit.waited == pytest.approx(clock.elapsed)
    else:
        with pytest.raises(RateLimitExceeded):
            limiter.acquire().__enter__()
    assert clock.elapsed <= 20


def test_reserve_from_a_store_that_hangs_has_the_rest_of_its_timeout_left(
    make_bucket, store, clock
):
    """P31: So it is with tokens that are reserved for later."""
    local = TokenBucket(1, 1, clock=clock)
    local.allow()
    bucket = make_bucket(fallback=local)
    store.ask = fail_after(clock, 0.5)
    with pytest.raises(RateLimitExceeded):
        bucket.reserve(2, timeout=1.75)
    assert bucket.reserve(2, timeout=1.75).delay == 1
