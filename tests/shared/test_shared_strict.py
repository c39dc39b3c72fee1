"""Strict rates of buckets in a store."""

import pytest
from dict_store import DictTokenBucket

from rate_limiter import BucketGroup, CostExceedsCapacity


@pytest.fixture
def strict(store, clock):
    """Admit at most sixty in any minute."""
    return DictTokenBucket.from_rate(store, "strict", "60/minute", strict=True, clock=clock)


def test_make_a_strict_rate_spreads_what_is_not_there_at_once(strict):
    """P1: Six at once and 54 a minute are never more than 60 in any minute."""
    assert strict.capacity == 6
    assert strict.tokens_per_second == pytest.approx(0.9)


@pytest.mark.parametrize("ask", ["wait", "reserve"])
def test_take_more_than_a_strict_capacity_is_refused_in_every_call(strict, asked, ask):
    """P1: To wait for it would break the rate, so it is refused, and nothing is asked."""
    with pytest.raises(CostExceedsCapacity, match="would break a strict rate"):
        getattr(strict, ask)(7)
    with pytest.raises(CostExceedsCapacity, match="of bucket 'one'"):
        getattr(BucketGroup(one=strict), ask)(7)
    assert asked() == []


def test_wait_for_less_than_a_strict_capacity_waits(strict, clock):
    """A cost that fits is waited for, as ever."""
    assert strict.allow(6)
    strict.wait(3)
    assert clock.elapsed == pytest.approx(3 / 0.9, abs=1e-5)


def test_configure_a_strict_rate_is_refused(strict):
    """Its capacity and its rate make its count together."""
    with pytest.raises(ValueError, match="a strict rate cannot be changed"):
        strict.configure(capacity=10)


def test_make_by_words_takes_the_options_of_the_class(store, clock):
    """A rate in words goes with a capacity and a fallback."""
    bucket = DictTokenBucket.from_rate(store, "x", "100/minute", 5, fallback="deny", clock=clock)
    assert (bucket.capacity, bucket.tokens_per_second) == (5, pytest.approx(100 / 60))
