"""Events that are not a limiter's own: HTTP clients and stores tell of them."""

from __future__ import annotations

from ..rates import Number
from .events import tell

__all__ = ["outage", "paused"]


def paused(limiter: str | None, seconds: Number) -> None:
    """Tell the hooks that a server has asked for a pause; call it once the bucket is paused.

    Args:
        limiter: The name of the limiter.
        seconds: How long the pause is.
    """
    tell("paused", limiter, seconds=float(seconds))


def outage(limiter: str | None = None, seconds: float | None = None) -> None:
    """Tell the hooks that a store is away; call it once for each outage, outside every step.

    Args:
        limiter: The name of the limiter that met it first; None if that is not known.
        seconds: When the store will be tried again; None if that is not known.
    """
    tell("outage", limiter, seconds=seconds)
