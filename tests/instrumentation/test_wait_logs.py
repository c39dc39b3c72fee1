"""What is logged of waits, by default and on request."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimiter, TokenBucket, rate_limited
from rate_limiter.instrumentation import log_waits, set_hooks
from rate_limiter.testing import ManualClock


def wait(limiter, tokens=1):
    with limiter.acquire(tokens):
        pass


def wait_async(limiter, tokens=1):
    async def main():
        await limiter.acquire(tokens)

    asyncio.run(main())


def logged(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def warnings(caplog):
    return [text for level, text in logged(caplog) if level == "WARNING"]


def empty(clock, rate=1):
    return TokenBucket(1, rate, initial_tokens=0, clock=clock)


@pytest.mark.parametrize("take", [wait, wait_async])
def test_wait_without_hooks_is_logged_at_debug(caplog, quick_clock, take):
    """A wait is told by the logger of the package."""
    caplog.set_level(logging.DEBUG, "rate_limiter")

    take(RateLimiter(empty(quick_clock), name="github"), 2)

    text = "limiter github: waiting 2 s for a cost of 2"
    assert logged(caplog) == [("DEBUG", text)]
    assert caplog.records[0].name == "rate_limiter"


def test_wait_for_a_minute_is_no_warning(caplog, quick_clock):
    """Up to a minute a wait is nobody's business, and costs nothing to log."""
    wait(RateLimiter(empty(quick_clock)), 60)
    assert not logged(caplog)


@pytest.mark.parametrize("take", [wait, wait_async])
def test_wait_for_more_than_a_minute_is_a_warning(caplog, quick_clock, take):
    """A wait that looks like a hang is warned of, without any configuration."""
    take(RateLimiter(empty(quick_clock), name="github"), 61)
    assert logged(caplog) == [("WARNING", "limiter github: waiting 61 s for a cost of 61")]


def test_wait_for_long_again_warns_once_a_minute_and_limiter(caplog):
    """Of many long waits at once there is one warning a minute for each limiter."""
    clock = ManualClock()
    one, two = (RateLimiter(empty(clock, 1e-3), name=name) for name in ("one", "two"))
    threads = []

    def begin(limiter):
        thread = threading.Thread(target=wait, args=[limiter], daemon=True)
        thread.start()
        threads.append(thread)
        clock.wait_for_sleepers(len(threads))

    for limiter in (one, one, two, one):
        begin(limiter)
    assert [text.split(":")[0] for text in warnings(caplog)] == ["limiter one", "limiter two"]
    clock.advance(59.9)
    begin(one)
    assert len(warnings(caplog)) == 2
    clock.advance(0.1)
    begin(one)
    begin(one)
    assert len(warnings(caplog)) == 3
    clock.advance(1e6)
    for thread in threads:
        thread.join()


def test_wait_for_long_again_is_told_at_debug(caplog, quick_clock):
    """What is not warned of again is still told at DEBUG."""
    caplog.set_level(logging.DEBUG, "rate_limiter")
    limiter = RateLimiter(empty(quick_clock, 0.01))

    for _ in range(2):
        wait(limiter)
        quick_clock.advance(-quick_clock.elapsed)

    assert [level for level, _ in logged(caplog)] == ["WARNING", "DEBUG"]


def test_wait_of_unnamed_limiters_is_warned_of_for_each(caplog, quick_clock):
    """A limiter without a name is one as well, and so are its permits with options of their own."""
    one, two = (RateLimiter(empty(quick_clock, 0.01)) for _ in range(2))

    for options in ({}, {"timeout": 1_000}):
        for limiter in (one, two):
            quick_clock.advance(-quick_clock.elapsed)
            with limiter.acquire(**options):
                pass

    assert warnings(caplog)[0] == "limiter without a name: waiting 100 s for a cost of 1"
    assert len(warnings(caplog)) == 2


def test_wait_of_many_keys_is_one_warning(caplog):
    """P45: All keys of a keyed limiter share its warnings, which name none of them."""
    clock = ManualClock()
    limiters = KeyedRateLimiter(lambda: empty(clock, 0.01), timeout=1_000)
    threads = [
        threading.Thread(target=lambda key=key: wait(limiters[key]), daemon=True)
        for key in ("secret-ada", "secret-ben")
    ]
    for number, thread in enumerate(threads, 1):
        thread.start()
        clock.wait_for_sleepers(number)
    clock.advance(100)
    for thread in threads:
        thread.join()

    assert len(warnings(caplog)) == 1
    assert "secret" not in caplog.text


