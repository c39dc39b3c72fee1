"""What happens over time fits a picture, however long a log is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter.simulate.axis import time_axis
from rate_limiter.simulate.levels import LevelTrace
from rate_limiter.simulate.series import Series
from rate_limiter.testing import ManualClock
from rate_limiter.token_bucket import TokenBucket

NANO = 10**9


def series_of(times, most):
    series = Series(most)
    for time in times:
        series.at(time).asked += 1
    return series


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1), st.integers(2, 30), st.integers(2, 30))
def test_gather_series_counts_each_instant_in_its_interval(times, most, fewer):
    """Wherever intervals are joined, every instant is counted once, where it was."""
    for series in (series_of(times, most), series_of(times, most).at_most(fewer)):
        starts = [start for start, _ in series]
        assert len(starts) == len(series) <= most
        assert starts == list(range(starts[0], starts[-1] + 1, series.width))
        for start, interval in series:
            assert interval.asked == sum(start <= time < start + series.width for time in times)
    assert len(series) <= fewer


@pytest.mark.parametrize(
    ("span", "width"),
    [(0, 1e-3), (0.2, 5e-3), (150, 1), (200, 5), (7_200, 60), (86_400, 600), (10**9, 5_529_600)],
)
def test_widen_series_to_lengths_that_people_use(span, width):
    """An interval is as long as a clock's face has it; beyond days it doubles."""
    assert series_of([0, span * NANO], 200).width == width * NANO


def test_keep_series_as_it_is_when_it_is_seen_shorter():
    """A shorter view takes nothing from the series, and may have a least width."""
    series = series_of(range(0, 10 * NANO, NANO // 10), 1_000)
    assert [interval.asked for _, interval in series.at_most(100, NANO)] == [10] * 10
    assert (series.width, len(series)) == (10**7, 991)


def test_have_no_intervals_before_anything_happens():
    """A series without an instant is empty."""
    assert list(Series()) == []


def test_trace_level_between_its_corners():
    """The level goes straight from point to point, and stays full once it is."""
    clock = ManualClock()
    bucket = TokenBucket(10, 2, clock=clock)
    trace = LevelTrace()
    for step in (0, 1, 6):
        clock.advance(step)
        trace.add(clock.now(), {"a": bucket.level})
        bucket.allow(4)
        trace.add(clock.now(), {"a": bucket.level})
    assert trace.capacities == {"a": 10}
    assert trace.curve("a") == [(0, 10), (0, 6), (1, 8), (1, 4), (4, 10), (7, 10), (7, 6)]


def test_trace_level_of_a_long_log_in_bounded_memory():
    """Of many points the lowest and the highest of each few are kept."""
    clock = ManualClock()
    bucket = TokenBucket(10, 1, clock=clock)
    trace = LevelTrace()
    for step in range(10_000):
        clock.advance(0.5)
        bucket.allow(9 if step == 5_000 else 1)
        trace.add(clock.now(), {"a": bucket.level})
    curve = trace.curve("a")
    assert 1_000 < len(curve) < 6_000
    assert min(level for _, level in curve) < 1
    assert max(level for _, level in curve) > 8
    assert [time for time, _ in curve] == sorted(time for time, _ in curve)


AT = 1_700_000_000  # 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("first", "last", "labels", "title"),
    [
        (
            0,
            0.004,
            ["0", "0.001", "0.002", "0.003", "0.004"],
            "time in seconds",
        ),
        (1, 90, ["15", "30", "45", "60", "75", "90"], "time in seconds"),
        (0, 600, ["0", "2", "4", "6", "8", "10"], "time in minutes"),
        (0, 16_200, ["0", "1", "2", "3", "4"], "time in hours"),
        (0, 400_000, ["0", "1", "2", "3", "4"], "time in days"),
        (
            AT,
            AT + 2,
            ["22:13:20.000", "22:13:20.500", "22:13:21.000", "22:13:21.500", "22:13:22.000"],
            "time (UTC), 14 Nov 2023",
        ),
        (
            AT,
            AT + 20,
            ["22:13:20", "22:13:25", "22:13:30", "22:13:35", "22:13:40"],
            "time (UTC), 14 Nov 2023",
        ),
        (AT, AT + 300, ["22:14", "22:15", "22:16", "22:17", "22:18"], "time (UTC), 14 Nov 2023"),
        (
            AT,
            AT + 12_000,
            [
                "14 Nov\n22:30",
                "14 Nov\n23:00",
                "14 Nov\n23:30",
                "15 Nov\n00:00",
                "15 Nov\n00:30",
                "15 Nov\n01:00",
                "15 Nov\n01:30",
            ],
            "time (UTC), 14 Nov 2023 to 15 Nov 2023",
        ),
        (
            AT,
            AT + 300_000,
            [
                "15 Nov\n00:00",
                "15 Nov\n12:00",
                "16 Nov\n00:00",
                "16 Nov\n12:00",
                "17 Nov\n00:00",
                "17 Nov\n12:00",
                "18 Nov\n00:00",
            ],
            "time (UTC), 14 Nov 2023 to 18 Nov 2023",
        ),
        (
            AT,
            AT + 600_000,
            ["15 Nov", "16 Nov", "17 Nov", "18 Nov", "19 Nov", "20 Nov", "21 Nov"],
            "time (UTC), 14 Nov 2023 to 21 Nov 2023",
        ),
    ],
)
def test_mark_time_axis_where_people_look(first, last, labels, title):
    """Marks are at whole seconds, minutes, hours or days, at most nine, and say what they are."""
    axis = time_axis(first, last)
    assert (axis.labels, axis.title) == (labels, title)
    assert all(first <= mark <= last for mark in axis.marks)
    assert len(axis.marks) == len(labels) <= 9


def test_mark_time_axis_of_centuries():
    """Beyond years the marks are even."""
    axis = time_axis(0, 10**11)
    assert len(axis.marks) == 9
