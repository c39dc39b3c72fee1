"""Working copies of what a step changes, and the writes that copy them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import setitem
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from .transaction import JOURNAL, Outdated, Wakeable, Write, remove

__all__ = ["Changeable", "Draft", "Table"]


T = TypeVar("T")


class Changeable(Protocol):
    """Something that steps change.

    Attributes:
        STATE: The names of the attributes that steps change.
        FIXED: The names of the others.
    """

    STATE: ClassVar[tuple[str, ...]]
    FIXED: ClassVar[tuple[str, ...]]


class Table(dict[Any, Any]):
    """A dictionary that steps change key by key; a missing key has the value 0."""

    __slots__ = ()

    def __missing__(self, key: Any) -> Any:
        return 0

    def keys_of_all(self) -> Iterable[Any]:
        """Return all keys, also those that this step removes."""
        return self


class _Overlay(Table):
    """The changes of a step to a table."""

    __slots__ = ("original",)

    def __init__(self, original: Table) -> None:
        self.original = original

    def __missing__(self, key: Any) -> Any:
        return self.original[key]

    def keys_of_all(self) -> Iterable[Any]:
        return (*self.original, *self)

    def writes(self) -> Iterator[Write]:
        """Yield the writes that make the changes; a zero removes its key."""
        for key, value in self.items():
            if value:
                yield setitem, self.original, key, value
            else:
                yield remove, self.original, key, None


class Draft(dict[Any, Any]):
    """The state as it will be after a step, while the step computes.

    `draft[thing]` is a working copy of a thing, made when first asked for, to be read and changed;
    references in it lead to originals. `draft.get(thing, thing)` is for reading alone.
    """

    __slots__ = ("_others", "_seen", "moved")

    def __init__(self) -> None:
        self._others: list[Write] = []
        self._seen = JOURNAL.record
        self.moved: list[Any] = []  # ledgers whose lines have moved, or may move earlier

    def check(self) -> None:
        """Raise `Outdated` if something else was published since the draft was begun."""
        if JOURNAL.record is not self._seen:
            raise Outdated

    if TYPE_CHECKING:

        def __getitem__(self, thing: T) -> T: ...

        def get(self, thing: T, default: T) -> T:  # type: ignore[override]
            """Return the working copy, if there is one, otherwise the default."""

    def __missing__(self, thing: Any) -> Any:
        kind: Any = thing.__class__
        copy: Any = kind.__new__(kind)  # not object's: it may be compiled
        for name in thing.STATE:
            value = getattr(thing, name)
            setattr(copy, name, _Overlay(value) if type(value) is Table else value)
        for name in thing.FIXED:
            setattr(copy, name, getattr(thing, name))
        self[thing] = copy
        return copy

    def add(self, thing: Any) -> None:
        """Add a new thing, which only this step knows yet, so that it is changed directly."""
        self[thing] = thing

    def set(self, thing: Any, name: str, value: Any) -> None:
        """Set an attribute that the step does not read again."""
        self._others.append((setattr, thing, name, value))

    def wake(self, sleeper: Wakeable) -> None:
        """Wake someone when the step is over."""
        self._others.append((setitem, JOURNAL.wakes, object(), sleeper))

    def writes(self) -> list[Write]:
        """Return the writes that make all originals equal to their working copies."""
        writes: list[Write] = []
        for thing, copy in self.items():
            if copy is not thing:
                writes += _differences(thing, copy)
        return writes + self._others


def _differences(thing: Any, copy: Any) -> Iterator[Write]:
    for name in thing.STATE:
        value = getattr(copy, name)
        if type(value) is _Overlay:
            yield from value.writes()
        elif value is not getattr(thing, name):
            yield setattr, thing, name, value
