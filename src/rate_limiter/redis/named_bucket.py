"""What the buckets of one name have in common: how they are made, and how their limit changes."""

from __future__ import annotations

from typing import Any, Self

from ..rates import Number, parse_rate
from .base import RedisBucket
from .fallback import Fallback, read_fallback
from .limits import OneLimit, new_limit

__all__ = ["NamedBucket"]


class NamedBucket(RedisBucket):
    """A bucket with a key of its own; how it is asked is said beside it."""

    __slots__ = ()

    _limits: OneLimit

    def __init__(
        self,
        client: Any,
        name: str | bytes,
        capacity: Number,
        tokens_per_second: Number,
        *,
        prefix: str | bytes = "rate_limiter",
        fallback: Fallback = None,
    ) -> None:
        limit = new_limit(name, prefix, capacity, tokens_per_second)
        super().__init__(client, limit, read_fallback(fallback, limit.use))

    @classmethod
    def from_rate(
        cls,
        client: Any,
        name: str | bytes,
        rate: str,
        capacity: Number | None = None,
        *,
        prefix: str | bytes = "rate_limiter",
        fallback: Fallback = None,
    ) -> Self:
        """Make a bucket from a rate in words such as "100/minute"; see `TokenBucket.from_rate`."""
        count, per_second = parse_rate(rate)
        capacity = count if capacity is None else capacity
        return cls(client, name, capacity, per_second, prefix=prefix, fallback=fallback)

    def configure(
        self, capacity: Number | None = None, tokens_per_second: Number | None = None
    ) -> None:
        """Change the limit for the calls of this process, from the next one on.

        Each process says with each call what its limit is, so change it in all of them. The tokens
        that the bucket lacks, and those that were promised to who waits, stay as they are.

        Args:
            capacity: The most tokens it holds; as before if None.
            tokens_per_second: How fast tokens come back; as before if None.

        Raises:
            TypeError: An argument is not a real number.
            ValueError: An argument is not positive and finite, or the script cannot count it.
        """
        self._limits.change(capacity, tokens_per_second)
