"""A hook that logs long waits."""

from __future__ import annotations

import logging

from ..rates import Number, non_negative, shown
from .events import Event, Hook, makes_hooks
from .guard import LOG

__all__ = ["log_waits"]


@makes_hooks
def log_waits(
    over: Number = 5.0, *, level: int = logging.WARNING, logger: logging.Logger = LOG
) -> Hook:
    """Return a hook that logs each wait that begins with more than `over` seconds to go.

    Args:
        over: How many seconds.
        level: The level of the messages.
        logger: What logs them.

    Raises:
        TypeError: `over` is not a real number, `level` is no int, or `logger` no logger.
        ValueError: `over` is negative, NaN or infinite.
    """
    threshold = non_negative(over, "over")
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level must be an int such as logging.WARNING, got {shown(level)}")
    if not callable(getattr(logger, "log", None)):
        raise TypeError(f"logger must be a logging.Logger, got {shown(logger)}")

    def hook(event: Event) -> None:
        if event.kind == "waiting" and event.seconds is not None and event.seconds > threshold:
            bucket = "" if event.refused_by is None else f", held up by bucket {event.refused_by!r}"
            text = "limiter %s begins a wait of %.6g s for a cost of %s%s"
            name, tokens = event.limiter or "without a name", shown(event.tokens)
            logger.log(level, text, name, event.seconds, tokens, bucket)

    return hook
