"""The whole algorithm, on the one integer that it keeps."""

import asyncio
import math
from fractions import Fraction

import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket, compiled, rate_limited
from rate_limiter.memory import ledger as ledger_module
from rate_limiter.memory.ledger import Ledger
from rate_limiter.memory.transaction import JOURNAL
from rate_limiter.testing import ManualClock
from rate_limiter.units import read_limit

NANO = 10**9


def make(capacity=5, rate=1, *, full_at=0):
    """Make a ledger that is full at `full_at` seconds; a token takes `1 / rate` of them."""
    limit = read_limit(capacity, rate)
    return Ledger(limit, int(Fraction(full_at) * NANO * limit.scale))


def units(ledger, tokens):
    return int(Fraction(tokens) * ledger.limit.unit)


@pytest.mark.parametrize(
    ("full_at", "closed_until", "expected"),
    [(3, None, 3), (3, 2, 6), (7, 2, 7), (3, 0, 4), (-9, -1, 3)],
)
def test_count_base_from_full_or_the_end_of_the_pause(full_at, closed_until, expected):
    """P36: At the end of a pause of five tokens four are missing, or more."""
    ledger = make(full_at=full_at)
    ledger.closed_until = None if closed_until is None else closed_until * NANO

    assert ledger.base == expected * NANO * ledger.limit.scale


@pytest.mark.parametrize(
    ("rate", "cost", "full_at", "expected"),
    [
        *((1, 5, 0, 0), (1, 1, 5, NANO), (1, 1, 4, 0), (1, 7, 0, 2 * NANO)),
        *((3, 1, Fraction(5, 3), 333_333_334), (1e9, 0.5, 5e-9, 1), (1e10, 1, 5e-10, 1)),
        *((1e-6, 1, 5 * 10**6, 10**15), (math.pi, 1, 0, 0)),
    ],
)
def test_tell_when_due_rounds_up_to_the_nanosecond(rate, cost, full_at, expected):
    """P6: It is the first whole nanosecond at which the cost has accrued."""
    ledger = make(rate=rate)
    base = int(Fraction(full_at) * NANO * ledger.limit.scale)

    assert ledger.due(base, ledger.limit.cost(cost), 0) == expected


@pytest.mark.parametrize(
    ("left", "closed_until", "expected"), [(0, None, 2), (3, None, 3), (0, 7, 7), (9, 7, 9)]
)
def test_tell_when_due_waits_for_the_one_ahead_and_the_pause(left, closed_until, expected):
    """P10, P36: Nobody is served before the one ahead of them, or before a pause ends."""
    ledger = make(full_at=6)
    ledger.closed_until = closed_until

    assert ledger.due(6 * ledger.limit.scale, ledger.limit.span - 4 * ledger.limit.scale, left) == (
        expected
    )


@pytest.mark.parametrize(
    ("base", "cost", "due", "expected"),
    [(9, 1, 5, 10), (9, 1, 6, 10), (9, 1, 9, 10), (9, 1, 12, 13), (0, 7, 2, 7), (0, 7, 4, 9)],
)
def test_serve_late_loses_what_overflowed_meanwhile(base, cost, due, expected):
    """P7: Who is held up elsewhere is charged when it leaves; its tokens do not add up."""
    ledger = make()
    scale = NANO * ledger.limit.scale

    assert ledger.served(base * scale, units(ledger, cost), due * NANO) == expected * scale


@pytest.mark.parametrize(
    ("full_at", "charged", "expected"),
    [(3, 2, 7), (9, 2, 11), (9, -2, 7), (9, -6, 5), (5, -1, 5), (3, -1, 3), (3, 0, 3)],
)
def test_correct_counts_from_now_and_never_beyond_full(full_at, charged, expected):
    """P4, P9: Charging starts at a full bucket of now; giving back ends there."""
    ledger = make(full_at=full_at)
    floor = 5 * NANO * ledger.limit.scale

    corrected = ledger.corrected(units(ledger, charged), floor)

    assert corrected == expected * NANO * ledger.limit.scale


@pytest.mark.parametrize(("head", "expected"), [(0, 9), (5, 9), (7, 7)])
def test_floor_lets_tokens_add_up_for_a_large_head(head, expected):
    """P1: While the head of the line costs more than the capacity, the surplus is kept for it."""
    ledger = make()

    floor = ledger.floor(9 * NANO, units(ledger, head))

    assert floor == expected * NANO * ledger.limit.scale


