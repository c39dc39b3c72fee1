"""The whole algorithm, on the one integer that it keeps."""

import math
from fractions import Fraction
from threading import RLock

import pytest

from rate_limiter.memory import ledger as ledger_module
from rate_limiter.memory.ledger import Ledger, exclusive
from rate_limiter.memory.line import Line
from rate_limiter.memory.waiting import told
from rate_limiter.rates import real

TOKEN = 63 * 10**12  # the unit of a ledger with a whole rate and capacity
TERMS = [(1, 1), (5, 0.5), (10, 100 / 60), (2.5, 1e-6), (1000, 1e9), (3, math.pi), (1 / 3, 1 / 7)]


def make(capacity=5, rate=1, *, full_at=0):
    """Make a ledger whose clock units are nanoseconds times `scale`; full at `full_at` tokens."""
    ledger = Ledger(real(capacity, "capacity"), real(rate, "rate"))
    ledger.full_at = full_at * ledger.unit
    return ledger


@pytest.mark.parametrize(("capacity", "rate"), TERMS)
def test_create_ledger_finds_units_without_remainder(capacity, rate):
    """P3: The rate and the capacity are whole numbers of clock units, so no fraction is dropped."""
    ledger = make(capacity, rate)

    assert Fraction(ledger.scale, ledger.unit) * 10**9 == real(rate, "rate")
    assert Fraction(ledger.span, ledger.unit) == real(capacity, "capacity")
    assert {type(ledger.scale), type(ledger.span), type(ledger.unit)} == {int}
    assert ledger.full_at == 0


@pytest.mark.parametrize(("capacity", "rate"), TERMS)
def test_read_terms_gives_back_the_floats_of_the_caller(capacity, rate):
    """What a bucket was made with is what it says it has."""
    ledger = make(capacity, rate)

    assert (ledger.capacity, ledger.tokens_per_second) == (capacity, rate)


