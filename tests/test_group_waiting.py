"""Waiting for several buckets at once: each keeps its own limit at the times callers leave."""

import asyncio
import threading
from fractions import Fraction

import pytest

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

NANO = 10**9


def make_group(clock):
    """Ten requests at 10/s, and a thousand tokens at 1000/s."""
    return BucketGroup(
        requests=TokenBucket(10, 10, clock=clock), tokens=TokenBucket(1_000, 1_000, clock=clock)
    )


def largest_burst(leaves, rate):
    """Return the most that any window of these (instant, cost) leaves admits beyond rate x T."""
    total, least, most = Fraction(0), None, Fraction(0)
    for instant, cost in leaves:
        accrued = Fraction(instant * rate, NANO)
        least = total - accrued if least is None else min(least, total - accrued)
        total += cost
        most = max(most, total - accrued - least)
    return most


def drive_into_debt(group, seconds):
    """Settle a permit so that no token is there for so many seconds."""
    with RateLimiter(group).acquire({"tokens": 1}) as permit:
        permit.settle({"tokens": 1_000 * (seconds + 1)})


async def leave_all(clock, calls):
    """Run every (wait, cost) call as a task, in order; return (instant, cost) as they leave."""
    leaves = []

    async def call(wait, cost):
        await wait(cost)
        leaves.append((clock.now(), cost))

    async with asyncio.TaskGroup() as tasks:
        for wait, cost in calls:
            tasks.create_task(call(wait, cost))
    return leaves


def test_burst_of_a_known_schedule_is_measured():
    """The yardstick itself: five at once and five a second later, at 2/s, are 8 beyond the rate."""
    leaves = [(0, 5), (NANO, 5)]
    assert (largest_burst(leaves, 2), largest_burst(leaves, 5)) == (8, 5)


def test_wait_behind_a_debt_keeps_every_bucket_to_its_limit():
    """P7: 1,000 callers whom tokens held back for 100 s leave no faster than requests allow."""
    clock = ManualClock(auto_advance=True)
    group = make_group(clock)
    drive_into_debt(group, 100)
    leaves = asyncio.run(
        leave_all(clock, [(group.wait_async, {"requests": 1, "tokens": 5})] * 1_000)
    )
    assert len(leaves) == 1_000
    assert leaves[0][0] == 100_005_000_000
    assert largest_burst([(at, 1) for at, _ in leaves], 10) <= 10
    assert largest_burst([(at, 5) for at, _ in leaves], 1_000) <= 1_000
    assert leaves[-1][0] <= 200 * NANO


def test_wait_behind_a_debt_in_a_mix_keeps_every_bucket_to_its_limit():
    """P1: Callers of one bucket among those of the group exceed the limit of neither bucket."""
    clock = ManualClock(auto_advance=True)
    group = make_group(clock)
    requests = group.buckets["requests"]
    drive_into_debt(group, 100)
    mix = [(group.wait_async, {"requests": 1, "tokens": 40}), (requests.wait_async, 2)]
    leaves = asyncio.run(leave_all(clock, [mix[i % 3 == 0] for i in range(300)]))
    by_group = [(at, cost["tokens"]) for at, cost in leaves if cost != 2]
    assert len(leaves) == 300
    assert len(by_group) == 200
    assert largest_burst([(at, 2 if cost == 2 else 1) for at, cost in leaves], 10) <= 10
    assert largest_burst(by_group, 1_000) <= 1_000


def test_reserve_behind_a_debt_plans_within_every_limit():
    """P7: The delays that reservations of a group are told keep each bucket to its limit."""
    clock = ManualClock()
    group = make_group(clock)
    drive_into_debt(group, 100)
    held = [group.reserve({"requests": 1, "tokens": 5}) for _ in range(200)]
    dues = [round(reservation.delay * NANO) for reservation in held]
    assert dues[0] == 100_005_000_000
    assert dues == sorted(dues)
    assert largest_burst([(due, 1) for due in dues], 10) <= 10
    assert dues[-1] <= dues[0] + 19 * NANO


