"""What buckets are like at an instant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter import Level
from rate_limiter.level import scarcest
from rate_limiter.memory.ledger import Ledger
from rate_limiter.memory.levels import Snapshot, full_in, level_of, snapshot, unpaused
from rate_limiter.units import read_limit

NANO = 10**9
LIMIT = read_limit(10, 2)


def shot(missing=0, *, closed_until=None, waiting=0, booked=0):
    """Make a snapshot of a bucket that lacks tokens at the instant 0."""
    unit = LIMIT.unit
    return Snapshot(LIMIT, missing * unit, closed_until, waiting, booked * unit)


@pytest.mark.parametrize(
    ("taken", "now", "available", "full", "paused"),
    [
        (shot(), 0, 10, 0, 0),
        (shot(4), 0, 6, 2, 0),
        (shot(4), NANO, 8, 1, 0),
        (shot(4), 9 * NANO, 10, 0, 0),
        (shot(14), 0, 0, 7, 0),
        (shot(14), 3 * NANO, 2, 4, 0),
        (shot(9, closed_until=NANO), 0, 0, 4.5, 1),
        (shot(9, closed_until=NANO), NANO - 1, 0, 3.500000001, 1e-9),
        (shot(9, closed_until=NANO), NANO, 3, 3.5, 0),
        (shot(4, waiting=1, booked=12), 0, 0, 8, 0),
    ],
)
def test_tell_level_at_any_instant(taken, now, available, full, paused):
    """P37: A level follows from what was captured and when, and from nothing else."""
    assert level_of(taken, now) == Level(10, 2, available, full, paused, taken.waiting)


@given(st.integers(-(10**18), 10**18), st.integers(0, 10**10))
def test_tell_when_full_is_sufficient_and_tight(base, now):
    """P6: It is the first nanosecond at which nothing is missing."""
    taken = Snapshot(LIMIT, base * 63, None, 0, 0)
    wait = full_in(taken, now)

    assert base * 63 <= (now + wait) * LIMIT.scale
    assert wait == 0 or base * 63 > (now + wait - 1) * LIMIT.scale


def test_take_snapshot_counts_the_pause():
    """P37: A bucket is told as it is, with the pause that is on."""
    ledger = Ledger(LIMIT, 7)

    assert snapshot({}, ledger) == Snapshot(LIMIT, 7, None, 0, 0)
    assert unpaused(LIMIT, 9) == Snapshot(LIMIT, 9, None, 0, 0)
    ledger.pause(NANO)
    assert snapshot({}, ledger).base == NANO * LIMIT.scale + 9 * LIMIT.unit


def test_find_scarcest_of_several_takes_the_worst_of_each():
    """Of several buckets, all of which are needed, the worst counts."""
    one = Level(10.0, 5.0, 3.0, 1.0, 2.0, 0)
    other = Level(20.0, 1.0, 9.0, 4.0, 0.0, 3)
    unknown = Level(9.0, 9.0, 9.0, 0.0, 0.0, None)

    assert scarcest([one]) is one
    assert scarcest([one, other, unknown]) == Level(9.0, 1.0, 3.0, 4.0, 2.0, 3)
