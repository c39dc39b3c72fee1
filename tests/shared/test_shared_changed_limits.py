"""Limits that are changed in code, while others go on with the old ones."""

import asyncio
import math
from fractions import Fraction

import pytest

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded

RATES = [5, 3, 100, 0.1, Fraction(100, 60), 7e5, math.pi, 1e9, 1e-3]


@pytest.mark.parametrize("old", RATES)
@pytest.mark.parametrize("new", RATES)
def test_change_rate_keeps_the_tokens(make_bucket, old, new):
    """P9: With another rate the same tokens are there, and come back at the new rate."""
    assert make_bucket(10, old).allow(7.5)

    bucket = make_bucket(10, new)

    precision = new * 1e-6 + 1e-9
    assert bucket.available_tokens == pytest.approx(2.5, abs=precision)
    assert bucket.retry_after(10) == pytest.approx(7.5 / new, abs=2e-6, rel=1e-12)
    assert not bucket.allow(2.6 + precision)


@pytest.mark.parametrize("old", RATES)
def test_change_rate_back_and_forth_mints_nothing(make_bucket, old):
    """P9: Two processes with different limits share one bucket; neither resets it."""
    buckets = [make_bucket(10, old), make_bucket(10, 2 * old)]

    taken = sum(buckets[turn % 2].allow() for turn in range(30))

    assert taken in {9, 10}  # restating rounds up to a tick, which may be what the last one lacks


@pytest.mark.parametrize(("capacity", "expected"), [(20, 2), (10, 2), (8, 2), (2, 2), (1, 1)])
def test_change_capacity_keeps_the_level(make_bucket, capacity, expected):
    """P9: The tokens that are there stay, up to the new capacity."""
    assert make_bucket(10, 1).allow(8)

    bucket = make_bucket(capacity, 1)

    assert bucket.available_tokens == expected
    assert bucket.retry_after(capacity) == capacity - expected


@pytest.mark.parametrize(
    ("old", "taken", "new", "wait"),
    [
        ((600, 10), 600, (6, 0.1), (1, 10)),
        ((5, Fraction(5, 3600)), 5, (100, Fraction(100, 3600)), (1, 36)),
        ((100, 1), 40, (20, 0.1), (20, 0)),
        ((1000, Fraction(1000, 3600)), 1000, (10, Fraction(10, 3600)), (1, 360)),
    ],
)
def test_change_both_waits_as_long_as_the_level_needs(make_bucket, old, taken, new, wait):
    """P9: 1000 an hour used up and cut to 10 an hour wait 6 minutes, not 99 hours."""
    assert make_bucket(*old).allow(taken)
    tokens, seconds = wait
    assert make_bucket(*new).retry_after(tokens) == seconds


@pytest.mark.parametrize("rate", [2, 3, Fraction(1, 3)])
def test_change_rate_with_a_line_keeps_its_places(make_bucket, clock, rate):
    """P10: Who waits keeps its time, and nobody passes, whatever the new limit is."""
    old = make_bucket(1, 1)
    assert old.allow()
    waiting = [old.reserve(), old.reserve()]

    new = make_bucket(1, rate)

    assert [place.delay for place in waiting] == [1, 2]
    assert new.retry_after() >= 2
    waiting[1].cancel()
    waiting[0].cancel()
    assert new.retry_after() == pytest.approx(1 / rate, abs=2e-6)


def test_configure_applies_from_the_next_call_on(make_bucket):
    """P9: A bucket can be given another limit; the level stays."""
    bucket = make_bucket(10, 1)
    assert bucket.allow(8)

    bucket.configure(capacity=20, tokens_per_second=5)

    assert (bucket.capacity, bucket.tokens_per_second) == (20, 5)
    assert bucket.available_tokens == 2
    assert bucket.retry_after(7) == 1


@pytest.mark.parametrize(
    ("terms", "error"),
    [({"capacity": 0}, ValueError), ({"tokens_per_second": "5"}, TypeError)],
)
def test_configure_with_what_is_no_limit_changes_nothing(make_bucket, terms, error):
    """P22: A refused change leaves the limit as it was."""
    bucket = make_bucket(10, 1)

    with pytest.raises(error):
        bucket.configure(**terms)

    assert (bucket.capacity, bucket.tokens_per_second) == (10, 1)


def test_cancel_under_another_limit_leaves_a_value_that_can_be_read(make_bucket):
    """P9: A place that was taken under a limit of finer parts is given back under another."""
    bucket = make_bucket(1, 3)
    assert bucket.allow()
    places = [bucket.reserve(Fraction(1, 7)) for _ in range(4)]

    bucket.configure(tokens_per_second=1e-6)
    for place in (places[1], places[3], places[2]):
        place.cancel()

    assert bucket.retry_after(Fraction(1, 7)) > 0


# Rates whose tokens have other units, capacities of 100: units of one mean nothing under the other.
CHANGES = [(Fraction(10, 13), 1), (1, Fraction(10, 13)), (1, Fraction(10, 77)), (1, 1.5)]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_configure_while_somebody_waits_goes_on_at_the_new_rate(make_bucket, clock, old, new):
    """P9: A renewal asks for the same tokens under the new limit, not for the same units."""
    bucket = make_bucket(1, old)
    bucket.allow()
    places = [bucket.reserve() for _ in range(20)]
    clock.events = [lambda: bucket.configure(tokens_per_second=new)]

    bucket.wait()

    assert places[-1].delay == 0
    assert 21 / max(old, new) - 0.1 <= clock.elapsed <= 21 / min(old, new) + 0.1
    assert bucket.retry_after() == pytest.approx(1 / new, abs=1e-5)


