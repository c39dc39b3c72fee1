"""Running sums of prices in a line, from which anybody may leave (Fenwick 1994).

Places are numbered 1, 2, 3 ... in the order in which they join. Node `n` holds the sum of the last
`n & -n` places up to `n`, so that a sum, a join and a change each touch O(log n) nodes. Nodes that
are 0 are not kept: what has left takes no memory.
"""

from __future__ import annotations

from ..units import Exact
from .draft import Table

__all__ = ["append", "change", "total"]


def total(nodes: Table, number: int) -> Exact:
    """Return the sum of the prices of the places up to this one."""
    result: Exact = 0
    while number:
        result += nodes[number]
        number &= number - 1
    return result


def append(nodes: Table, number: int, price: Exact) -> None:
    """Add the next place; `number` is one more than the last one's."""
    result, child, first = price, number - 1, number & (number - 1)
    while child > first:
        result += nodes[child]
        child &= child - 1
    nodes[number] = result


def change(nodes: Table, number: int, size: int, extra: Exact) -> None:
    """Change the price of a place by this much; `size` is the number of the last place."""
    while number <= size:
        nodes[number] = nodes[number] + extra
        number += number & -number
