"""Several buckets of one server at once, all or nothing, in one call of the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..members import Members
from ..memory.bucket import LocalBucket
from ..memory.group import LocalGroup
from .awaiting import AwaitingRedisBucket
from .base import RedisBucket
from .blocking import BlockingRedisBucket
from .fallback import Understudy
from .limits import SeveralLimits

__all__ = ["AsyncRedisBucketGroup", "RedisBucketGroup"]


class RedisBucketGroup(BlockingRedisBucket):
    """What `BucketGroup` makes of `RedisTokenBucket`s; see there.

    Raises:
        TypeError: They are not all of the same kind.
        ValueError: One is there twice, they have different clients or kinds of fallback, or in a
            cluster their names do not put them in one place.
    """

    __slots__ = ("_members",)

    def __init__(
        self,
        unnamed: tuple[BlockingRedisBucket, ...],
        named: Mapping[str, BlockingRedisBucket],
    ) -> None:
        self._members: Members[BlockingRedisBucket] = Members(BlockingRedisBucket, unnamed, named)
        super().__init__(*_joint(self._members))

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> RedisBucketGroup:
        return RedisBucketGroup(unnamed, named)

    def __repr__(self) -> str:
        return f"BucketGroup({self._members!r})"


class AsyncRedisBucketGroup(AwaitingRedisBucket):
    """What `BucketGroup` makes of `AsyncRedisTokenBucket`s; see `RedisBucketGroup`."""

    __slots__ = ("_members",)

    def __init__(
        self,
        unnamed: tuple[AwaitingRedisBucket, ...],
        named: Mapping[str, AwaitingRedisBucket],
    ) -> None:
        self._members: Members[AwaitingRedisBucket] = Members(AwaitingRedisBucket, unnamed, named)
        super().__init__(*_joint(self._members))

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> AsyncRedisBucketGroup:
        return AsyncRedisBucketGroup(unnamed, named)

    def __repr__(self) -> str:
        return f"BucketGroup({self._members!r})"


def _joint(members: Members[Any]) -> tuple[Any, SeveralLimits, Understudy | None]:
    """Return the client, the limits and the fallback that buckets have in common."""
    limits = SeveralLimits(members)
    keys = [limit.key for limit, _ in limits.everything()]
    client = members.all[0]._client
    if len(set(keys)) < len(keys):
        raise ValueError("a bucket can be in a BucketGroup only once")
    if any(bucket._client is not client for bucket in members.all):
        raise ValueError("the buckets of a BucketGroup must have the same client")
    if hasattr(client, "keyslot") and len({client.keyslot(key) for key in keys}) > 1:
        raise ValueError(
            "in a cluster the buckets of a BucketGroup must share a hash tag, for only then are "
            "they in one place: name them with a part in braces in common, such as "
            "'{tenant}:requests' and '{tenant}:tokens'"
        )
    return client, limits, _joint_fallback(members, limits)


def _joint_fallback(members: Members[RedisBucket], limits: SeveralLimits) -> Understudy | None:
    fallbacks = {bucket: bucket._fallback for bucket in members.all}
    kinds: set[Any] = {
        LocalBucket if isinstance(fallback, LocalBucket) else type(fallback)
        for fallback in fallbacks.values()
    }
    if len(kinds) > 1:
        raise ValueError(
            "the buckets of a BucketGroup must have fallbacks of one kind: "
            "None, 'allow', 'deny' or a TokenBucket for each"
        )
    if kinds == {type(None)}:
        return None
    if kinds != {LocalBucket}:
        constant: Understudy = kinds.pop()(limits.use)
        return constant
    unnamed: Any = tuple(fallbacks[bucket] for bucket in members.unnamed)
    named: Any = {name: fallbacks[bucket] for name, bucket in members.named.items()}
    return LocalGroup(Members(LocalBucket, unnamed, named))