@pytest.mark.parametrize(("old", "new"), CHANGES)
@pytest.mark.parametrize("tokens", [1, 3, Fraction(1, 7)])
def test_configure_and_give_a_place_up_gives_the_same_tokens_back(make_bucket, old, new, tokens):
    """P9: Whoever is interrupted, or cancels, gives back what it took, under any limit."""
    bucket = make_bucket(100, old)
    bucket.allow(100)
    place = bucket.reserve(tokens)

    bucket.configure(tokens_per_second=new)
    place.cancel()

    assert bucket.available_tokens == 0
    assert bucket.retry_after(100) == pytest.approx(100 / new, abs=1e-5)


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_configure_and_interrupt_a_wait_gives_the_same_tokens_back(make_bucket, clock, old, new):
    """P40: So does whoever is interrupted while it waits."""
    bucket = make_bucket(100, old)
    bucket.allow(100)

    def change_and_interrupt():
        bucket.configure(tokens_per_second=new)
        raise KeyboardInterrupt

    clock.events = [change_and_interrupt]
    with pytest.raises(KeyboardInterrupt):
        bucket.wait(3)

    assert bucket.retry_after(100) == pytest.approx(100 / new, abs=1e-5)


def test_configure_and_give_a_place_up_keeps_what_is_there_by_then(make_bucket):
    """P9: A cancel under the old capacity would cut what a larger one has room for."""
    bucket = make_bucket(10, 1)
    bucket.allow(10)
    place = bucket.reserve(2)
    bucket.configure(capacity=1000)
    bucket.refund(500)

    place.cancel()

    assert bucket.available_tokens == 500


@pytest.mark.parametrize("allowing", [True, False])
def test_configure_while_a_question_is_on_its_way_leaves_it_as_it_was(make_bucket, store, allowing):
    """P9: A question carries its own limit, by which its answer is read."""
    bucket = make_bucket(1, 0.001)
    bucket.allow()
    ask = store.ask

    def configure_and_ask(question):
        bucket.configure(capacity=10, tokens_per_second=1)
        return ask(question)

    store.ask = configure_and_ask
    if allowing:
        assert not bucket.allow()
    else:
        with pytest.raises(RateLimitExceeded) as refusal:
            RateLimiter(bucket, block=False).acquire().__enter__()
        assert refusal.value.retry_after == 1000
        assert refusal.value.levels[None].capacity == 1


def test_configure_and_read_the_answer_of_a_cancelled_task(make_async_bucket, make_bucket):
    """P9: What a cancelled task has taken is given back as the same tokens."""
    bucket, look = make_async_bucket(100, Fraction(10, 13)), make_bucket(1000, 1)

    async def main():
        task = asyncio.create_task(bucket.allow(40))
        await asyncio.sleep(0)
        bucket.configure(capacity=1000, tokens_per_second=1)
        look.refund(500)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert look.available_tokens == pytest.approx(600, abs=1e-3)


def test_configure_and_settle_finds_what_was_paid(make_bucket):
    """P29: Payments are in tokens, whichever limit held when they were made."""
    bucket = make_bucket(10, 1)
    with RateLimiter(bucket).acquire(4) as permit:
        permit.settle(6)
    bucket.configure(capacity=1000, tokens_per_second=Fraction(10, 13))
    bucket.refund(496)

    permit.settle(5)
    assert bucket.available_tokens == pytest.approx(501, abs=1e-3)
    permit.refund()
    assert bucket.available_tokens == pytest.approx(506, abs=1e-3)


def test_configure_a_bucket_of_a_group_is_heard_of_in_the_group(make_bucket):
    """P9: A group charges, settles and labels by the keys of its buckets."""
    one, two = make_bucket(10, 1, "one"), make_bucket(10, 1, "two")
    group = BucketGroup(one=one, two=two)
    with RateLimiter(group).acquire({"one": 4, "two": 4}) as permit:
        permit.settle({"one": 5, "two": 5})
    one.configure(capacity=5, tokens_per_second=Fraction(10, 13))

    permit.refund()

    assert [one.available_tokens, two.available_tokens] == [5, 10]
    two.allow(6)
    with pytest.raises(RateLimitExceeded) as refusal:
        RateLimiter(group, block=False).acquire({"one": 5, "two": 5}).__enter__()
    assert refusal.value.refused_by == "two"


def test_configure_so_that_a_cost_cannot_be_counted_keeps_it_as_it_was(make_bucket, clock):
    """P22: A waiter whose cost is beyond a century now goes on under the limit that it knows."""
    bucket = make_bucket(100, 10)
    bucket.allow(100)
    bucket.reserve(200)
    clock.events = [lambda: bucket.configure(capacity=1, tokens_per_second=Fraction(1, 10**9))]

    bucket.wait(100)

    assert clock.elapsed == 30


def test_read_levels_of_a_permit_whose_limit_was_changed_while_it_waited(make_bucket, clock):
    """P9: They are of the last answer, which is read under the limit that it was asked for."""
    bucket = make_bucket(2, 1)
    assert bucket.allow(2)
    bucket.reserve(19)
    clock.events = [lambda: bucket.configure(tokens_per_second=4)]
    permit = RateLimiter(bucket).acquire()
    began = clock.elapsed

    with permit:
        left = clock.elapsed - began  # its last renewal was 10 s after it had begun to wait

    level = permit.levels[None]
    assert (level.tokens_per_second, level.waiting) == (4, 2)
    assert level.full_in == (left - 10) + 2 / 4  # two tokens are missing when it leaves
    assert bucket.level.full_in == 2 / 4
