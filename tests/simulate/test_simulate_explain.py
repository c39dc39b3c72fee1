"""What a limit means is told in figures that hold."""

from __future__ import annotations

import pytest

from rate_limiter.simulate.explain import explained
from rate_limiter.simulate.limits import Limit
from rate_limiter.simulate.spell import BusySpell


def lines_of(*rates, **terms):
    limit = Limit(rates, **terms)
    return explained(limit, BusySpell(limit)).splitlines()


def test_explain_rate_in_figures_headers_and_a_picture():
    """All of it: the first minute, the long run, what callers are told, and what they see."""
    lines = lines_of("100/minute")
    assert lines[0] == (
        "100/minute: 100 at once from a full bucket, then one every 0.6 s; from empty to full in "
        "1 min"
    )
    assert lines[1:14] == [
        "",
        "at most in  the first, from full  in the long run",
        "a second                     101             1.67",
        "a minute                     200              100",
        "an hour                    6,100            6,000",
        "a day                    144,100          144,000",
        "",
        "The first request may be answered with",
        '  RateLimit: "default";r=99;t=1',
        '  RateLimit-Policy: "default";q=100;w=60',
        "and the first that is refused, 0.6 s too early, with",
        "  Retry-After: 1",
        '  RateLimit: "default";r=0;t=1',
    ]
    assert lines[17:] == [
        "",
        "asked     ▂▂▂▂▂▂▄███████████████████▆▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂",
        "admitted  ▂▂▂▂▂▂▄██████▄▃▃▃▃▃▃▃▃▃▃▃▃▃▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂",
        "refused                ▄▆▆▆▆▆▆▆▆▆▆▆▆▄                                 ",
        "tokens    ████████▇▆▄▃▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▃▃▃▄▄▄▅▅▅▅▆▆▆▇▇▇██████████",
        "          0 s                                               4 min 30 s",
    ]


def test_explain_several_rates_by_the_one_that_counts():
    """Each rate has its line and its part of the headers; the figures are the lowest of all."""
    text = "\n".join(lines_of("10/second", "1000/hour"))
    assert "10/second: 10 at once" in text
    assert "1000/hour: 1,000 at once" in text
    for row in ("a second", "a minute", "an hour"):
        assert row in text
    assert "a minute                     610             16.7" in text
    assert "an hour                    2,000            1,000" in text
    assert 'RateLimit: "10/second";r=9;t=1, "1000/hour";r=999;t=4' in text
    assert 'RateLimit: "10/second";r=0;t=1, "1000/hour";r=990;t=36' in text
    assert "then for half again, 3 tokens a request:" in text


def test_explain_strict_rate_keeps_its_window():
    """A strict rate admits its count in the first minute, and less in the long run."""
    text = "\n".join(lines_of("60/minute", strict=True))
    assert "strict: no span of the rate's own length ever has more than its count" in text
    assert "a minute                      60               54" in text


def test_explain_rate_of_one_tells_when_the_next_comes():
    """Where nothing is left after the first request, its header says how long that lasts."""
    lines = lines_of("1/hour")
    assert '  RateLimit: "default";r=0;t=3600' in lines
    assert "  Retry-After: 3600" in lines


def test_explain_capacity_below_one_says_that_nothing_fits():
    """Where no request is ever admitted, no answers are made up."""
    lines = lines_of("1/hour", capacity=0.5)
    assert "never admitted at once" in lines[1]
    assert len(lines) == 8


@pytest.mark.parametrize(("rates", "cost"), [(("90000/minute",), 300), (("2/second",), 1)])
def test_play_spell_with_few_requests_however_large_a_limit_is(rates, cost):
    """The picture of a large limit takes larger requests, not more of them."""
    spell = BusySpell(Limit(rates))
    assert spell.cost == cost
    assert 100 < sum(spell.asked) < 2_500
    assert sum(spell.asked) == spell.tally.requests
    assert sum(spell.admitted) == spell.tally.requests - spell.tally.refused
    assert len(spell.levels) == len(spell.asked) == 60