@pytest.mark.parametrize(("capacity", "rate"), TERMS)
@pytest.mark.parametrize("parts", [*range(1, 11), 12, 60, 100, 1000, 3600, 10**9])
def test_create_ledger_divides_a_token_into_the_parts_people_use(capacity, rate, parts):
    """P2: A tenth, a third or a nano-token is a whole number of clock units at any rate."""
    assert make(capacity, rate).unit % parts == 0


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (1, TOKEN),
        (2, 2 * TOKEN),
        (1.0, TOKEN),
        (0.1, TOKEN // 10),
        (1 / 3, TOKEN // 3),
        (Fraction(2, 3), 2 * TOKEN // 3),
        (1e-9, TOKEN // 10**9),
        (Fraction(1, TOKEN), 1),
        (Fraction(14, 10 * TOKEN), 1),
        (Fraction(19, 10 * TOKEN), 1),
        (Fraction(2, TOKEN), 2),
        (Fraction(1, 10 * TOKEN), 1),
        (5e-324, 1),
        (2**53 - 1, (2**53 - 1) * TOKEN),
        (2**53, 2**53 * TOKEN),
        (10**300, 10**300 * TOKEN),
    ],
)
def test_convert_cost_rounds_down_to_a_unit_and_never_to_none(tokens, expected):
    """P1, P2: A cost is its whole clock units, and at least one: nothing is free."""
    cost = make().cost(tokens)

    assert (cost, type(cost)) == (expected, int)


@pytest.mark.parametrize("capacity", [1, 5, 0.5])
@pytest.mark.parametrize("parts", [7, 11, 13, 17, 97, 1009, 100_003, 1_000_003])
@pytest.mark.parametrize("kind", [Fraction, float])
def test_convert_cost_that_divides_the_capacity_fits_as_often(capacity, parts, kind):
    """P2: So many parts of the capacity fit into it, and one part more does not."""
    ledger = make(capacity)
    cost = ledger.cost(kind(Fraction(capacity) / parts))

    assert ledger.span // cost == parts


@pytest.mark.parametrize(("tokens", "expected"), [(0, 0), (0.0, 0), (1, TOKEN), (0.1, TOKEN // 10)])
def test_convert_amount_gives_what_a_cost_is_or_none(tokens, expected):
    """P22: What has been used may be nothing; otherwise an amount is converted as a cost."""
    assert make().amount(tokens) == expected


@pytest.mark.parametrize("tokens", [-1, -1e-300, math.nan, math.inf])
def test_convert_amount_when_no_amount_raises(tokens):
    """P22: What is no amount is refused by its name."""
    with pytest.raises(ValueError, match=r"^tokens must be "):
        make().amount(tokens)


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        *((0, ValueError), (-1, ValueError), (-0.5, ValueError), (math.nan, ValueError)),
        *((math.inf, ValueError), (10**400, ValueError), (-(10**400), ValueError)),
        *((True, TypeError), (False, TypeError), ("1", TypeError), (None, TypeError)),
    ],
    ids=repr,
)
def test_convert_cost_when_no_amount_of_tokens_raises(tokens, error):
    """P22: What is no cost is refused by its name."""
    with pytest.raises(error, match=r"^tokens must be "):
        make().cost(tokens)


@pytest.mark.parametrize(
    ("full_at", "charge", "start", "expected"),
    [
        (0, (1, 0, 4), 0, 1),  # full since just now
        (0, (1, 7, 11), 7, 8),  # full for long: counted from now
        (9, (1, 7, 11), 9, 10),  # partly empty
        (11, (1, 7, 11), 11, 12),  # the last token
        (12, (1, 7, 11), 12, 12),  # none left
        (7, (6, 7, 6), 7, 7),  # above capacity
        (99, (1, 7, math.inf), 99, 100),  # queued, without limit
        (-5, (1, -3, math.inf), -3, -2),  # before the clock's zero
        (9, (-1, 8, math.inf), 9, 8),  # given back
        (9, (-3, 10, math.inf), 10, 7),  # given back to the brim
    ],
)
def test_charge_counts_from_the_later_of_full_and_floor(full_at, charge, start, expected):
    """P5: A charge that starts in time moves the ledger by its cost; a later one not at all."""
    ledger = make(full_at=full_at)
    cost, floor, latest = (instant * ledger.unit for instant in charge)

    assert ledger.charge(cost, floor, latest) == start * ledger.unit
    assert ledger.full_at == expected * ledger.unit


@pytest.mark.parametrize(
    ("offset", "moved"), [(-1, True), (0, True), (1, False)], ids=["before", "at", "after"]
)
def test_charge_at_the_limit_is_exact_to_one_unit(offset, moved):
    """P6: The last instant is accepted, one clock unit later is not."""
    ledger = make()
    ledger.full_at = 10**30 + offset

    assert ledger.charge(7, 0, 10**30) == 10**30 + offset
    assert ledger.full_at == 10**30 + offset + 7 * moved


@pytest.mark.parametrize(
    ("full_at", "cost", "now", "expected"),
    [(9, 1, 5, 8), (9, 4, 5, 5), (9, 5, 5, 5), (5, 1, 5, 5), (3, 1, 5, 3), (99, 90, 5, 9)],
)
def test_refund_returns_tokens_up_to_the_brim(full_at, cost, now, expected):
    """P4: A refund brings the bucket to full at most, and leaves a full one as it is."""
    ledger = make(full_at=full_at)

    Line(ledger).refund(cost * ledger.unit, now * 10**9)

    assert ledger.full_at == expected * ledger.unit


@pytest.mark.parametrize(
    ("full_at", "now", "expected"),
    [(0, 0, 5), (0, 99, 5), (9, 5, 1), (9, 9, 5), (9, 4, 0), (9, 0, -4), (2, -2, 1)],
)
def test_read_level_counts_back_from_full(full_at, now, expected):
    """P4: The level is the capacity at most, and below zero when callers are owed."""
    ledger = make(full_at=full_at)

    assert ledger.level(now * ledger.unit) == expected * ledger.unit


@pytest.mark.parametrize(
    ("rate", "cost", "start", "expected"),
    [
        (1, 5, 0, 0),
        (1, 1, 4, 0),
        (1, 1, 5, 10**9),
        (1, 7, 0, 2 * 10**9),
        (3, 1, 5, 333_333_334),
        (100 / 60, 1, 5, 600_000_000),
        (1e9, 1, 5, 1),
        (1e9, 0.5, 5, 1),
        (1e10, 1, 5, 1),
        (1e-6, 1, 5, 10**15),
        (math.pi, 1, 5, 318_309_887),
    ],
)
def test_read_wait_rounds_up_to_the_nanosecond(rate, cost, start, expected):
    """P6: The wait is the first whole nanosecond at which the cost has accrued, never below 0."""
    ledger = make(rate=rate, full_at=start)

    assert told([(Line(ledger), ledger.cost(cost))], now=0) == expected


def test_renew_ledger_gives_a_full_one_on_the_same_terms():
    """A renewed ledger shares the terms and nothing else."""
    ledger = make(full_at=99)

    renewed = ledger.renewed(10**9)

    assert renewed.level(10**9 * renewed.scale) == renewed.span
    assert (renewed.span, renewed.unit) == (ledger.span, ledger.unit)
    assert ledger.full_at == 99 * ledger.unit


class InterruptedLock:
    """A lock whose taking is interrupted, as Ctrl-C does, before or after it was taken."""

    def __init__(self, *, taken):
        self._lock = RLock()
        self._taken = taken

    def acquire(self):
        if self._taken:
            self._lock.acquire()
        raise KeyboardInterrupt

    def release(self):
        self._lock.release()

    def _is_owned(self):
        return self._lock._is_owned()


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("call", ["charge", "exclusive"])
def test_charge_interrupted_while_locking_leaves_lock_and_ledger_as_they_were(
    monkeypatch, taken, call
):
    """P19: A KeyboardInterrupt on the way into the lock neither keeps it nor takes a token."""
    lock = InterruptedLock(taken=taken)
    monkeypatch.setattr(ledger_module, "_LOCK", lock)
    ledger = make(full_at=9)
    calls = {"charge": ledger.charge, "exclusive": exclusive(ledger.charge)}

    with pytest.raises(KeyboardInterrupt):
        calls[call](1, 0, math.inf)

    assert not lock._is_owned()
    assert ledger.full_at == 9 * ledger.unit


@pytest.mark.parametrize("call", [Ledger.charge, exclusive(Ledger.charge)])
def test_charge_failing_under_the_lock_leaves_it_free(call):
    """P19: An error between locking and unlocking unlocks too, and changes nothing."""
    ledger = make(full_at=9)

    with pytest.raises(TypeError):
        call(ledger, "nonsense", 0, math.inf)

    assert not ledger_module._LOCK._is_owned()
    assert ledger.full_at == 9 * ledger.unit


@pytest.mark.parametrize("latest", [math.inf, -1])
@pytest.mark.parametrize("call", [Ledger.charge, exclusive(Ledger.charge)])
def test_charge_granted_or_refused_leaves_the_lock_free(call, latest):
    """P19: Every charge lets go of the lock, whatever it decided."""
    assert call(make(), 1, 0, latest) == 0

    assert not ledger_module._LOCK._is_owned()