def test_wait_group_charges_each_bucket_when_it_leaves():
    """P7: A bucket with tokens to spare is charged at the due time, not at the time of asking."""
    clock = ManualClock()
    group = make_group(clock)
    drive_into_debt(group, 10)
    reservation = group.reserve({"requests": 10, "tokens": 1})
    clock.advance(reservation.delay)
    assert group.buckets["requests"].available_tokens == 0
    clock.advance(0.5)
    assert group.buckets["requests"].available_tokens == 5


def test_allow_one_bucket_never_passes_a_waiting_group():
    """P10: A newcomer to a bucket that has tokens to spare still stands behind a waiting group."""
    clock = ManualClock()
    group = make_group(clock)
    requests = group.buckets["requests"]
    drive_into_debt(group, 10)
    reservation = group.reserve({"requests": 1, "tokens": 1})
    assert not requests.allow()
    assert requests.retry_after() == reservation.delay
    reservation.cancel()
    assert requests.allow(10)


@pytest.mark.parametrize("timeout", [0, 0.5, 0.999_999_999])
def test_wait_group_beyond_the_timeout_takes_nothing(timeout):
    """P12: A wait that cannot fit is refused at once, with the exact delay, and no bucket pays."""
    clock = ManualClock()
    group = make_group(clock)
    group.allow({"tokens": 1_000})
    cost = {"requests": 1, "tokens": 1_000}
    for wait in (
        group.wait,
        group.reserve,
        lambda tokens, timeout: asyncio.run(group.wait_async(tokens, timeout)),
    ):
        with pytest.raises(RateLimitExceeded) as caught:
            wait(cost, timeout)
        assert (caught.value.retry_after, caught.value.tokens) == (1.0, cost)
    assert group.buckets["requests"].allow(10)


