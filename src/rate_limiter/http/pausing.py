"""Which bucket of a group a refused call pauses, and what the call has not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from ..bucket_group import BucketGroup

__all__ = ["paused_by", "unused"]

_Costs: TypeAlias = Mapping[str, Any]
_ONE_OF_EACH = 1


def paused_by(bucket: Any, tokens: Any) -> Any:
    """Return the bucket that a response to a call of this cost pauses.

    A pause of one bucket of a group holds every call that uses the bucket, and at its end leaves at
    most one token there. So one bucket is enough, and the right one has its tokens back soonest: in
    `1000/hour` the next two calls would be 3.6 s apart. It is chosen among those that count calls,
    of which the call takes at most one token; if there are none, among all that it uses. Callers
    who share only another bucket of the group are not held.

    Args:
        bucket: What was asked: a bucket, or a group, whose groups are looked into.
        tokens: What the call has paid; None for a free one.
    """
    paid = list(_paid(bucket, tokens)) or list(_paid(bucket, _ONE_OF_EACH))
    counting = [(leaf, cost) for leaf, cost in paid if cost <= 1]
    return max(counting or paid, key=_calls_per_second)[0]


def unused(bucket: Any, tokens: Any) -> dict[str, Any]:
    """Return what a refused call has used of the buckets that count other things than calls: 0.

    It is empty unless a bucket of the group counts calls: then nobody knows what to give back.
    """
    if not isinstance(tokens, Mapping) or all(cost > 1 for _, cost in _paid(bucket, tokens)):
        return {}
    return _without(cast(_Costs, tokens))


def _paid(bucket: Any, tokens: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the buckets that are no groups of which a call takes something, and how much."""
    if not tokens:
        return
    if not isinstance(bucket, BucketGroup):
        yield bucket, tokens
    elif isinstance(tokens, Mapping):
        for name, cost in cast(_Costs, tokens).items():
            yield from _paid(bucket.buckets[name], cost)
    else:
        for member in bucket.members:
            yield from _paid(member, tokens)


def _calls_per_second(paid: tuple[Any, Any]) -> float:
    bucket, cost = paid
    rate: float = bucket.tokens_per_second
    return rate / max(float(cost), 1.0)


def _without(costs: _Costs) -> dict[str, Any]:
    """Return 0 for each part of a cost that is more than one token."""
    found: dict[str, Any] = {}
    for name, cost in costs.items():
        if isinstance(cost, Mapping):
            if inner := _without(cast(_Costs, cost)):
                found[name] = inner
        elif cost > 1:
            found[name] = 0
    return found
