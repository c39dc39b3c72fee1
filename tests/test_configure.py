"""Changing the limit while it is in use."""

from __future__ import annotations

import asyncio
import math
import threading
from fractions import Fraction

import pytest

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    """A clock that moves when told."""
    return ManualClock()


@pytest.mark.parametrize(
    ("taken", "changes", "level"),
    [
        (4, {"capacity": 20}, 6),
        (4, {"capacity": 6}, 6),
        (4, {"capacity": 5}, 5),
        (4, {"capacity": 0.5}, 0.5),
        (10, {"capacity": 20}, 0),
        (4, {"tokens_per_second": 7}, 6),
        (4, {"tokens_per_second": 0.001}, 6),
        (4, {"capacity": 30, "tokens_per_second": 1 / 3}, 6),
        (4, {}, 6),
    ],
)
def test_configure_keeps_tokens_up_to_the_new_capacity(clock, taken, changes, level):
    """P9: The level stays in tokens, cut to the new capacity, whatever the new rate."""
    bucket = TokenBucket(10, 2, clock=clock)
    bucket.allow(taken)
    bucket.configure(**changes)
    assert bucket.available_tokens == level
    assert bucket.capacity == changes.get("capacity", 10)
    assert bucket.tokens_per_second == changes.get("tokens_per_second", 2)


@pytest.mark.parametrize(
    ("changes", "delay"),
    [
        ({}, 10.5),
        ({"tokens_per_second": 4}, 5.25),
        ({"tokens_per_second": 1}, 21),
        ({"capacity": 1}, 10.5),
        ({"capacity": 100, "tokens_per_second": 0.5}, 42),
    ],
)
def test_configure_keeps_debt_in_tokens(clock, changes, delay):
    """P9: A debt of twenty tokens is twenty tokens on the new terms."""
    bucket = TokenBucket(10, 2, clock=clock)
    bucket.reserve(5).settle(30)
    bucket.configure(**changes)
    assert bucket.retry_after() == delay


@pytest.mark.parametrize(
    ("changes", "delays"),
    [
        ({}, [2, 5]),
        ({"tokens_per_second": 4}, [1, 2.5]),
        ({"tokens_per_second": 1}, [4, 10]),
        ({"capacity": 3}, [2, 5]),
        ({"capacity": 100}, [2, 5]),
        ({"capacity": 3, "tokens_per_second": 8}, [0.5, 1.25]),
    ],
)
def test_configure_replans_line(clock, changes, delays):
    """P9: Those who wait keep their places and costs, and are due as the new rate has it."""
    bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
    line = [bucket.reserve(4), bucket.reserve(6)]
    bucket.configure(**changes)
    assert [reservation.delay for reservation in line] == delays


@pytest.mark.parametrize(("rate", "at"), [(8, 1.5), (1, 5), (4, 2), (2, 3)])
def test_configure_while_task_waits_moves_its_due_time(clock, rate, at):
    """P9: A sleeping task is woken earlier, or sleeps on, as the new rate has it."""

    async def main():
        bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
        task = asyncio.create_task(bucket.wait_async(6))
        await asyncio.sleep(0)
        clock.advance(1)
        bucket.configure(tokens_per_second=rate)
        done = []
        for advance in (at - 1 - 1e-9, 1e-9):
            clock.advance(advance)
            for _ in range(10):
                await asyncio.sleep(0)
            done.append(task.done())
        return done

    assert asyncio.run(main()) == [False, True]


@pytest.mark.parametrize("rate", [8, 1])
def test_configure_while_threads_wait_moves_their_due_times(clock, rate):
    """P9: Sleeping threads are served in order at the new rate, the last one exactly when due."""
    bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
    served = []

    def wait(name):
        bucket.wait(4)
        served.append(name)

    threads = [threading.Thread(target=wait, args=(n,), daemon=True) for n in range(3)]
    for number, thread in enumerate(threads):
        thread.start()
        clock.wait_for_sleepers(number + 1)
    bucket.configure(tokens_per_second=rate)
    for number, thread in enumerate(threads):
        clock.advance(4 / rate - 1e-9)
        assert len(served) == number
        clock.advance(1e-9)
        thread.join(5)
        assert served == list(range(number + 1))


def test_settle_after_configure_counts_tokens(clock):
    """P9: What was reserved on old terms is settled in tokens on the new ones."""
    bucket = TokenBucket(10, 2, clock=clock)
    reservation = bucket.reserve(4)
    bucket.configure(capacity=7.1, tokens_per_second=1 / 7)
    reservation.settle(1.5)
    assert bucket.available_tokens == 7.1
    reservation.cancel()
    assert bucket.available_tokens == 7.1


