"""The buckets of a group, and what a cost means to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from .bucket import BaseBucket, Tokens
from .rates import shown

__all__ = ["Members"]

M = TypeVar("M", bound=BaseBucket)


class Members(Generic[M]):
    """Some buckets of a kind, some of them with names.

    Args:
        kind: What they must be.
        unnamed: Buckets without a name.
        named: Buckets by the names that a cost mapping uses.

    Raises:
        TypeError: One is no bucket, or of another kind.
        ValueError: There is none.
    """

    __slots__ = ("all", "named", "unnamed")

    def __init__(self, kind: Any, unnamed: tuple[M, ...], named: dict[str, M]) -> None:
        self.unnamed = unnamed
        self.named = named
        self.all = [*unnamed, *named.values()]
        if not self.all:
            raise ValueError("a BucketGroup needs at least one bucket")
        for member in self.all:
            if not isinstance(member, BaseBucket):
                raise TypeError(
                    f"a BucketGroup holds buckets, got {shown(member)} ({type(member).__name__})"
                )
            if not isinstance(member, kind):
                raise TypeError(
                    f"a BucketGroup holds buckets of one kind, for they decide in one step: "
                    f"a {type(member).__name__} does not go with a {type(self.all[0]).__name__}"
                )

    @property
    def capacity(self) -> float:
        """The smallest capacity among them, in tokens."""
        return min(member.capacity for member in self.all)

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among them."""
        return min(member.tokens_per_second for member in self.all)

    def costs(self, tokens: Tokens) -> list[tuple[M, Tokens]]:
        """Return which of them so many tokens are asked of, and how many of each.

        Raises:
            ValueError: A mapping is empty, or names none of them.
        """
        if not isinstance(tokens, Mapping):
            return [(member, tokens) for member in self.all]
        names = ", ".join(map(repr, self.named)) or "none"
        if not tokens:
            raise ValueError(f"a cost mapping must name at least one bucket of: {names}")
        for name in tokens:
            if name not in self.named:
                raise ValueError(
                    f"no bucket of this group is called {shown(name)}; its names are: {names}"
                )
        return [(self.named[name], cost) for name, cost in tokens.items()]

    def __repr__(self) -> str:
        named = [f"{name}={bucket!r}" for name, bucket in self.named.items()]
        return ", ".join([*map(repr, self.unnamed), *named])
