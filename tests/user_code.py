"""Code of the user's that notes, whenever it runs, whether the package is free for others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock

_SPECIAL = (
    *("float", "int", "index", "bool", "trunc", "round", "floor", "ceil", "abs", "neg", "hash"),
    *("eq", "ne", "lt", "le", "gt", "ge", "repr", "str", "format", "divmod", "mod", "pow"),
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "floordiv", "rfloordiv"),
)


class Witness:
    """Looks, from another thread, whether another bucket can be used.

    Attributes:
        free: How often it could be used.
        held: How often it could not.
    """

    def __init__(self) -> None:
        self.free = self.held = 0
        self._other = TokenBucket(9, 1)
        self._busy = False

    def look(self) -> None:
        """Note whether another thread gets through, unless that is being found out already."""
        if self._busy:
            return
        self._busy = True
        thread = threading.Thread(target=self._use, daemon=True)
        thread.start()
        thread.join(2)
        self.held += thread.is_alive()
        self.free += not thread.is_alive()
        self._busy = False

    def _use(self) -> None:
        self._other.reserve().cancel()
        self._other.allow()
        self._other.refund(1)

    def number(self, kind: type[Any], value: Any) -> Any:
        """Return a number of a type of its own, whose every method looks."""
        names = [f"__{name}__" for name in _SPECIAL] + ["as_integer_ratio", "is_integer"]
        own = {name: self._looking(getattr(kind, name)) for name in names if hasattr(kind, name)}
        return type(f"Own{kind.__name__}", (kind,), own)(value)

    def numbers(self, value: int) -> dict[str, Any]:
        """Return such numbers of every kind."""
        return {kind.__name__: self.number(kind, value) for kind in (int, float, Fraction, Decimal)}

    def clock(self, **options: Any) -> ManualClock:
        """Return a clock whose every method looks."""
        names = ("now", "sleep", "sleep_async")
        own = {name: self._looking(getattr(ManualClock, name)) for name in names}
        return type("OwnClock", (ManualClock,), own)(**options)

    def mapping(self, costs: dict[str, Any]) -> Mapping[str, Any]:
        """Return a mapping whose every method looks."""
        look = self.look

        class OwnMapping(Mapping[str, Any]):
            def __getitem__(self, name: str) -> Any:
                look()
                return costs[name]

            def __iter__(self) -> Iterator[str]:
                look()
                return iter(costs)

            def __len__(self) -> int:
                look()
                return len(costs)

            def __repr__(self) -> str:
                look()
                return "costs"

        return OwnMapping()

    def key(self, name: str) -> Any:
        """Return a key that looks when it is hashed, compared or shown; all have one hash."""
        return self.number(_Key, name)

    def _looking(self, method: Any) -> Any:
        def call(*args: Any) -> Any:
            self.look()
            return method(*args)

        return call


class _Key:
    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.name == self.name
