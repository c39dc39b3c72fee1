"""What shared buckets with a name have in common: words for a rate, and how a limit changes."""

from __future__ import annotations

from typing import Any, Self

from ..rates import Number, terms_of
from .base import SharedBucket
from .limits import OneLimit

__all__ = ["NamedBucket"]


class NamedBucket(SharedBucket):
    """A bucket with a key of its own."""

    __slots__ = ()

    _limits: OneLimit

    @classmethod
    def from_rate(
        cls,
        source: Any,
        name: str | bytes,
        rate: str,
        capacity: Number | None = None,
        *,
        strict: bool = False,
        **options: Any,
    ) -> Self:
        """Make a bucket from a rate in words such as "100/minute".

        Args:
            source: The client or the path; see the class.
            name: The name by which it is shared.
            rate: As for `TokenBucket.from_rate`.
            capacity: Likewise.
            strict: Likewise.
            options: As for the class.

        Raises:
            TypeError, ValueError: As for `TokenBucket.from_rate`, and for the class.
        """
        make: Any = cls
        bucket: Self = make(source, name, *terms_of(rate, capacity, strict=strict), **options)
        bucket._limits.limit.terms.strict = strict
        return bucket

    def configure(
        self, capacity: Number | None = None, tokens_per_second: Number | None = None
    ) -> None:
        """Change the limit for the calls of this process, from the next one on.

        Each process says with each call what its limit is, so change it in all of them. The level
        stays, up to the new capacity, and so do the times that callers who wait have been told.

        Args:
            capacity: The most tokens it holds; as before if None.
            tokens_per_second: How fast tokens come back; as before if None.

        Raises:
            TypeError: An argument is not a real number.
            ValueError: An argument is not positive and finite, or the store cannot count it.
        """
        self._limits.change(capacity, tokens_per_second)
        if self._held is not None and self._held.drop():
            self._return_now()
