"""Requests are decided as buckets decide, at the times of the log."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import brute_force
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate_limiter.clock import CENTURY
from rate_limiter.simulate.formats import Request
from rate_limiter.simulate.limits import Limit
from rate_limiter.simulate.run import Decision, Simulation

NANO = 10**9
RATES = {
    "3/second": (3, Fraction(3)),
    "7 per 10 seconds": (7, Fraction(7, 10)),
    "100/minute": (100, Fraction(5, 3)),
    "1000/hour": (1000, Fraction(5, 18)),
}


def logs(most_cost):
    """Return a strategy for logs, some of whose lines are out of order."""
    return st.lists(
        st.tuples(
            st.integers(-2 * NANO, 20 * NANO) | st.integers(0, 20).map(NANO.__mul__),
            st.sampled_from("abc"),
            st.just(1) | st.integers(1, 100 * most_cost).map(lambda c: Decimal(c) / 100),
        ).map(lambda parts: Request(*parts)),
        max_size=60,
    )


def exact(requests):
    return [(Fraction(time, NANO), key, Fraction(cost)) for time, key, cost in requests]


@given(
    st.sampled_from(sorted(RATES)), logs(most_cost=4), st.sampled_from([None, 1, Decimal("2.5")])
)
def test_decide_generated_log_equals_brute_force(rate, log, capacity):
    """Every request is admitted or refused as by exact fractions, whatever the log."""
    count, per_second = RATES[rate]
    simulation = Simulation(Limit((rate,), capacity))
    decided = [simulation.decide(request).admitted for request in log]
    wanted = brute_force.decide(exact(log), capacity or count, per_second)
    assert decided == [delay is not None for delay in wanted]


@given(st.sampled_from(sorted(RATES)), logs(most_cost=3))
def test_wait_in_generated_log_equals_brute_force(rate, log):
    """Every request waits as long as by exact fractions, rounded up to the nanosecond."""
    count, per_second = RATES[rate]
    simulation = Simulation(Limit((rate,)), wait=True)
    waits = [simulation.decide(request).seconds for request in log]
    wanted = brute_force.decide(exact(log), count, per_second, wait=True)
    assert all(0 <= wait - exactly < 2e-9 for wait, exactly in zip(waits, wanted, strict=True))


@given(logs(most_cost=2))
def test_decide_under_two_rates_equals_the_stricter_of_each(log):
    """A request is admitted if both rates have its tokens, and then takes from both."""
    simulation = Simulation(Limit(("3/second", "7 per 10 seconds")))
    states = {}
    for (time, key, cost), request in zip(exact(log), log, strict=True):
        now = max(time, *(then for *_, then in states.values())) if states else time
        fast, slow, then = states.get(key, (Fraction(3), Fraction(7), now))
        fast = min(Fraction(3), fast + 3 * (now - then))
        slow = min(Fraction(7), slow + Fraction(7, 10) * (now - then))
        admitted = cost <= min(fast, slow)
        states[key] = fast - cost * admitted, slow - cost * admitted, now
        assert simulation.decide(request).admitted is admitted


def request(seconds, key="a", cost=1):
    return Request(round(seconds * NANO), key, cost)


def test_decide_refusal_tells_when_it_could_be_admitted():
    """A refusal carries the Retry-After, and of several rates the one that refused."""
    simulation = Simulation(Limit(("1/second", "100/hour")))
    assert simulation.decide(request(0)) == Decision(admitted=True)
    assert simulation.decide(request(0.25)) == Decision(False, 0.75, "1/second")


def test_decide_cost_above_the_capacity_is_never_admitted():
    """A cost that never fits is refused without a time, also while others wait."""
    simulation = Simulation(Limit(("10/second",)))
    assert simulation.decide(request(0, cost=11)) == Decision(False, None)


def test_wait_for_what_never_comes_is_refused():
    """A strict rate refuses a cost above its capacity, and nothing waits beyond a century."""
    simulation = Simulation(Limit(("60/minute",), strict=True), wait=True)
    assert simulation.decide(request(0, cost=7)) == Decision(False, None)
    slow = Simulation(Limit(("1/day",)), wait=True)
    assert slow.decide(request(0, cost=40_000)) == Decision(False, CENTURY / NANO)


def test_decide_cost_of_nothing_is_free():
    """A cost of 0 is admitted from an empty bucket, and only moves the clock."""
    simulation = Simulation(Limit(("1/second",)))
    assert simulation.decide(request(0)).admitted
    assert simulation.decide(request(0, cost=0)).admitted
    assert simulation.decide(request(1, cost=0)).admitted
    assert simulation.decide(request(0)).admitted


def test_decide_keys_together_share_one_limit():
    """With all keys together, one takes what another had."""
    apart, together = Simulation(Limit(("1/hour",))), Simulation(Limit(("1/hour",), together=True))
    assert [apart.decide(request(0, key)).admitted for key in "ab"] == [True, True]
    assert [together.decide(request(0, key)).admitted for key in "ab"] == [True, False]


def test_tell_levels_by_the_words_of_their_rates():
    """The levels of a key name each rate, and those of a new key are full."""
    simulation = Simulation(Limit(("2/second", "9/hour")))
    simulation.decide(request(5))
    assert {name: level.available_tokens for name, level in simulation.levels("a").items()} == {
        "2/second": 1.0,
        "9/hour": 8.0,
    }
    alone = Simulation(Limit(("2/second",)))
    assert alone.levels("b")["2/second"].available_tokens == 2.0
    assert (alone.now, simulation.now) == (0, 5 * NANO)


def test_keep_limiters_only_of_keys_in_use(monkeypatch):
    """Full buckets are dropped when there are many keys, and an empty one is not."""
    monkeypatch.setattr("rate_limiter.simulate.limits._ROOM", 10)
    simulation = Simulation(Limit(("1/hour",)))
    simulation.decide(request(0, "held"))
    limiters = simulation._limiters
    for number in range(1_000):
        simulation.decide(request(1, f"seen {number}", 1 if number % 5 == 0 else 2))
    assert "held" in limiters
    assert "seen 1" not in limiters  # its cost never fitted, so that it is full
    assert len(limiters) < 500
    assert not simulation.decide(request(1, "held")).admitted


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (Limit(("fast",)), "a rate must look like '10/second'"),
        (Limit(("1/second", "2/hour"), capacity=3), "a capacity goes with a single rate, got 3"),
        (Limit(("1/second",), strict=True), "a strict rate must count more than 1"),
        (Limit(("1/second", "1/second")), "a rate must be there once"),
    ],
)
def test_refuse_limit_that_cannot_be(limit, message):
    """What cannot be made is refused at once, and the error says what would be right."""
    with pytest.raises(ValueError, match=message):
        Simulation(limit)