def test_wait_of_a_decorated_function_logs_its_name(caplog, quick_clock):
    """A decorated function is logged under its own name, by whatever limiter."""
    limiter = RateLimiter(empty(quick_clock, 0.01))

    @limiter
    def by_limiter():
        pass

    @rate_limited(1, 0.01, clock=quick_clock)
    def by_itself():
        pass

    by_limiter()
    by_itself()
    by_itself()

    here = "limiter test_wait_of_a_decorated_function_logs_its_name.<locals>"
    assert [text.split(":")[0] for text in warnings(caplog)] == [
        f"{here}.by_limiter",
        f"{here}.by_itself",
    ]


def test_wait_for_a_bucket_is_logged_without_a_limiter(caplog, quick_clock):
    """A bucket that is waited for without a limiter does not hang in silence either."""
    bucket = empty(quick_clock, 0.001)
    bucket.wait()
    asyncio.run(bucket.wait_async())
    assert warnings(caplog)[0] == "a bucket: waiting 1000 s for a cost of 1"
    assert len(warnings(caplog)) == 2


def test_wait_of_a_group_logs_which_bucket_holds_it_up(caplog, quick_clock):
    """The log says what a wait is for."""
    group = BucketGroup(one=empty(quick_clock, 1), two=empty(quick_clock, 0.01))
    wait(RateLimiter(group, name="api"), {"one": 1, "two": 1})
    assert warnings(caplog) == [
        "limiter api: waiting 100 s for a cost of {'one': 1, 'two': 1}, held up by bucket 'two'"
    ]


def test_wait_for_an_odd_number_of_tokens_is_logged(caplog, quick_clock):
    """P45: A cost whose repr raises is waited for like any other."""

    class Odd(int):
        def __repr__(self):
            raise LookupError

        __str__ = __repr__

    caplog.set_level(logging.DEBUG, "rate_limiter")
    set_hooks([log_waits(over=0)])
    wait(RateLimiter(empty(quick_clock)), Odd(2))
    assert len(caplog.records) == 2


def test_log_waits_tells_those_over_its_threshold(caplog, quick_clock):
    """The hook logs what begins with more than `over` seconds to go."""
    set_hooks([log_waits(over=5.0)])
    limiter = RateLimiter(empty(quick_clock), name="api")

    wait(limiter, 5)
    assert not logged(caplog)
    wait(limiter, 6)

    assert logged(caplog) == [("WARNING", "limiter api begins a wait of 6 s for a cost of 6")]


def test_log_waits_uses_the_level_and_logger_it_is_given(caplog, quick_clock):
    """Its messages may go elsewhere."""
    caplog.set_level(logging.INFO)
    own = logging.getLogger("own")
    set_hooks([log_waits(over=0, level=logging.INFO, logger=own)])
    group = BucketGroup(one=empty(quick_clock), two=TokenBucket(1, 1, clock=quick_clock))

    wait(RateLimiter(group))

    record = caplog.records[0]
    assert (record.name, record.levelname) == ("own", "INFO")
    assert record.getMessage() == (
        "limiter without a name begins a wait of 1 s for a cost of 1, held up by bucket 'one'"
    )


@pytest.mark.parametrize(("over", "error"), [("5", TypeError), (-1, ValueError)])
def test_log_waits_refuses_what_is_no_duration(over, error):
    """A threshold is a number of seconds."""
    with pytest.raises(error, match="over must be"):
        log_waits(over=over)


@pytest.mark.parametrize("level", ["INFO", True, None])
def test_log_waits_refuses_what_is_no_level_or_logger(level):
    """It would fail at the first wait, and never log."""
    with pytest.raises(TypeError, match=r"level must be an int such as logging.WARNING"):
        log_waits(level=level)
    with pytest.raises(TypeError, match=r"logger must be a logging.Logger, got 'x'"):
        log_waits(logger="x")
