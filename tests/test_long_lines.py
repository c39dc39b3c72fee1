"""What a long line, or a crowd of keys, costs whoever comes next: no look at everybody in it."""

import sys

import pytest

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


def steps_of(call):
    """Return how many lines of Python a call runs: what it costs, on any machine."""
    lines = 0

    def count(frame, event, arg):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


def line(buckets, length):
    """Return a bucket, or a group of several, with so many reservations in line."""
    clock = ManualClock()
    made = [TokenBucket(1, 1, clock=clock) for _ in range(buckets)]
    target = made[0] if buckets == 1 else BucketGroup(*made)
    return target, [target.reserve() for _ in range(length)]


def steps_of_call(call, buckets, length):
    """Return what a call costs beside a line of this length."""
    target, places = line(buckets, length)
    target.retry_after()  # which may have to plan, once
    return steps_of(lambda: call(target, places))


CALLS = {
    "join": lambda target, places: target.reserve(),
    "look at the last": lambda target, places: places[-1].delay,
    "ask": lambda target, places: target.retry_after(),
    "leave from the end": lambda target, places: places[-1].cancel(),
    "level": lambda target, places: target.level,
    "refund": lambda target, places: target.refund(0.5),
    "pause": lambda target, places: target.pause(1),
}
ONE_BUCKET = {
    "leave from the middle": lambda target, places: places[len(places) // 2].cancel(),
    "settle in the middle": lambda target, places: places[len(places) // 2].settle(2),
    "configure": lambda target, places: target.configure(tokens_per_second=2),
}


@pytest.mark.parametrize("call", [*CALLS.values(), *ONE_BUCKET.values()], ids=[*CALLS, *ONE_BUCKET])
def test_call_beside_a_long_line_of_one_bucket(call):
    """P38: Eight times as many in line cost a call a few steps, not eight times as many."""
    assert steps_of_call(call, 1, 512) < 2 * steps_of_call(call, 1, 64)


@pytest.mark.parametrize("call", [CALLS["join"], CALLS["ask"], CALLS["level"]])
def test_call_beside_a_long_line_of_a_group(call):
    """P38: To join the line of a group, or to ask about it, is no look at everybody in it."""
    assert steps_of_call(call, 2, 512) < 2 * steps_of_call(call, 2, 64)


def test_call_of_another_bucket_is_none_of_the_lines_business():
    """P38: A call of one bucket takes as many steps whatever line stands at another."""
    other = TokenBucket(9, 1, clock=ManualClock())
    alone = steps_of(lambda: other.refund(1))
    kept = line(2, 500)
    assert steps_of(lambda: other.refund(1)) == alone
    assert len(kept[1]) == 500


def test_refused_keys_do_not_look_at_all_that_are_in_use():
    """P24: A new key that finds no room looks at a few of those in use."""

    def refused(size):
        clock = ManualClock()
        limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=clock), max_keys=size)
        held = [limiters[key] for key in range(size)]

        def ask():
            with pytest.raises(RateLimitExceeded):
                limiters["new"]

        ask()
        assert len(held) == size
        return steps_of(ask)

    assert refused(2_000) < 2 * refused(250)