def test_configure_smaller_capacity_lets_waiting_head_accrue_beyond_it(clock):
    """P9: A head that no longer fits the bucket is served when all its tokens have accrued."""
    bucket = TokenBucket(10, 2, initial_tokens=0, clock=clock)
    head, behind = bucket.reserve(8), bucket.reserve(1)
    bucket.configure(capacity=2)
    assert [head.delay, behind.delay] == [4, 4.5]
    clock.advance(4)
    assert [head.delay, behind.delay] == [0, 0.5]


def test_configure_racing_with_allow_mints_no_token(clock):
    """P9: While the terms change, threads take on a frozen clock exactly what was there."""
    bucket = TokenBucket(1000, 1, clock=clock)
    taken, stop = [], threading.Event()

    def take():
        taken.append(sum(bucket.allow() for _ in range(2000)))

    def change():
        while not stop.is_set():
            bucket.configure(tokens_per_second=3)
            bucket.configure(capacity=2000, tokens_per_second=1 / 3)

    changer = threading.Thread(target=change, daemon=True)
    takers = [threading.Thread(target=take, daemon=True) for _ in range(4)]
    for thread in (changer, *takers):
        thread.start()
    for thread in takers:
        thread.join(30)
    stop.set()
    changer.join(30)
    assert sum(taken) == 1000
    assert bucket.available_tokens == 0


@pytest.mark.parametrize("name", ["capacity", "tokens_per_second"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (10**400, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (1j, TypeError),
    ],
)
def test_configure_bad_number_raises_and_changes_nothing(clock, name, value, error):
    """P22: A term that makes no sense is refused by name, and the others stay as well."""
    bucket = TokenBucket(10, 2, clock=clock)
    bucket.allow(4)
    with pytest.raises(error, match=name):
        bucket.configure(**{"capacity": 3, "tokens_per_second": 3, name: value})
    assert (bucket.capacity, bucket.tokens_per_second, bucket.available_tokens) == (10, 2, 6)


class MeddlingClock(ManualClock):
    """Runs a hook once, in the middle of a call that asks for the time."""

    hook = None

    def now(self):
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        return super().now()


@pytest.mark.parametrize(("cost", "level"), [(4, 3), (7, 0), (8, 7)])
def test_configure_in_the_middle_of_allow_is_charged_on_new_terms(cost, level):
    """P9: A call that began on the old terms takes its tokens from the bucket on the new ones."""
    clock = MeddlingClock()
    bucket = TokenBucket(10, 2, clock=clock)
    clock.hook = lambda: bucket.configure(capacity=7, tokens_per_second=1)
    assert bucket.allow(cost) == (cost <= 7)
    assert bucket.available_tokens == level


def test_configure_while_some_wait_keeps_what_each_of_them_was_told():
    """P6: A price that no unit of the new limit divides stays whole: nobody is told two times."""
    clock = ManualClock()
    bucket = TokenBucket(Fraction(12, 11), Fraction(1, 63_000), initial_tokens=0, clock=clock)
    line = [bucket.reserve(Fraction(1, 11)) for _ in range(4)]

    bucket.configure(capacity=1)

    told = [reservation.delay for reservation in line]
    assert told == pytest.approx([63_000 / 11 * number for number in range(1, 5)])
    for reservation, delay in zip(line, told, strict=True):
        clock.advance(Fraction(delay) - Fraction(clock.elapsed) - Fraction(1, 10**9))
        assert reservation.delay == 1e-9
        clock.advance(Fraction(1, 10**9))
        assert reservation.delay == 0


@pytest.mark.parametrize("rate", [1, Fraction(12, 11), Fraction(1, 13)])
def test_configure_keeps_what_adds_up_for_a_large_head(rate):
    """P9: Tokens beyond the capacity stay with the head of the line, in whatever units."""
    clock = ManualClock()
    bucket = TokenBucket(10, 1, initial_tokens=0, clock=clock)
    head = bucket.reserve(30)
    clock.advance(20)

    bucket.configure(tokens_per_second=rate)

    assert head.delay == pytest.approx(10 / rate, rel=1e-9)


@pytest.mark.parametrize("line", [False, True])
def test_configure_that_makes_a_debt_last_100_years_raises_and_changes_nothing(clock, line):
    """P22: No rate lets anybody owe for longer."""
    bucket = TokenBucket(1, 1, clock=clock)
    bucket.reserve(1).settle(1_000)
    if line:
        bucket.reserve(1)
    before = bucket.level
    with pytest.raises(ValueError, match="at most what comes back in 100 years"):
        bucket.configure(tokens_per_second=Fraction(1, 10**7))
    assert bucket.level == before
