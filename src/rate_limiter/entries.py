"""The entries of a keyed limiter: a key in use, its limiter, and how it is let go."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from .base_bucket import BaseBucket
from .core import layout
from .limiter import RateLimiter
from .memory.transaction import Write

__all__ = ["GONE", "Entry", "chain", "unhashable"]


def unhashable(key: object) -> TypeError:
    """Return the error for a key that cannot be looked up."""
    return TypeError(f"a key must be hashable, got a {type(key).__name__}")


def chain(entry: Entry | None) -> Iterator[Entry]:
    """Yield an entry and those behind it, whose keys have the same hash."""
    while entry is not None:
        yield entry
        entry = entry.next


GONE = "gone"


@layout("entry")
class Entry:
    """A key in use.

    Attributes:
        key: The key.
        number: Its hash.
        limiter: Its limiter; None while it is being dropped.
        next: The next entry whose key has the same hash.
        let_go_of: While it is being dropped: a weak reference to the bucket, and an alias of it;
            `GONE` when it has been.
    """

    __slots__ = ("key", "let_go_of", "limiter", "next", "number")

    def __init__(self, key: Hashable, limiter: RateLimiter[Any], behind: Entry | None) -> None:
        self.key = key
        self.number = hash(key)
        self.limiter: RateLimiter[Any] | None = limiter
        self.next = behind
        self.let_go_of: Any = None

    @property
    def gone(self) -> bool:
        """Whether it has been dropped."""
        return self.let_go_of is GONE

    def let_go(
        self, limiter: RateLimiter[Any], life: Any, alias: BaseBucket
    ) -> tuple[bool, list[Write]]:
        """Compute the step that lets go of the limiter; its result is whether it still had it."""
        if self.limiter is not limiter:
            return False, []
        return True, [
            (setattr, self, "let_go_of", (life, alias)),
            (setattr, self, "limiter", None),
        ]

    def take_back(self, limiter: RateLimiter[Any]) -> tuple[None, list[Write]]:
        """Compute the step that gives it a limiter again, unless it has one or is gone."""
        if self.limiter is not None or self.gone:
            return None, []
        return None, [(setattr, self, "limiter", limiter), (setattr, self, "let_go_of", None)]
