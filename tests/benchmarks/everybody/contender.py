"""What every contender is asked for: the same limit, kept in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

__all__ = ["FEW", "NEVER", "PLENTY", "Call", "Contender", "Decorator", "Limit", "new_name"]

Decorator = Callable[[Callable], Callable]


@dataclass(frozen=True)
class Limit:
    """A bucket's capacity, and the tokens a second that fill it.

    Who counts in windows gets the capacity for each window, as long as a bucket takes to fill.
    """

    capacity: int
    rate: float

    @property
    def period(self) -> float:
        """The seconds in which an empty bucket fills."""
        return self.capacity / self.rate


PLENTY = Limit(10**9, 1)  # nobody gets to use this up
NEVER = Limit(1, 1e-6)  # the second call is refused for eleven days
FEW = Limit(5, 1e-3)  # what a key has
NUMBERS = count()


def new_name() -> str:
    """Return what nobody shares, for some know their buckets by names alone; 8 characters."""
    return f"name{next(NUMBERS):04}"


@dataclass
class Call:
    """A call in the words of a library.

    Args:
        text: Python that leaves in `answer` what came back, and may use `key`.
        names: What the text uses.
        admitted: Tells from the answer whether the call was admitted.
        refusal: What is raised instead of an answer when it was not.
    """

    text: str
    names: dict[str, Any] = field(default_factory=dict)
    admitted: Callable[[Any], bool] = bool
    refusal: type[BaseException] | None = None


class Contender:
    """A library.

    Each method returns how the library does a thing; None says that it has no such thing.
    """

    name = ""  # of its distribution
    module = ""  # what is imported
    how = ""  # of its ways, the one that is measured
    costs: tuple[float, ...] = (1,)  # that a check may have

    def check(self, limit: Limit, cost: float = 1) -> Call | None:
        """Ask without waiting."""

    def block(self, limit: Limit) -> Call | None:
        """Run a with-block."""

    def awaited(self, limit: Limit) -> Call | None:
        """Wait in a task."""

    def crowded(self, limit: Limit) -> Call | None:
        """Wait in one of many tasks."""
        return self.awaited(limit)

    def waiting(self, limit: Limit) -> Call | None:
        """Wait in a thread."""

    def making(self) -> Call | None:
        """Make something that limits 10 at 5 a second."""

    def for_key(self, limit: Limit) -> Call | None:
        """Ask for `key`, which has a limit of its own."""

    def decorator(self, limit: Limit) -> Decorator | None:
        """Limit a function, a method or a coroutine function."""

    def decorator_by_key(self, limit: Limit) -> Decorator | None:
        """Limit a function by its argument."""

    def redis(self, client: Any, url: str, limit: Limit) -> Call | None:
        """Ask a server."""

    def leased(self, client: Any, limit: Limit) -> Call | None:
        """Ask with tokens that a server has given for a while."""

    def sqlite(self, path: str, limit: Limit) -> Call | None:
        """Ask a file."""

    def starlette(self, app: Any) -> Any:
        """Limit an application of Starlette; return it."""

    def flask(self, app: Any) -> Any:
        """Limit an application of Flask; return it."""

    def fastapi(self) -> Any:
        """Return a dependency of FastAPI that limits."""

    def requests(self, bare: type[Any]) -> Any:
        """Return a limited adapter of requests that sends as the bare one does."""
