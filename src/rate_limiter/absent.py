"""Names that the objects of a class do not have, and what to write instead."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Absent"]


class Absent:
    """Stand in a class for a name that people look for there, and say where it is.

    A `__getattr__` could say the same, but makes every look at a name of the class slower, also of
    those that are there: by a tenth of `with limiter.acquire():`.

    Args:
        instead: What to write instead.
    """

    __slots__ = ("_instead", "_name")

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type[object]) -> NoReturn:
        raise AttributeError(f"a {owner.__name__} has no {self._name!r}; {self._instead}")
