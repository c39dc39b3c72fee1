"""The buckets of a group, and what a cost is for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Generic, TypeVar

from .admission import Tokens
from .base_bucket import BaseBucket
from .exceptions import Label
from .rates import exact, shown

__all__ = ["Members"]

M = TypeVar("M", bound=BaseBucket)


class Members(Generic[M]):
    """The buckets of a group: all of one kind, some of them with names.

    Args:
        kind: What they must be.
        unnamed: Buckets without a name.
        named: Buckets by the names that a cost mapping uses.

    Attributes:
        unnamed, named: The object that decides for each of them; see `BaseBucket._core`.
        all: The same objects, in the order in which the buckets were given.

    Raises:
        TypeError: One is no bucket, or of another kind.
        ValueError: There is none.
    """

    __slots__ = ("all", "named", "unnamed")

    def __init__(self, kind: Any, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        given = [*unnamed, *named.values()]
        if not given:
            raise ValueError("a BucketGroup needs at least one bucket")
        for member in given:
            if not isinstance(member, BaseBucket):
                raise TypeError(
                    f"a BucketGroup holds buckets, got {shown(member)} ({type(member).__name__})"
                )
            if not isinstance(member._core, kind):
                raise TypeError(
                    f"a BucketGroup holds buckets of one kind, for they decide in one step: "
                    f"a {type(member).__name__} does not go with a {type(given[0]).__name__}"
                )
        self.unnamed: tuple[M, ...] = tuple(member._core for member in unnamed)
        self.named: dict[str, M] = {name: member._core for name, member in named.items()}
        self.all: list[M] = [*self.unnamed, *self.named.values()]

    @property
    def labels(self) -> list[Label]:
        """The label of each bucket: its name or position; `outer.inner` in a nested group."""
        outer: list[Label] = [*range(len(self.unnamed)), *self.named]
        return [
            label if inner is None else f"{label}.{inner}"
            for label, member in zip(outer, self.all, strict=True)
            for inner in member._labels
        ]

    @property
    def capacity(self) -> float:
        """The smallest capacity among them, in tokens."""
        return min(member.capacity for member in self.all)

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among them."""
        return min(member.tokens_per_second for member in self.all)

    def twins(self) -> Members[M]:
        """Return other handles to the same buckets."""
        twins = {name: bucket._twin() for name, bucket in self.named.items()}
        return Members(BaseBucket, tuple(bucket._twin() for bucket in self.unnamed), twins)

    def costs(self, tokens: Tokens, *, zeros: bool = False) -> list[tuple[M, Tokens]]:
        """Return the buckets that a cost is asked of, and what it is for each.

        Args:
            tokens: A cost. A mapping may hold zeros, for buckets that are to be left alone.
            zeros: Whether to return those buckets as well.

        Raises:
            ValueError: A mapping is empty, or names none of them.
        """
        if not isinstance(tokens, Mapping):
            return [(member, tokens) for member in self.all]
        costs = dict(tokens.items())
        if not costs:
            raise ValueError(f"a cost mapping must name at least one bucket of: {self._names}")
        for name in costs:
            if name not in self.named:
                raise ValueError(
                    f"no bucket of this group is called {shown(name)}; its names are: {self._names}"
                )
        return [
            (self.named[name], cost) for name, cost in costs.items() if zeros or not _is_zero(cost)
        ]

    def check_use(self, actual: Tokens, taken: Tokens) -> None:
        """Refuse to settle with a number what was taken with a mapping.

        Raises:
            TypeError: `actual` is a number: it would charge a request for each model token.
        """
        if isinstance(taken, Mapping) and not isinstance(actual, Mapping):
            raise TypeError(
                f"the tokens were taken with a mapping, so settle them with one, such as "
                f"{{{next(iter(self.named))!r}: {shown(actual)}}}, got {shown(actual)}; "
                f"the buckets are: {self._names}"
            )

    @property
    def _names(self) -> str:
        return ", ".join(map(repr, self.named)) or "none"

    def __repr__(self) -> str:
        named = [f"{name}={bucket!r}" for name, bucket in self.named.items()]
        return ", ".join([*map(repr, self.unnamed), *named])


def _is_zero(cost: Any) -> bool:
    return not isinstance(cost, Mapping) and exact(cost, "tokens") == Fraction(0)