@pytest.mark.parametrize(
    ("now", "full_at", "closed_until"), [(1, 0, 2), (2, 6, None), (3, 6, None)]
)
def test_end_pause_folds_it_into_full_at_once_it_is_over(now, full_at, closed_until):
    """P36: A pause is kept until its end, and one token is there then."""
    ledger = make()
    ledger.pause(2 * NANO)
    ledger.end_pause(now * NANO)

    assert ledger.full_at == full_at * NANO * ledger.limit.scale
    assert ledger.closed_until == (None if closed_until is None else closed_until * NANO)


@pytest.mark.parametrize(
    ("capacity", "rate", "full_at", "level"),
    [(5, 1, 3, 2), (5, 1, 0, 5), (2, 1, 3, 2), (2, 1, 0, 2), (5, 2, 9, -4), (50, 10, 0, 5)],
)
def test_restate_keeps_the_level_in_tokens(capacity, rate, full_at, level):
    """P9: Another limit leaves the tokens that are there, up to its capacity, and debt."""
    ledger, limit = make(full_at=full_at), read_limit(capacity, rate)

    ledger.restate(limit, 0, 0, 0)

    assert Fraction(limit.span - ledger.full_at, limit.unit) == level


def test_restate_rounds_what_no_unit_divides_down():
    """P1: A part of a unit is not minted by another limit."""
    ledger = make(5, Fraction(1, 11))
    ledger.full_at = ledger.limit.span - ledger.limit.unit // 11
    limit = read_limit(5, 1)

    ledger.restate(limit, 0, 0, 0)

    assert limit.span - ledger.full_at == limit.unit // 11


@pytest.mark.parametrize(
    ("rate", "full_at", "expected"), [(1, 3, 3 * NANO), (3, Fraction(1, 3), 333_333_334)]
)
def test_tell_when_full_only_while_it_is_simple(rate, full_at, expected, monkeypatch):
    """P24: A bucket with a line or a pause, or amid a step, is asked in a step of its own."""
    ledger = make(rate=rate, full_at=full_at)
    monkeypatch.setattr(JOURNAL, "busy", False)
    assert ledger.when_full() == expected
    monkeypatch.setattr(JOURNAL, "busy", True)
    assert ledger.when_full() is None
    monkeypatch.setattr(JOURNAL, "busy", False)
    ledger.fast = None
    assert ledger.when_full() is None


@pytest.fixture
def untraced(monkeypatch):
    """Let calls take the fast path although a tool for coverage traces them."""
    monkeypatch.setattr(ledger_module, "gettrace", lambda: None)
    monkeypatch.setattr(JOURNAL, "busy", False)


@pytest.fixture
def slow(monkeypatch):
    """Count the calls that go through a step."""
    steps = []
    in_step = TokenBucket._allow_in_step

    def allow_in_step(bucket, tokens):
        steps.append(tokens)
        return in_step(bucket, tokens)

    monkeypatch.setattr(TokenBucket, "_allow_in_step", allow_in_step)
    return steps


@pytest.mark.parametrize("cost", [1, 2, 1.0, 0.5, Fraction(1, 3), Fraction(7, 2)])
def test_allow_on_the_fast_path_counts_as_a_step_does(untraced, slow, cost):
    """P2: Tokens are taken without a step, as many as there are."""
    bucket = TokenBucket(10, 5, clock=ManualClock())

    assert bucket.allow(cost)
    assert bucket.allow(10 - 2 * Fraction(cost))
    assert bucket.allow(cost)
    assert not bucket.allow(cost)
    assert (slow, bucket.available_tokens) == ([], 0)


