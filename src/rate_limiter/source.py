"""What causes events: a limiter, all limiters of a keyed one, or a decorated function."""

from __future__ import annotations

from .rates import shown

__all__ = ["Source"]


class Source:
    """Whose waits and refusals are told and logged; see `instrumentation`.

    Args:
        name: What events call it; None if it has no name.

    Attributes:
        name: As given. A limiter that `rate_limited` makes gets the name of what it decorates.
        warned_at: The nanosecond at which a warning was last logged; None before the first.

    Raises:
        TypeError: `name` is not a string.
        ValueError: `name` is empty.
    """

    __slots__ = ("name", "warned_at")

    def __init__(self, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a str, got {shown(name)} ({type(name).__name__})")
        if name == "":
            raise ValueError("name must not be empty; leave it out for a limiter without a name")
        self.name = name
        self.warned_at: int | None = None