def test_wait_group_in_a_thread_returns_when_all_can_pay():
    """P7: A thread waits for the slowest bucket, and then each has paid once."""
    clock = ManualClock()
    group = make_group(clock)
    group.allow({"requests": 10, "tokens": 1_000})
    left = []
    waiting = threading.Thread(
        target=lambda: (group.wait({"requests": 1, "tokens": 500}), left.append(clock.now())),
        daemon=True,
    )
    waiting.start()
    clock.wait_for_sleepers()
    clock.advance(0.499_999_999)
    assert clock.sleepers == 1
    assert left == []
    clock.advance(0.000_000_001)
    waiting.join(10)
    assert left == [NANO // 2]
    assert group.buckets["tokens"].available_tokens == 0
    assert group.buckets["requests"].available_tokens == 9 - 5


def test_cancel_reserved_group_gives_back_to_every_bucket():
    """P11: A cancelled reservation costs no bucket anything, and those behind it move up."""
    clock = ManualClock()
    group = make_group(clock)
    group.allow({"tokens": 1_000})
    first, second = (group.reserve({"requests": 5, "tokens": 1_000}) for _ in range(2))
    assert (first.delay, second.delay) == (1.0, 2.0)
    first.cancel()
    first.cancel()
    assert second.delay == 1.0
    second.cancel()
    assert group.retry_after({"requests": 10, "tokens": 1_000}) == 1.0


def test_settle_reserved_group_corrects_the_buckets_it_names():
    """A reservation settled by name credits that bucket alone, and later callers move up."""
    clock = ManualClock()
    group = make_group(clock)
    reservation = group.reserve({"requests": 4, "tokens": 1_000})
    later = group.reserve({"tokens": 500})
    assert later.delay == 0.5
    reservation.settle({"tokens": 700})
    assert later.delay == 0.2
    assert group.buckets["requests"].available_tokens == 6


def test_wait_groups_that_share_buckets_in_any_order_all_leave():
    """P1: Threads that wait for shared buckets in opposite orders all leave, and not too early."""
    clock = ManualClock(auto_advance=True)
    first, second = TokenBucket(5, 100, clock=clock), TokenBucket(7, 50, clock=clock)
    groups = [BucketGroup(a=first, b=second), BucketGroup(b=second, a=first), BucketGroup(second)]

    def wait(index):
        for _ in range(100):
            groups[index % 3].wait()

    threads = [threading.Thread(target=wait, args=(index,), daemon=True) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert clock.elapsed >= (600 - 7) / 50
    assert clock.sleepers == 0


def test_join_after_somebody_left_is_told_the_new_time():
    """P11, P12: A newcomer's delay counts only those who are still ahead of it."""
    group = make_group(ManualClock())
    drive_into_debt(group, 10)
    reservations = [group.reserve({"requests": 1, "tokens": 1_000}) for _ in range(3)]
    assert group.retry_after({"tokens": 1_000}) == 14
    reservations[1].cancel()
    assert group.retry_after({"tokens": 1_000}) == 13
    assert reservations[2].delay == 12


def test_cancel_a_reservation_that_costs_nothing_any_more_frees_its_place():
    """P11: Who stands in line for nothing leaves it all the same, and the next has its turn."""
    group = make_group(ManualClock())
    drive_into_debt(group, 10)
    ahead, behind = (group.reserve({"requests": 1, "tokens": 500}) for _ in range(2))
    ahead.settle({"requests": 0, "tokens": 0})
    ahead.cancel()
    assert behind.delay == 10.5
    assert group.buckets["requests"].available_tokens == 0


def test_put_another_clock_under_a_group_begins_anew_and_goes_back():
    """Under a clock all buckets of a group start full; afterwards they lack what they lacked."""
    own = ManualClock()
    group = make_group(own)
    group.allow({"requests": 4})
    with ManualClock().under(RateLimiter(group)) as clock:
        assert group.allow(10)
        clock.advance(0.5)
        assert group.buckets["requests"].available_tokens == 5
    own.advance(0.1)
    assert group.buckets["requests"].available_tokens == 7


@pytest.mark.parametrize("requests_settled", [10, 1, 0])
def test_wait_behind_a_reservation_of_other_buckets_sleeps_until_then(requests_settled):
    """P13: Who is behind a reservation of a group sleeps until that has left, and does not spin."""
    clock = ManualClock()
    group = make_group(clock)
    requests = group.buckets["requests"]
    drive_into_debt(group, 10)
    group.reserve({"requests": 10, "tokens": 1_000}).settle({"requests": requests_settled})

    async def main():
        waiting = asyncio.create_task(requests.wait_async(5))
        done = []
        for _ in range(12):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            done.append(waiting.done())
            requests.available_tokens  # noqa: B018 - a look at the line moves it on
            clock.advance(1)
        await asyncio.wait_for(waiting, 5)
        return done

    assert asyncio.run(main()) == [False] * 11 + [requests_settled < 10]


@pytest.mark.parametrize("idle", [0, 100])
def test_reserve_group_above_idle_buckets_waits_for_the_rest(idle):
    """P1, P4: What a full bucket would have gained while it was idle is not there."""
    clock = ManualClock()
    group = BucketGroup(TokenBucket(10, 2, clock=clock), TokenBucket(12, 1, clock=clock))
    clock.advance(idle)
    assert group.reserve(14).delay == 2


def test_reserve_group_after_a_pause_waits_from_its_end():
    """P36: A pause that is over counts as long as nothing has changed since."""
    clock = ManualClock()
    bucket, other = TokenBucket(10, 2, clock=clock), TokenBucket(50, 2, clock=clock)
    bucket.pause(1)
    clock.advance(2)
    assert BucketGroup(bucket, other).reserve(14).delay == 5.5


def test_settle_a_waiting_reservation_on_another_bucket_raises_and_changes_nothing():
    """P9: What has no place in a line cannot be charged there before it is served."""
    clock = ManualClock()
    a, b = (TokenBucket(10, 2, initial_tokens=0, clock=clock) for _ in range(2))
    waiting = BucketGroup(a=a, b=b).reserve({"a": 4})
    with pytest.raises(ValueError, match="pays only the buckets it was made for"):
        waiting.settle({"a": 2, "b": 1})
    assert (waiting.delay, b.level.full_in) == (2, 5)
    clock.advance(2)
    waiting.settle({"b": 3})
    assert (a.available_tokens, b.available_tokens) == (0, 1)
    waiting.cancel()
    assert (a.available_tokens, b.available_tokens) == (4, 4)


def test_join_a_group_of_groups_asks_the_group_itself():
    """P7: Whichever is asked to join, a group of groups is one decision."""
    bucket = TokenBucket(1, 1, clock=ManualClock())
    inner = BucketGroup(a=bucket)
    assert type(inner._join((inner,), {})) is type(BucketGroup(inner)._core)
