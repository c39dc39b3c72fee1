"""When each is served in lines that share waiters."""

import pytest

from rate_limiter import BucketGroup, RateLimitExceeded, TokenBucket
from rate_limiter.memory import planning
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def made(monkeypatch):
    """Count how often a family is played through."""
    made, make_plan = [], planning._make_plan

    def counting(*args):
        made.append(1)
        return make_plan(*args)

    monkeypatch.setattr(planning, "_make_plan", counting)
    return made


class Family:
    """Two buckets, empty, of which a gets a token every second and b one every two."""

    def __init__(self, clock):
        self.a = TokenBucket(9, 1, initial_tokens=0, clock=clock)
        self.b = TokenBucket(9, 0.5, initial_tokens=0, clock=clock)
        self.group = BucketGroup(a=self.a, b=self.b)


@pytest.fixture
def family(clock):
    return Family(clock)


def delays(line):
    return [reservation.delay for reservation in line]


def test_stand_behind_a_group_waits_for_its_slowest_bucket(family, made):
    """P7, P10: Whoever is behind it in the fast bucket is held up by the slow one."""
    line = [
        *(family.a.reserve(1), family.group.reserve(2), family.a.reserve(3), family.b.reserve(1)),
        family.group.reserve({"a": 1, "b": 1}),
    ]
    assert delays(line) == [1, 4, 6, 6, 8]
    assert len(made) == 1


def test_ask_again_replays_nothing(family, made):
    """P38: A plan is kept until something changes, however often it is asked."""
    line = [family.group.reserve(1) for _ in range(10)]
    for _ in range(5):
        assert delays(line) == list(range(2, 22, 2))
        assert family.a.retry_after(2) == 20
    assert made == []
    with pytest.raises(RateLimitExceeded):
        family.group.reserve(1, timeout=1)
    assert made == []


CHANGES = {
    "settle less": (lambda family, line: line[1].settle(1), [2, 4, 8]),
    "settle more": (lambda family, line: line[1].settle(3), [2, 8, 12]),
    "settle one bucket": (lambda family, line: line[1].settle({"a": 9}), [2, 10, 12]),
    "cancel": (lambda family, line: line.pop(1).cancel(), [2, 6]),
    "cancel the head": (lambda family, line: line.pop(0).cancel(), [4, 8]),
    "refund": (lambda family, line: family.b.refund(2), [1, 3, 6]),
    "pause": (lambda family, line: family.a.pause(5), [5, 7, 10]),
    "pause and resume": (
        lambda family, line: [family.a.pause(5), line[2].delay, family.a.resume()],
        [2, 6, 10],
    ),
    "configure": (lambda family, line: family.b.configure(tokens_per_second=2), [1, 3, 5]),
    "debt": (lambda family, line: family.owed.settle(4), [6, 10, 14]),
    "reset": (lambda family, line: family.b._reset(), [1, 3, 5]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_something_in_a_family_plans_anew(family, made, change):
    """P9: What was planned before is forgotten when a price, a limit or a level changes."""
    family.b.refund(2)
    family.owed = family.b.reserve(2)
    line = [family.group.reserve(cost) for cost in (1, 2, 2)]
    assert delays(line) == [2, 6, 10]
    call, expected = CHANGES[change]

    call(family, line)

    assert delays(line) == expected
    before = len(made)
    assert delays(line) == expected
    assert len(made) == before


def test_merge_two_families_plans_them_together(clock, made):
    """P10: A waiter of two families that were apart is behind both."""
    a, b, c, d = (TokenBucket(9, 1, initial_tokens=0, clock=clock) for _ in range(4))
    line = [BucketGroup(a, b).reserve(2), BucketGroup(c, d).reserve(5), d.reserve(1)]
    line += [BucketGroup(b, c).reserve(1), a.reserve(1), BucketGroup(a, d).reserve(1)]
    assert delays(line) == [2, 5, 6, 6, 3, 7]
    line[1].cancel()
    assert delays([line[0], *line[2:]]) == [2, 1, 3, 3, 4]


def test_join_one_bucket_that_has_a_line_of_its_own_plans_both(clock):
    """P10: A group behind a line that shared no waiters so far waits for all of it."""
    a, b = (TokenBucket(9, 1, initial_tokens=0, clock=clock) for _ in range(2))
    line = [a.reserve(3), a.reserve(4), BucketGroup(a, b).reserve(1), b.reserve(1)]
    assert delays(line) == [3, 7, 8, 8]


def test_serve_the_last_of_a_group_goes_back_to_sums(family, clock, made):
    """P38: A line that shares waiters no more needs no plan."""
    line = [family.group.reserve(1), *(family.a.reserve(1) for _ in range(5))]
    assert delays(line) == [2, 2, 3, 4, 5, 6]
    clock.advance(2)
    assert delays(line) == [0, 0, 1, 2, 3, 4]
    made.clear()
    assert (family.a.reserve(2).delay, family.a._ledger.line.plan) == (6, None)
    family.a.refund(1)
    assert delays(line) == [0, 0, 0, 1, 2, 3]
    assert made == []


def test_ask_the_head_of_a_family_plays_nothing(family, clock, made):
    """P38: Whoever is first everywhere needs no plan to know when it is served."""
    line = [family.group.reserve(1) for _ in range(3)]
    family.a.pause(7)
    assert line[0].delay == 7
    assert made == []
    assert delays(line) == [7, 8, 9]
    assert len(made) == 1


def test_serve_some_of_a_family_forgets_them(family, clock):
    """P14: A plan that goes on keeps nothing of those who have left."""
    for _ in range(6):
        family.group.reserve(1)
    family.a.reserve(1)
    plan = family.b._ledger.line.plan
    assert (len(plan.dues), len(plan.tails)) == (7, 2)
    clock.advance(8)
    assert family.group.level.waiting == 3
    assert family.b._ledger.line.plan is plan
    assert (len(plan.dues), len(plan.tails)) == (3, 2)
    clock.advance(4)
    assert family.a.level.waiting == 0
    assert (family.a._ledger.line, family.b._ledger.line, plan.tails) == (None, None, {})


@pytest.mark.parametrize("anew", [False, True])
def test_stand_behind_a_group_that_is_held_up_elsewhere_loses_what_overflows(family, anew):
    """P4, P7: While it waits for the slow bucket, the fast one fills up and no further."""
    line = [family.group.reserve({"a": 1, "b": 9}), family.a.reserve(9), family.a.reserve(1)]
    if anew:
        line[0].settle({"a": 1})
    assert delays(line) == [18, 19, 20]
