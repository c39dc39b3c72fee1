"""What a language model's reply says it has used."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["total_tokens"]

# In JSON the quotes within a string are escaped, so this never matches what a model has written.
_USAGE = re.compile(r'"usage(?:Metadata)?"\s*:\s*(?=\{)')
_ERROR = re.compile(r'\s*\{\s*(?:"type"\s*:\s*"error"\s*,\s*)?"error"\s*:\s*\{')  # a whole reply
_TOTALS = ("total_tokens", "totalTokenCount")
_PARTS = (
    ("prompt_tokens", "input_tokens"),
    ("completion_tokens", "output_tokens"),
    ("cache_creation_input_tokens",),
)
_read = json.JSONDecoder().raw_decode


def total_tokens(tail: bytes) -> int | None:
    """Return how many tokens a model has used, from the end of its reply.

        RateLimitTransport(limiter, settle=lambda response, tail: {"tokens": total_tokens(tail)})

    It reads the `usage` of a JSON reply or of the events of a stream, of OpenAI's API and the many
    that are like it, of Anthropic's and of Gemini's: the total, or what went in and came out,
    without what was read from a cache. OpenAI's chat streams tell it if they are asked for with
    `stream_options={"include_usage": True}`.

    Args:
        tail: The last bytes of the body; the beginning may be cut off.

    Returns:
        How many tokens; 0 if the reply is an error, and None if it does not say so.
    """
    used: dict[str, int] = {}
    text = tail.decode("utf-8", "replace")
    for match in _USAGE.finditer(text):
        used |= _counts(text, match.end())  # later events of a stream say more
    for name in _TOTALS:
        if name in used:
            return used[name]
    parts = [used[name] for names in _PARTS for name in names if name in used]
    if parts:
        return sum(parts)
    return 0 if _ERROR.match(text) else None


def _counts(text: str, position: int) -> dict[str, int]:
    """Return the whole numbers of the object that begins here; nothing if it is cut off."""
    try:
        usage: dict[str, Any] = _read(text, position)[0]
    except (ValueError, RecursionError):
        return {}
    return {name: count for name, count in usage.items() if _is_count(count)}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
