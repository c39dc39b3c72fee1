"""What is told of a log is what was counted."""

from __future__ import annotations

import json

import pytest

from rate_limiter.simulate.formats import Request
from rate_limiter.simulate.limits import Limit
from rate_limiter.simulate.report import Outcome, as_json, as_text, title_of
from rate_limiter.simulate.run import Simulation
from rate_limiter.simulate.tally import Tally
from rate_limiter.simulate.words import (
    can_draw,
    shown_duration,
    shown_key,
    shown_number,
    shown_share,
    shown_time,
    sparkline,
)

NANO = 10**9
LATE = "each counts at the latest time before it, so sort the log first if that is much"


def outcome_of(requests, *rates, wait=False, **options):
    """Simulate requests of (seconds, key, cost)."""
    limit = Limit(rates)
    simulation, tally = Simulation(limit, wait=wait), Tally()
    for seconds, key, cost in requests:
        request = Request(round(seconds * NANO), key, cost)
        tally.add(request, simulation.decide(request))
    return Outcome(limit, wait, None, tally, **options)


BUSY = [(0, "a", 1), (0.5, "a", 1), (0.25, "b", 1), (1, "a", 1), (1.25, "a", 1), (9, "b", 5)]


def test_report_as_json_has_every_count():
    """The object holds all that was counted, under names that stay."""
    outcome = outcome_of(BUSY, "1/second", unreadable=3)
    assert json.loads(as_json(outcome)) == {
        "rates": ["1/second"],
        "requests": 6,
        "admitted": 3,
        "refused": 3,
        "refused_by": {},
        "never_admitted": 1,
        "share": 0.5,
        "unreadable": 3,
        "out_of_order": 1,
        "keys": 2,
        "keys_hit": 2,
        "worst_keys": [
            {"key": "a", "requests": 4, "refused": 2},
            {"key": "b", "requests": 2, "refused": 1},
        ],
        "first": 0.0,
        "last": 9.0,
        "longest_retry_after": 0.75,
    }


def test_report_as_json_of_waits_has_the_longest():
    """With waits there are those who waited and the longest wait, instead of Retry-After."""
    counts = json.loads(as_json(outcome_of(BUSY, "1/second", wait=True)))
    assert (counts["waited"], counts["longest_wait"], counts["refused"]) == (4, 4.0, 0)
    assert counts["worst_keys"][0] == {"key": "a", "requests": 4, "waited": 3}
    assert "longest_retry_after" not in counts


def test_report_as_json_of_several_rates_says_which_refused():
    """Each rate is told with what it refused."""
    outcome = outcome_of([(0, "a", 1)] * 2 + [(1, "a", 1), (2, "a", 1)], "1/second", "2/hour")
    assert json.loads(as_json(outcome))["refused_by"] == {"1/second": 1, "2/hour": 1}


def test_report_of_nothing_has_zeros():
    """A log without a request has no share to divide for."""
    counts = json.loads(as_json(outcome_of([], "1/second", unreadable=2)))
    assert (counts["requests"], counts["share"], counts["unreadable"]) == (0, 0.0, 2)


def test_report_as_text_has_tables_and_pictures():
    """The tables, the columns over time and the notes are laid out for reading."""
    problem = "line 7: 'x\x1b[2J' is not a time"
    outcome = outcome_of(BUSY, "1/second", unreadable=1, first_problem=problem)
    assert as_text(outcome).splitlines() == [
        "1/second for each key",
        "from 0 s to 9 s (9 s)",
        "",
        "requests  refused   share  keys hit  longest Retry-After",
        "       6        3  50.0 %    2 of 2               0.75 s",
        "",
        "asked     ▄██               ▄  at most 2 in 0.5 s",
        "admitted  ▄▄▄                  at most 1 in 0.5 s",
        "refused    ▄▄               ▄  at most 1 in 0.5 s",
        "",
        "worst keys  requests  refused   share",
        "a                  4        2  50.0 %",
        "b                  2        1  50.0 %",
        "",
        "1 line could not be read; line 7: 'x\\x1b[2J' is not a time",
        f"1 line came out of order, by up to 0.25 s; {LATE}",
        "1 line cost more than the limit ever admits; raise the capacity, or lower the cost",
    ]


def test_report_as_text_of_waits_tells_who_waited():
    """With waits the table has who waited and how long, and no row of nothing refused."""
    text = as_text(outcome_of(BUSY, "1/second", wait=True))
    assert "requests  waited  refused  share  keys hit  longest wait" in text
    assert "       6       4        0  0.0 %    2 of 2           4 s" in text
    assert "admitted  ▄▄▄ ▄ ▄                   ▄  at most 1 in 0.5 s" in text
    assert "\nrefused" not in text


def test_report_as_text_without_block_characters():
    """A terminal that has no blocks gets a picture of plain characters."""
    log = [(0, "a", 1), (0, "a", 1), (1, "a", 1), (2, "a", 1)]
    text = as_text(outcome_of(log, "1/second", "2/hour"), blocks=False)
    assert "asked     @==  at most 2 in 1 s" in text
    assert "refused by  requests\n1/second           1\n2/hour             1" in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("limit", "only", "title"),
    [
        (Limit(("1/second",)), None, "1/second for each key"),
        (Limit(("1/second", "9/hour"), together=True), None, "1/second and 9/hour together"),
        (Limit(("9/hour",), 3, strict=True), "a\nb", "9/hour, strict, capacity 3 for a\\nb"),
    ],
)
def test_title_says_what_was_tried(limit, only, title):
    """The first line names the rates, how they hold, and for whom."""
    assert title_of(Outcome(limit, False, only, Tally())) == title


def test_list_worst_keys_in_one_order():
    """Those that were refused most often come first; of equal ones, the first by name."""
    outcome = outcome_of([(0, key, 2) for key in "cbabcaab"], "1/second")
    assert [worst.key for worst in outcome.tally.worst(2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0005, "0.5 ms"),
        (0.6, "0.6 s"),
        (1.234, "1.23 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (10**9, "11,574 d 1 h"),
    ],
)
def test_show_duration_in_its_two_largest_units(seconds, text):
    """A duration is as long as people say it."""
    assert shown_duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (0.0001, "< 0.1 %"), (0.041, "4.1 %"), (0.9999, "> 99.9 %"), (1, "100.0 %")],
)
def test_show_share_as_nothing_or_all_only_if_it_is(share, text):
    """One refusal in a million is not shown as none."""
    assert shown_share(share) == text


def test_show_numbers_times_and_keys():
    """Numbers have three figures, late times are dates, and keys move no cursor."""
    assert [shown_number(number) for number in (1.666, 100.5, 6_000, 0.000278)] == [
        "1.67",
        "100",
        "6,000",
        "0.000278",
    ]
    assert shown_time(1_700_000_000 * NANO) == "2023-11-14 22:13:20 UTC"
    assert shown_time(1_500_000_000) == "1.5 s"
    assert shown_key("é\x1b[31m\u202e") == "é\\x1b[31m\\u202e"
    assert shown_key("x" * 100) == "x" * 45 + "..."


def test_draw_columns_of_which_only_nothing_is_empty():
    """However small a value is, it is seen; without a top all are nothing."""
    assert sparkline([0, 0.01, 50, 100], 100) == " ▁▄█"
    assert sparkline([0, 0], 0) == "  "


def test_tell_whether_a_terminal_has_blocks():
    """Blocks are drawn where they can be written."""
    assert can_draw("utf-8")
    assert not any(map(can_draw, ("ascii", "latin-1", None, "unheard-of")))
