"""What can be raised."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, TypeAlias

__all__ = ["BackendError", "CostExceedsCapacity", "Label", "RateLimitExceeded"]

Label: TypeAlias = str | int | None
"""What a bucket is called: its name in a group, or its position there; None if it is alone."""

Levels: TypeAlias = Mapping[Any, Any]
"""What each bucket held at the moment of the refusal: its label and its `Level`."""

_DECIMALS = re.compile(r"\.([0-9]{1,3})[fF]\Z")  # a format with a fixed number of decimals
_UP = Context(prec=1_400, rounding=ROUND_CEILING)  # room for any float with that many decimals


class RateLimitExceeded(Exception):
    """A call was refused because the tokens are not there in time.

    Args:
        message: What happened.
        retry_after: Seconds until the tokens would be there, or None if unknown.
        tokens: The cost that was refused, in tokens, or None if unknown.
        refused_by: The label of the bucket in the group that refused; None if it is alone.
        levels: The levels of the buckets by label, or a function that returns them.

    Attributes:
        retry_after: As given. With a fixed number of decimals it is written rounded up, so that
            `f"{error.retry_after:.0f}"` in a header calls nobody back too early.
        tokens: As given.
        refused_by: As given.
    """

    _levels: Levels | Callable[[], Levels] | None = None

    def __init__(
        self,
        message: str = "rate limit exceeded",
        *,
        retry_after: float | None = None,
        tokens: Any = None,
        refused_by: Label = None,
        levels: Levels | Callable[[], Levels] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after: float | None = (
            _Seconds(retry_after) if isinstance(retry_after, float) else retry_after
        )
        self.tokens = tokens
        self.refused_by = refused_by
        self._levels = levels

    @property
    def levels(self) -> Levels:
        """The levels of the buckets at the moment of the refusal, by label; empty if unknown."""
        return _made(self)

    def __reduce__(self) -> str | tuple[Any, ...]:
        self._levels = dict(_made(self))  # the function refers to a bucket, which cannot be pickled
        return super().__reduce__()


class CostExceedsCapacity(ValueError):
    """A non-blocking call asked for more tokens than the bucket can ever hold at once.

    Args:
        message: What happened.
        tokens: The cost that was refused, in tokens, or None if unknown.
        refused_by: The label of the bucket in the group that refused; None if it is alone.
        levels: The levels of the buckets by label, or a function that returns them.

    Attributes:
        tokens: As given.
        refused_by: As given.
    """

    _levels: Levels | Callable[[], Levels] | None = None

    def __init__(
        self,
        *message: object,
        tokens: Any = None,
        refused_by: Label = None,
        levels: Levels | Callable[[], Levels] | None = None,
    ) -> None:
        super().__init__(*message)
        self.tokens = tokens
        self.refused_by = refused_by
        self._levels = levels

    @property
    def levels(self) -> Levels:
        """The levels of the buckets at the moment of the refusal, by label; empty if unknown."""
        return _made(self)

    def __reduce__(self) -> str | tuple[Any, ...]:
        self._levels = dict(_made(self))  # the function refers to a bucket, which cannot be pickled
        return super().__reduce__()


class BackendError(Exception):
    """The store that holds the tokens failed; the client's own error is the cause."""


def _made(error: RateLimitExceeded | CostExceedsCapacity) -> Levels:
    """Return the levels of a refusal; they are made when first asked for.

    The two refusals have no base in common that could do it: users rely on the bases they have.
    """
    levels = error._levels
    if levels is not None and not callable(levels):
        return levels
    made: Levels = {} if levels is None else levels()
    error._levels = made
    return made


class _Seconds(float):
    """Seconds to wait, which are rounded up when written with a fixed number of decimals (P6)."""

    __slots__ = ()

    def __format__(self, format_spec: str) -> str:
        value = float(self)
        decimals = _DECIMALS.search(format_spec)
        if decimals and math.isfinite(value):
            last = Decimal((0, (1,), -int(decimals[1])))
            meant = Decimal(f"{value:.15g}")  # 4.8 s, as a float rounded up, are 4.800000000000001
            value = float(_UP.quantize(meant, last))
        return format(value, format_spec)
