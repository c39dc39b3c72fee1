"""Values in error messages: one short line, whatever they are."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from rate_limiter.rates import shown


class BadInt(int):
    """An int that raises wherever it can."""

    def bit_length(self):
        raise LookupError

    __repr__ = __str__ = bit_length


def kind(value):
    """Name a row of a table without printing the value, which may have thousands of digits."""
    return type(value).__name__


@pytest.mark.parametrize(
    "value", ["x" * 10**6, 10**5000, list(range(10**4)), BadInt(2**200)], ids=kind
)
def test_show_value_of_any_size_is_short(value):
    """P22: An error message stays one line whatever it is about."""
    assert 0 < len(shown(value)) < 80


class Mute:
    """Something that cannot be shown."""

    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


class Unwritten:
    """Something whose repr is no text."""

    def __repr__(self):
        return 1


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), LookupError(), MemoryError()])
def test_show_value_whose_repr_raises_names_its_type(error):
    """P22: An error message never fails for what it is about."""
    assert shown(Mute(error)) == "a Mute"
    assert shown([Mute(error)]) == "a list"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BadInt(3), "a BadInt"),
        (BadInt(2**200), "an int of 201 bits"),
        (Unwritten(), "a Unwritten"),
        (Fraction(10**5000), "a Fraction"),
        (np.array([[1], [2]]), "array([[1],        [2]])"),
        (Decimal("1e2000000"), "Decimal('1E+2000000')"),
        (Decimal("9" * 100), "Decimal('9999...999999999999')"),
    ],
    ids=kind,
)
def test_show_value_of_any_kind_is_one_line(value, expected):
    """P22: Whatever can be shown is shown, in one short line."""
    assert shown(value) == expected


def test_show_value_lets_an_interrupt_pass():
    """P19: An interrupt that comes while a value is shown is no fault of the value."""
    with pytest.raises(KeyboardInterrupt):
        shown(Mute(KeyboardInterrupt()))