@pytest.mark.parametrize(
    "hinder",
    [
        lambda bucket, _: bucket.pause(1),
        lambda bucket, _: bucket.reserve(11),
        lambda _, patch: patch.setattr(JOURNAL, "busy", True),
        pytest.param(
            lambda _, patch: patch.setattr(ledger_module, "gettrace", lambda: print),
            marks=pytest.mark.skipif(compiled, reason="in C no tracer comes in between"),
        ),
    ],
    ids=["pause", "line", "step under way", "traced"],
)
def test_allow_keeps_off_the_fast_path_where_it_could_tear(untraced, slow, monkeypatch, hinder):
    """P18, P19: A line, a pause, a step under way and a tracer send a call through a step."""
    bucket = TokenBucket(10, 1, clock=ManualClock())
    hinder(bucket, monkeypatch)

    bucket.allow(2)

    assert slow == [2]


@pytest.mark.parametrize("cost", [1, len])
def test_call_limited_function_on_the_fast_path_takes_its_tokens(untraced, cost):
    """P2: A decorated call asks the bucket itself first, and the limiter when it is short."""
    bucket = TokenBucket(3, 2, clock=ManualClock())
    limited = RateLimiter(bucket, block=False).cost(cost)(len)

    assert [limited("a") for _ in range(3)] == [1, 1, 1]
    with pytest.raises(RateLimitExceeded):
        limited("a")


def test_await_call_of_a_computed_cost_on_the_fast_path_takes_its_tokens(untraced):
    """P2: So does a coroutine function whose cost is computed."""
    bucket = TokenBucket(5, 1, clock=ManualClock())

    @RateLimiter(bucket, block=False).cost(len)
    async def fetch(text):
        return text

    assert asyncio.run(fetch("abc")) == "abc"
    assert bucket.available_tokens == 2


def test_call_with_a_key_on_the_fast_path_takes_its_tokens(untraced):
    """P2: So does a call that is limited by its key."""
    limited = rate_limited(2, 1, block=False, key=len, clock=ManualClock())(str.upper)

    assert [limited(text) for text in ("a", "b", "cc")] == ["A", "B", "CC"]
    with pytest.raises(RateLimitExceeded):
        limited("c")


def test_call_coroutine_function_on_the_fast_path_takes_its_tokens(untraced):
    """P2: And a coroutine function whose calls say what they cost."""

    async def measure(text):
        return len(text)

    limited = RateLimiter(TokenBucket(3, 2, clock=ManualClock()), block=False).cost(len)(measure)

    assert asyncio.run(limited("abc")) == 3
    with pytest.raises(RateLimitExceeded):
        asyncio.run(limited("a"))


def test_await_permit_on_the_fast_path_takes_its_tokens(untraced):
    """P2: A task takes what is there without a step, and is refused with the time."""
    limiter = RateLimiter(TokenBucket(3, 2, clock=ManualClock()), block=False)

    async def main():
        async with limiter.acquire(2) as permit:
            assert permit.levels[None].available_tokens == 1
        await limiter.acquire(2)

    with pytest.raises(RateLimitExceeded) as caught:
        asyncio.run(main())
    assert caught.value.retry_after == 0.5


def test_resume_without_a_pause_changes_nothing():
    """P36: There is no pause to fold into `full_at`."""
    ledger = make(full_at=3)
    ledger.resume(9 * NANO)
    assert (ledger.full_at, ledger.closed_until) == (make(full_at=3).full_at, None)


def test_admit_on_the_fast_path_tells_the_level_it_left(untraced, monkeypatch):
    """P37: A permit knows the level just after its tokens were taken, and a refusal says when."""
    limiter = RateLimiter(TokenBucket(3, 2, clock=ManualClock(start=7)), block=False)
    with limiter.acquire(1) as one, limiter.acquire(1.5) as more:
        pass

    assert [permit.levels[None].available_tokens for permit in (one, more)] == [2, 0.5]
    with pytest.raises(RateLimitExceeded) as caught:
        limiter.acquire().__enter__()
    assert caught.value.retry_after == 0.25
    monkeypatch.setattr(JOURNAL, "busy", True)
    with limiter.acquire(0.5) as last:
        assert last.levels[None].available_tokens == 0


@pytest.mark.parametrize("wrong", [0, True, "1", None, {"a": 1}])
def test_allow_what_is_no_cost_on_the_fast_path_raises(untraced, wrong):
    """P22: What is no cost is refused there as well, and nothing is taken."""
    bucket = TokenBucket(10, 1, clock=ManualClock())

    with pytest.raises((TypeError, ValueError), match="token"):
        bucket.allow(wrong)
    assert bucket.available_tokens == 10
