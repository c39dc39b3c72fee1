"""A wait: which hooks are told that it begins, and what is logged of it without any.

A wait for minutes looks like a program that hangs, so it is warned of by default.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from ..admission import Tokens
from ..clock import NANO, seconds
from ..exceptions import Label
from ..rates import shown
from ..source import Source
from .events import WATCH, Holding
from .guard import LOG, apart, may_warn, telling

__all__ = ["is_heard", "waiting"]

_LONG = 60 * NANO  # a wait is warned of if more is to go
_UNTOLD: AbstractContextManager[None] = nullcontext()
_ALONE = Source()  # of buckets that are waited for without a limiter


def is_heard(source: Source | None, length: int) -> bool:
    """Tell whether a wait of so many nanoseconds is logged or told to a hook. Most are not."""
    return (source is not None and bool(WATCH.hooks)) or _is_logged(length)


def _is_logged(length: int) -> bool:
    return length > _LONG or LOG.isEnabledFor(logging.DEBUG)


def waiting(
    source: Source | None, tokens: Tokens, due: int, now: int, held_up_by: Label = None
) -> AbstractContextManager[Any]:
    """Log that a caller is about to wait, and return what to hold meanwhile.

        with waiting(source, tokens, due, now, label):
            ...  # sleep until then

    To be called, and the block to be left, outside every step (P38).

    Args:
        source: Whose events it is; None for a bucket that is waited for without a limiter. Such a
            wait is logged, and told to no hook.
        tokens: What is waited for.
        due: The nanosecond at which the tokens will be there, as far as is known now.
        now: The present one, on the same clock.
        held_up_by: The label of the bucket that holds the caller up longest.
    """
    length = max(due - now, 0)
    if _is_logged(length) and not telling():
        apart(_log, source or _ALONE, tokens, length, now, held_up_by)
    if source is None or not WATCH.hooks:
        return _UNTOLD
    return Holding("waiting", source.name, tokens, seconds(length), held_up_by)


def _log(source: Source, tokens: Tokens, length: int, now: int, held_up_by: Label) -> None:
    """Log a wait: as a warning if it is long and the last warning was not just now."""
    level = logging.DEBUG
    if length > _LONG and may_warn(source, now):
        level = logging.WARNING
    who = "a bucket" if source is _ALONE else f"limiter {source.name or 'without a name'}"
    bucket = "" if held_up_by is None else f", held up by bucket {held_up_by!r}"
    text = "%s: waiting %.6g s for a cost of %s%s"
    with suppress(Exception):  # a filter or handler that raises must not reach the caller
        LOG.log(level, text, who, seconds(length), shown(tokens), bucket)
