"""Read the numbers that logs have, exactly."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

__all__ = ["Cost", "Unreadable", "read_cost", "read_number"]

Cost: TypeAlias = int | Decimal

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_MOST_DIGITS = 40
_LEAST_COST, _MOST_COST = Decimal("1e-9"), Decimal("1e15")


class Unreadable(ValueError):
    """A line, or a part of one, cannot be read; its text says why."""


def read_number(text: str) -> Decimal:
    """Read a number that is short enough for exact arithmetic.

    Raises:
        Unreadable: It is none.
    """
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise Unreadable(f"{text[:_MOST_DIGITS]!r} is not a number")
    return Decimal(text)


def read_cost(value: object) -> Cost:
    """Read a cost: 0, or a number that a bucket can count.

    Raises:
        Unreadable: It is none.
    """
    cost = read_number(str(value))
    if cost != 0 and not _LEAST_COST <= cost <= _MOST_COST:
        raise Unreadable(f"{value} is not a cost: that is 0, or from 1e-9 to 1e15")
    return int(cost) if cost == cost.to_integral_value() else cost
