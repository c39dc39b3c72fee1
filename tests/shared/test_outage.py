"""When a store counts as away, who tries it again, and what is said of it."""

from __future__ import annotations

import gc
import logging
import threading

import pytest

from rate_limiter import BackendError
from rate_limiter.shared.failures import (
    BucketFailure,
    NoAnswer,
    NoConnection,
    Refused,
    ReplyLost,
    TooMuch,
)
from rate_limiter.shared.outage import BucketOutage, Outage, outage_of
from rate_limiter.testing import ManualClock

AWAY, BACK = "WARNING", "INFO"
CALL = NoAnswer("no answer")
FULL = BackendError("out of memory")


@pytest.fixture
def clock():
    """Be the time."""
    return ManualClock()


@pytest.fixture
def told(caplog):
    """Return what has been logged, by level."""
    caplog.set_level(logging.INFO, logger="rate_limiter")
    return lambda: [record.levelname for record in caplog.records]


@pytest.fixture
def outage(clock):
    """Be the outage of a store that is there."""
    return Outage(clock.now)


def away(outage):
    """Make a store be away for good."""
    outage.failed(Refused("nobody is there"))
    assert outage.skips()
    return outage


def test_fail_once_or_twice_is_no_outage(outage, told):
    """P39: One failed call is one failed call, and so are two."""
    for error in (CALL, ReplyLost("no answer")):
        outage.failed(error)
        assert not outage.skips()

    assert told() == []


def test_fail_three_times_in_a_row_is_an_outage_that_is_tried_at_once(outage, clock, told):
    """P39: Three calls may have met one bad moment, so that one call looks again immediately."""
    for _ in range(3):
        outage.failed(CALL)

    assert told() == [AWAY]
    assert [outage.skips(), outage.skips(), outage.skips()] == [False, True, True]
    outage.failed(CALL)
    assert outage.skips()
    clock.advance(1)
    assert not outage.skips()
    assert told() == [AWAY]


def test_write_between_failures_breaks_the_row(outage):
    """P39: Failures count in a row only."""
    for _ in range(10):
        outage.failed(CALL)
        outage.failed(CALL)
        outage.worked(wrote=True)

    assert not outage.skips()


def test_read_between_refused_writes_does_not_break_the_row(outage, told):
    """P39: A server that is out of memory answers what writes nothing."""
    for _ in range(3):
        outage.worked(wrote=False)
        outage.failed(FULL)

    assert told() == [AWAY]


def test_read_between_lost_replies_breaks_the_row(outage, told):
    """P39: A server that refuses an empty bucket's calls is there, though some replies are late."""
    for _ in range(10):
        outage.failed(CALL)
        outage.failed(ReplyLost("no answer"))
        outage.worked(wrote=False)

    assert told() == []


def test_refuse_a_connection_is_an_outage_at_once(outage, clock, told):
    """P39: Where nobody is, one call finds out once a second, and the others are spared that."""
    away(outage)

    asked = 0
    for _ in range(50):
        clock.advance(0.1)
        if not outage.skips():
            asked += 1
            outage.failed(Refused("nobody is there"))

    assert asked == 5
    assert told() == [AWAY]


def test_try_again_lets_one_call_through_until_it_reports(outage, clock):
    """P39: A call that tries the store may take its time: nobody else does meanwhile."""
    away(outage)
    clock.advance(1)

    assert not outage.skips()
    for _ in range(5):
        clock.advance(1)
        assert outage.skips()
    outage.failed(CALL)
    clock.advance(0.9)
    assert outage.skips()
    clock.advance(0.1)
    assert not outage.skips()


def test_try_again_without_a_report_is_left_to_another(outage, clock):
    """P19: A caller that was interrupted while it tried does not leave the store away for good."""
    away(outage)
    clock.advance(1)
    assert not outage.skips()

    outage.untried()
    assert [outage.skips(), outage.skips()] == [False, True]
    clock.advance(15)
    assert [outage.skips(), outage.skips()] == [False, True]
    assert outage.skips()


def test_write_ends_an_outage_and_says_so_once(outage, clock, told):
    """P39: There is one warning for an outage, and one word at its end."""
    for _ in range(3):
        away(outage)
        clock.advance(1)
        assert not outage.skips()
        outage.worked(wrote=True)
        outage.worked(wrote=True)
        assert not outage.skips()

    assert told() == [AWAY, BACK] * 3


def test_read_ends_an_outage_in_which_nobody_answered(outage, clock, told):
    """P39: Whoever answers is there."""
    away(outage)
    clock.advance(1)
    assert not outage.skips()
    outage.worked(wrote=False)

    assert not outage.skips()
    assert told() == [AWAY, BACK]


def test_read_while_writes_are_refused_has_everybody_ask_and_ends_nothing(outage, clock, told):
    """P39: A server that answers is asked, so that no fallback decides in its place."""
    for _ in range(3):
        outage.failed(FULL)
    assert not outage.skips()
    outage.worked(wrote=False)

    assert [outage.skips() for _ in range(3)] == [False] * 3
    outage.failed(CALL)
    assert outage.skips()
    clock.advance(1)
    assert [outage.skips(), outage.skips()] == [False, True]
    outage.worked(wrote=False)
    assert told() == [AWAY]
    outage.worked(wrote=True)
    assert told() == [AWAY, BACK]


