"""What a limiter has decided, told to the hooks."""

from __future__ import annotations

from typing import Any, Literal

from ..admission import Tokens
from ..source import Source
from .events import WATCH, tell

__all__ = ["tell_admitted", "tell_refused"]


def tell_admitted(source: Source, tokens: Tokens, waited: float) -> None:
    """Tell that a call has its tokens, after this many seconds."""
    tell("admitted", source.name, tokens, waited)


def tell_refused(
    kind: Literal["refused", "would_refuse"], source: Source, tokens: Tokens | None, error: Any
) -> None:
    """Tell of a refusal what its error says."""
    if WATCH.hooks:
        delay = getattr(error, "retry_after", None)  # a cost above the capacity has none
        seconds = None if delay is None else float(delay)
        tell(kind, source.name, tokens, seconds, error.refused_by)
