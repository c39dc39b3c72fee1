"""What is left once a request that does not count has been given its tokens back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..admission import Tokens
from ..exceptions import Label
from ..level import Level

__all__ = ["given_back"]


def given_back(levels: Mapping[Label, Level], tokens: Tokens) -> dict[Label, Level]:
    """Return what buckets are like once tokens have been given back to them."""
    given: Any = tokens
    costs: dict[Any, Any] = (
        {**given} if isinstance(tokens, Mapping) else dict.fromkeys(levels, given)
    )
    flat = dict(_flat(costs))
    return {label: _fuller(level, float(flat.get(label, 0))) for label, level in levels.items()}


def _flat(costs: Mapping[Any, Any], outer: str = "") -> Iterator[tuple[Label, Any]]:
    """Yield the cost of each bucket by its label, `outer.inner` in a nested group."""
    for name, cost in costs.items():
        label = f"{outer}{name}" if outer else name
        if isinstance(cost, Mapping):
            inner: dict[Any, Any] = {**cost}
            yield from _flat(inner, f"{label}.")
        else:
            yield label, cost


def _fuller(level: Level, tokens: float) -> Level:
    """Return a level with more tokens; waiters, or a pause, keep them from being there."""
    full_in = max(level.full_in - tokens / level.tokens_per_second, 0.0)
    if level.waiting or level.paused_for:
        return level._replace(full_in=full_in)
    available = min(level.available_tokens + tokens, level.capacity)
    return level._replace(available_tokens=available, full_in=full_in)
