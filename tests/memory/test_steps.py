"""What the calls of a bucket do, each in one step."""

import asyncio
import gc
from contextlib import contextmanager
from fractions import Fraction

import pytest

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.clock import CENTURY
from rate_limiter.memory import bucket as bucket_module
from rate_limiter.memory import serving, steps, transaction
from rate_limiter.memory.draft import Draft
from rate_limiter.memory.line import Place, Waiter
from rate_limiter.memory.transaction import JOURNAL
from rate_limiter.testing import ManualClock

YEARS = CENTURY // 10**9  # a hundred, in seconds


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def counted(monkeypatch):
    """Count the writes of each step, whom it serves, and the drafts that are made."""
    seen = {"writes": [], "served": [], "drafts": 0}
    one_step, serve_one, begin_draft = transaction._step, serving.serve_one, Draft.__init__

    def counting_step(compute, args, inside):
        def counting(*args):
            seen["served"].append(0)
            result, writes = compute(*args)
            writes = list(writes)
            seen["writes"].append(len(writes))
            return result, writes

        return one_step(counting, args, inside)

    def counting_serve_one(*args):
        seen["served"][-1] += 1
        serve_one(*args)

    def counting_begin_draft(draft):
        seen["drafts"] += 1
        begin_draft(draft)

    monkeypatch.setattr(transaction, "_step", counting_step)
    monkeypatch.setattr(serving, "serve_one", counting_serve_one)
    monkeypatch.setattr(Draft, "__init__", counting_begin_draft)
    return seen


def make(clock, capacity=10, rate=2, **options):
    return TokenBucket(capacity, rate, clock=clock, **options)


