"""Several buckets of one store at once, all or nothing, by one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..members import Members
from .awaiting import AwaitingBucket
from .base import SharedBucket
from .blocking import BlockingBucket
from .fallback import Open, Understudy
from .limits import SeveralLimits

__all__ = ["AwaitingGroup", "BlockingGroup"]


class _Local:
    """Stands for every bucket of this process."""


class BlockingGroup(BlockingBucket):
    """What decides for a `BucketGroup` of shared buckets for threads.

    Raises:
        TypeError: They are not all of the same kind.
        ValueError: One is there twice, they have different stores, clocks or kinds of fallback, or
            the store cannot decide for them in one step.
    """

    __slots__ = ("_members",)

    def __init__(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._members: Members[BlockingBucket] = Members(BlockingBucket, unnamed, named)
        limits, fallback = _joint(self._members)
        first = self._members.all[0]
        super().__init__(
            first._store,
            first._async_store,
            first._source,
            limits,
            fallback=fallback,
            clock=first._given,
        )

    def _check_together(self, keys: Sequence[bytes]) -> None:
        self._members.all[0]._check_together(keys)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> BlockingGroup:
        return BlockingGroup(unnamed, named)

    def _refuse_tasks(self) -> NoReturn:
        self._members.all[0]._refuse_tasks()

    def __repr__(self) -> str:
        return f"BucketGroup({self._members!r})"


class AwaitingGroup(AwaitingBucket):
    """What decides for a `BucketGroup` of shared buckets for asyncio; see `BlockingGroup`."""

    __slots__ = ("_members",)

    def __init__(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._members: Members[AwaitingBucket] = Members(AwaitingBucket, unnamed, named)
        limits, fallback = _joint(self._members)
        first = self._members.all[0]
        super().__init__(
            first._async_store, first._source, limits, fallback=fallback, clock=first._given
        )

    def _check_together(self, keys: Sequence[bytes]) -> None:
        self._members.all[0]._check_together(keys)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> AwaitingGroup:
        return AwaitingGroup(unnamed, named)

    def __repr__(self) -> str:
        return f"BucketGroup({self._members!r})"


def _joint(members: Members[Any]) -> tuple[SeveralLimits, Understudy | None]:
    """Return the limits and the fallback that buckets have in common."""
    first = members.all[0]
    if any(bucket._source is not first._source for bucket in members.all):
        raise ValueError("the buckets of a BucketGroup must be kept in one store, by one client")
    if any(bucket._given is not first._given for bucket in members.all):
        raise ValueError("the buckets of a BucketGroup must run on the same clock")
    if any(bucket._held is not None for bucket in members.all):
        raise ValueError(
            "a bucket with a lease cannot be in a BucketGroup, which decides for all its buckets "
            "in one step at the store; make it without lease=..."
        )
    limits = SeveralLimits(members)
    keys = [limit.key for limit, _ in limits.everything()]
    if len(set(keys)) < len(keys):
        raise ValueError("a bucket can be in a BucketGroup only once")
    first._check_together(keys)
    return limits, _joint_fallback(members, limits)


def _joint_fallback(members: Members[SharedBucket], limits: SeveralLimits) -> Understudy | None:
    fallbacks = {bucket: bucket._fallback for bucket in members.all}
    kinds: set[Any] = {
        type(fallback) if fallback is None or isinstance(fallback, Open) else _Local
        for fallback in fallbacks.values()
    }
    if len(kinds) > 1:
        raise ValueError(
            "the buckets of a BucketGroup must have fallbacks of one kind: "
            "None, 'allow', 'deny' or a TokenBucket for each"
        )
    if kinds == {type(None)}:
        return None
    if kinds != {_Local}:
        constant: Understudy = kinds.pop()(limits.use)
        return constant
    unnamed: Any = tuple(fallbacks[bucket] for bucket in members.unnamed)
    named: Any = {name: fallbacks[bucket] for name, bucket in members.named.items()}
    first: Any = fallbacks[members.all[0]]
    joint: Understudy = first._join(unnamed, named)
    return joint
