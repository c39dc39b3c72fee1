"""The keys of buckets on a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..rates import Number
from ..shared.limits import OneLimit, bytes_of, name_bytes
from ..shared.store import Limit
from ..shared.terms import Terms

__all__ = ["check_slots", "limit_of"]


def limit_of(
    name: str | bytes, prefix: str | bytes, capacity: Number, tokens_per_second: Number
) -> OneLimit:
    """Return the limit of a bucket by its name; see `RedisTokenBucket` for what is raised."""
    key = _key_of(bytes_of(prefix, "prefix"), name_bytes(name))
    return OneLimit(Limit(key, Terms(capacity, tokens_per_second)))


def _key_of(prefix: bytes, name: bytes) -> bytes:
    """Return the key of a name. Different pairs of prefix and name have different keys (P33)."""
    if b":" in prefix:
        raise ValueError("prefix must not contain a colon, which is what ends it in a key")
    if prefix or b":" in name:
        return prefix + b":" + name
    return name


def check_slots(client: Any, keys: Sequence[bytes]) -> None:
    """Refuse keys that a cluster keeps in different places.

    Raises:
        ValueError: They are.
    """
    if hasattr(client, "keyslot") and len({client.keyslot(key) for key in keys}) > 1:
        raise ValueError(
            "in a cluster the buckets of a BucketGroup must share a hash tag, for only then are "
            "they in one place: name them with a part in braces in common, such as "
            "'{tenant}:requests' and '{tenant}:tokens'"
        )