@contextmanager
def kept_away_from_collecting():
    """Have only what nobody refers to any more be freed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class EarlyClock(ManualClock):
    """Each sleep on it ends after half of what is left, but for the last nanosecond."""

    def sleep(self, sleeper, until):
        self.advance(Fraction(-(-(until - self.now()) // 2), 10**9))

    async def sleep_async(self, sleeper, until):
        self.sleep(sleeper, until)


WAITS = {
    "thread": lambda bucket: bucket.wait(),
    "task": lambda bucket: asyncio.run(bucket.wait_async()),
}


@pytest.mark.parametrize("who", WAITS)
@pytest.mark.parametrize(("early", "looks"), [(False, 1), (True, 29)])
def test_wait_alone_takes_a_step_to_stand_and_one_for_each_look(counted, who, early, looks):
    """P38: Who is alone in the line of one bucket, as most are, makes no draft of the state."""
    clock = EarlyClock() if early else ManualClock(auto_advance=True)
    bucket = make(clock, initial_tokens=0)
    assert not bucket.allow()  # this is what a wait asks first, in a step where a tracer looks on
    asked = len(counted["writes"]), counted["drafts"]

    WAITS[who](bucket)

    steps_and_drafts = len(counted["writes"]), counted["drafts"]
    assert steps_and_drafts == (2 * asked[0] + 1 + looks, 2 * asked[1])
    assert max(counted["writes"]) <= 5


@pytest.mark.parametrize("who", WAITS)
@pytest.mark.parametrize("joint", [False, True])
def test_wait_leaves_nothing_to_the_garbage_collector(who, joint):
    """P14: Whatever a wait has made is free again when it is over."""
    clock = ManualClock(auto_advance=True)
    bucket = make(clock, initial_tokens=0)
    waited_for = BucketGroup(bucket, make(clock)) if joint else bucket
    WAITS[who](waited_for)
    gc.collect()
    before = sum(isinstance(each, Waiter | Place) for each in gc.get_objects())

    with kept_away_from_collecting():
        for _ in range(10):
            WAITS[who](waited_for)
        left = sum(isinstance(each, Waiter | Place) for each in gc.get_objects())

    assert left == before


LATE = {
    "look": lambda bucket, _: bucket.available_tokens,
    "delay": lambda _, last: last.delay,
    "allow": lambda bucket, _: bucket.allow(),
    "reserve": lambda bucket, _: bucket.reserve(),
    "cancel": lambda _, last: last.cancel(),
    "settle": lambda _, last: last.settle(2),
    "refund": lambda bucket, _: bucket.refund(1),
    "pause": lambda bucket, _: bucket.pause(1),
    "resume": lambda bucket, _: bucket.resume(),
    "configure": lambda bucket, _: bucket.configure(tokens_per_second=3),
    "retry_after": lambda bucket, _: bucket.retry_after(),
    "reset": lambda bucket, _: bucket._reset(),
}


@pytest.mark.parametrize("call", LATE)
def test_come_late_serves_whose_time_has_come_in_parts(clock, counted, call):
    """P38: Whoever comes to a bucket where 1,000 are due serves them, 64 at most in a step."""
    bucket = make(clock, initial_tokens=0)
    line = [bucket.reserve(1) for _ in range(1_000)]
    last = bucket.reserve(1)
    clock.advance(500)
    counted["served"].clear()

    LATE[call](bucket, last)

    assert sum(counted["served"]) == 1_000 + (call == "refund")
    assert max(counted["served"]) == 64
    assert bucket.level.waiting <= 2
    assert not any(reservation.delay for reservation in line)


def test_look_late_serves_as_of_the_time_they_were_due(clock):
    """P1, P4: Those served late leave what has come back since, and no more."""
    bucket = make(clock, initial_tokens=0)
    reservation = bucket.reserve(4)
    clock.advance(3)
    assert bucket.available_tokens == 2
    clock.advance(100)
    assert bucket.available_tokens == 10
    reservation.cancel()
    assert bucket.available_tokens == 10


@pytest.mark.parametrize(
    "call",
    [
        lambda bucket, held: held.delay,
        lambda bucket, held: held.settle(3),
        lambda bucket, held: held.cancel(),
        lambda bucket, held: bucket.reserve(2).cancel(),
        lambda bucket, held: bucket.configure(tokens_per_second=20),
        lambda bucket, held: bucket.pause(1),
        lambda bucket, held: bucket.resume(),
        lambda bucket, held: bucket.refund(1),
        lambda bucket, held: bucket.allow(),
        lambda bucket, held: bucket.level,
    ],
)
def test_call_with_many_in_line_writes_little(clock, counted, ten_thousand, call):
    """P38: With 10,000 in line a step writes no more than with a few: others are not held up."""
    bucket, line = ten_thousand
    counted["writes"].clear()

    call(bucket, line.pop(len(line) // 2))

    assert max(counted["writes"]) <= 100
    assert sum(counted["served"]) <= 64
    assert len(counted["writes"]) <= 3


@pytest.fixture(scope="module")
def ten_thousand():
    """A bucket with 10,000 reservations in line; `benchmarks/lines.py` measures 100,000 waiters."""
    bucket = make(ManualClock(), initial_tokens=0)
    return bucket, [bucket.reserve(2) for _ in range(10_000)]


def test_call_another_bucket_touches_no_line_but_its_own(clock, counted, ten_thousand):
    """P16: 10,000 in one line are nothing to the callers of another bucket."""
    other = make(clock)
    counted["writes"].clear()

    assert other.allow(9)
    other.reserve(1)
    other.reserve(5).cancel()

    assert max(counted["writes"]) <= 30


LONG = {
    "reserve": lambda bucket, held: bucket.reserve(YEARS + 1),
    "settle": lambda bucket, held: held.settle(YEARS + 10),
    "configure": lambda bucket, held: bucket.configure(tokens_per_second=Fraction(1, 10**10)),
    "pause": lambda bucket, held: bucket.pause(YEARS + 1),
}


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("call", LONG)
def test_ask_for_more_than_100_years_raises_and_changes_nothing(clock, call, line):
    """P22: Nobody waits, and nothing is owed, for longer than 100 years."""
    bucket = make(clock, 1, 1)
    held = bucket.reserve(1)
    if line:
        bucket.reserve(3)
    before = bucket.level

    with pytest.raises(ValueError, match=r"at most .*100 years"):
        LONG[call](bucket, held)

    assert bucket.level == before
    held.cancel()
    clock.advance(3)
    assert bucket.allow()


@pytest.mark.parametrize("more", [0, 1])
def test_reserve_or_settle_up_to_100_years_is_exact(clock, more):
    """P22: The longest delay and the largest debt are 100 years to the nanosecond."""
    bucket = make(clock, 1, 1)
    ask = [
        lambda: bucket.reserve(YEARS + 1 + Fraction(more, 10**9)).cancel(),
        lambda: bucket.reserve(1).settle(YEARS + 1 + Fraction(more, 10**9)),
    ]
    for call in ask:
        if more:
            with pytest.raises(ValueError, match="tokens must be at most"):
                call()
        else:
            call()


def test_wait_behind_100_years_raises_for_the_next(clock):
    """P12: Whoever would wait longer, for those ahead, is refused and takes nothing."""
    bucket = make(clock, 1, 1)
    bucket.reserve(YEARS)
    for wait in (
        lambda: bucket.wait(2),
        lambda: asyncio.run(bucket.wait_async(2)),
        lambda: RateLimiter(bucket).acquire(2).__enter__(),
    ):
        with pytest.raises(ValueError, match="tokens must be at most what comes back in 100 years"):
            wait()
    assert bucket.level.waiting == 1


@pytest.mark.parametrize("kind", ["bucket", "group"])
@pytest.mark.parametrize("cost", [4, 14], ids=["there", "waits"])
def test_reserve_that_fails_after_it_was_taken_gives_back(clock, monkeypatch, cost, kind):
    """P11, P19: An interrupt between taking and handing out the reservation gives it all back."""
    bucket = make(clock)
    asked = BucketGroup(bucket, make(clock)) if kind == "group" else bucket
    run = bucket_module.run

    def interrupted(compute, *args):
        result = run(compute, *args)
        if compute is steps.enter:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(bucket_module, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked.reserve(cost)

    assert (bucket.level.waiting, bucket.available_tokens) == (0, 10)


def test_take_for_whoever_wants_to_know_no_more_tells_no_levels(clock):
    """A call that only asks whether it may go makes no snapshots."""
    bucket = make(clock)
    prices = bucket._prices(3)

    assert steps.take(prices, (), 0)[0] == steps.Answer(True, 0, 0, ())
    assert len(steps.take(prices, bucket._ledgers, 0)[0].after) == 1


def test_rouse_wakes_the_first_sleeper_alone(clock):
    """P13: When all move up, one wakes, and wakes the next when it leaves."""

    async def main():
        bucket = make(clock, initial_tokens=0)
        tasks = [asyncio.create_task(bucket.wait_async(2)) for _ in range(5)]
        for _ in range(3):
            await asyncio.sleep(0)
        ledger, draft = bucket._ledger, Draft()
        draft.moved.append(ledger)
        draft[ledger].full_at -= 5 * 10**9 * ledger.limit.scale
        serving.rouse(draft)
        woken = [value for _, thing, _, value in draft.writes() if thing is JOURNAL.wakes]
        assert woken == [ledger.line.first.waiter.sleeper]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
