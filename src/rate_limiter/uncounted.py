"""What pays for a call that nothing was charged for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .admission import REFUNDED, Receipt, Tokens
from .level import Levels

__all__ = ["ReadUse", "Uncounted"]

ReadUse: TypeAlias = Callable[[Tokens, Tokens], Any]
"""Gets what was used and what it was taken for; see `BaseBucket._uses`."""


class Uncounted:
    """Pays nothing. What is corrected is read all the same, and refused if it makes no sense.

    Args:
        read_use: Refuses what is no use of what was taken.
    """

    def __init__(self, read_use: ReadUse) -> None:
        self._read_use = read_use

    def _levels(self, after: Any) -> Levels:
        return {}

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        self._read_use(actual, receipt._tokens)
        return receipt._paid is not REFUNDED

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        return self._settle(receipt, actual)

    def _give_back(self, receipt: Receipt) -> None:
        receipt._paid = REFUNDED

    async def _give_back_async(self, receipt: Receipt) -> None:
        self._give_back(receipt)