def test_fail_late_does_not_let_another_try(outage, clock):
    """P39: A call that was under way when the outage began says nothing new."""
    for _ in range(3):
        outage.failed(CALL)
    outage.failed(CALL)

    assert [outage.skips(), outage.skips()] == [False, True]


OWN = [BucketFailure("corrupt"), TooMuch("too much"), NoConnection("no connection left")]


@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
def test_fail_for_one_bucket_or_call_is_no_outage(outage, error):
    """P39: What concerns one bucket, one debt or one call makes no outage of the store."""
    for _ in range(10):
        outage.failed(error)

    assert not outage.skips()


@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
def test_try_again_and_fail_for_another_reason_lets_the_next_try(outage, clock, error):
    """P39: Whoever could not find out whether the store is back leaves it to the next."""
    away(outage)
    clock.advance(1)
    assert not outage.skips()
    outage.failed(error)

    assert not outage.skips()


def test_find_no_connection_warns_at_most_once_a_minute(outage, clock, told):
    """P39: A pool that is too small is told of, since a fallback may admit what it should not."""
    for _ in range(121):
        outage.failed(NoConnection("no connection left"))
        clock.advance(1)

    assert told() == [AWAY] * 3


def test_fail_for_a_bucket_is_the_outage_of_that_bucket(clock, told):
    """P39: A value that is none keeps its own bucket from the store, once a second excepted."""
    own = BucketOutage(clock.now, Outage(clock.now))
    for error in (CALL, Refused("nobody"), TooMuch("too much"), NoConnection("none left")):
        own.failed(error)
        assert not own.skips()
    own.failed(BucketFailure("corrupt"))

    assert own.skips()
    clock.advance(1)
    assert [own.skips(), own.skips()] == [False, True]
    own.failed(Refused("nobody"))
    assert [own.skips(), own.skips()] == [False, True]
    own.worked(wrote=True)
    assert not own.skips()
    assert told() == [AWAY, BACK]


def test_fail_for_each_bucket_of_a_client_warns_once(clock, told):
    """P39: Buckets of many users that have one fault are one warning a minute, not one each."""
    client = Outage(clock.now)
    for text in ("corrupt", "corrupt", "no right", "corrupt"):
        BucketOutage(clock.now, client).failed(BucketFailure(text))
    assert told() == [AWAY, AWAY]
    clock.advance(60)
    for _ in range(2):
        BucketOutage(clock.now, client).failed(BucketFailure("corrupt"))
    assert told() == [AWAY, AWAY, AWAY]


def test_begin_an_outage_tells_once_what_began_it(clock):
    """P45: Whoever wants to know of outages is called with the error, once for each."""
    began = []
    outage = Outage(clock.now, began.append)
    reason = Refused("nobody is there")
    outage.failed(reason)
    outage.failed(Refused("still nobody"))
    outage.worked(wrote=True)

    assert began == [reason]


def test_share_a_client_is_to_share_its_outage(clock):
    """P39: All buckets of a client know what one of them has found out, and no others do."""

    class Client:
        """Be a client."""

    client, other = Client(), Client()
    assert outage_of(client, clock.now) is outage_of(client, clock.now)
    assert outage_of(client, clock.now) is not outage_of(other, clock.now)
    away(outage_of(client, clock.now))
    assert not outage_of(other, clock.now).skips()
    assert not outage_of(client, ManualClock().now).skips()


def test_try_again_from_many_threads_lets_one_through(clock):
    """P18: However many threads look at once, one of them tries the store."""
    for _ in range(30):
        outage = away(Outage(clock.now))
        clock.advance(1)
        start, asking = threading.Barrier(8), []

        def look(outage=outage, start=start, asking=asking):
            start.wait()
            asking.extend(not outage.skips() for _ in range(20))

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(asking) == 1


def test_fail_from_a_handler_while_an_outage_begins_warns_once(clock, told):
    """P19: Whoever comes in between begins the outage, and nobody begins it a second time."""
    reason = Refused("nobody is there")

    def now():
        if not told():
            outage._now = clock.now
            outage.failed(reason)
        return clock.now()

    outage = Outage(now)
    outage.failed(reason)

    assert told() == [AWAY]


def test_look_from_a_finalizer_at_any_moment_neither_hangs_nor_doubles(clock):
    """P19: Whoever comes in between, such as a finalizer, does not get the turn a second time."""
    outage = away(Outage(clock.now))
    clock.advance(1)
    asking = []

    class Dying:
        """Look when it is collected, which may be at any allocation."""

        def __del__(self):
            asking.append(not outage.skips())

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(20):
            cycle = [Dying()]
            cycle.append(cycle)
            del cycle
            asking.append(not outage.skips())
    finally:
        gc.set_threshold(*before)
        gc.collect()

    assert sum(asking) == 1
