"""Write header fields: what a limit is, what is left of it, and when to come back.

The fields are those of draft-ietf-httpapi-ratelimit-headers-11, whose values are structured fields
(RFC 9651); and the three older ones that begin with X-.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from ...exceptions import Label
from ...level import Level

__all__ = [
    "legacy_fields",
    "policy_name",
    "rate_limit",
    "rate_limit_policy",
    "whole_seconds",
]

_LARGEST = 999_999_999_999_999  # of a structured field's integers
_ROUNDING = 4 * 2.0**-52  # what a quotient or difference of floats may be too large by, as a share
_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def whole_seconds(seconds: float | None) -> int:
    """Return a Retry-After: rounded up, so that nobody comes back too early, and at least 1 (P44).

    Args:
        seconds: A wait; None or infinity if it is not known.
    """
    if seconds is None or not math.isfinite(seconds):
        return 1
    return min(max(math.ceil(seconds), 1), _LARGEST)


@lru_cache(maxsize=1024)
def policy_name(label: Label, name: str = "default") -> str:
    """Return what a bucket's policy is called in header fields.

    Args:
        label: The bucket's label in its group; None if it is alone.
        name: What the policy of a bucket that is alone is called.
    """
    return name if label is None else quote(str(label), safe=_SAFE, errors="backslashreplace")


def rate_limit(
    levels: Mapping[Label, Level],
    name: str = "default",
    *,
    refused_by: Label = None,
    retry_after: int | None = None,
) -> str:
    """Return the value of `RateLimit`: for each limit what is left, and when there is more.

        "10/second";r=8;t=1, "1000/hour";r=992;t=29

    Args:
        levels: What the buckets are like, by label: `permit.levels` or `error.levels`.
        name: What the policy of a bucket that is alone is called.
        refused_by: Of a refusal, the label of the bucket that refused.
        retry_after: Of a refusal, its Retry-After in whole seconds.
    """
    items = [
        f"{_quoted(label, name)};r={_left(level)};t="
        f"{_seconds(level, None if label != refused_by else retry_after)}"
        for label, level in levels.items()
    ]
    return items[0] if len(items) == 1 else ", ".join(items)


def rate_limit_policy(levels: Mapping[Label, Level], name: str = "default") -> str:
    """Return the value of `RateLimit-Policy`: for each limit how much it is, in which time.

        "10/second";q=10;w=1, "1000/hour";q=1000;w=3600

    Args:
        levels: What the buckets are like, by label.
        name: What the policy of a bucket that is alone is called.
    """
    items = [
        _policy(label, name, level.capacity, level.tokens_per_second)
        for label, level in levels.items()
    ]
    return items[0] if len(items) == 1 else ", ".join(items)


def legacy_fields(
    levels: Mapping[Label, Level], *, refused_by: Label = None, retry_after: int | None = None
) -> list[tuple[str, str]]:
    """Return the fields `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds from now).

    They have room for a single limit. Of a group they tell of the bucket that refused, or else of
    the one with the least left.

    Args:
        levels: What the buckets are like, by label; at least one.
        refused_by: Of a refusal, the label of the bucket that refused.
        retry_after: Of a refusal, its Retry-After in whole seconds.
    """
    level = levels.get(refused_by) if retry_after is not None else None
    if level is None:
        level = min(levels.values(), key=lambda each: (_left(each), -each.full_in))
        retry_after = None
    return [
        ("X-RateLimit-Limit", str(_quota(level.capacity))),
        ("X-RateLimit-Remaining", str(_left(level))),
        ("X-RateLimit-Reset", str(_seconds(level, retry_after))),
    ]


@lru_cache(maxsize=1024)
def _quoted(label: Label, name: str) -> str:
    """Return a policy's name as a structured field's string."""
    escaped = policy_name(label, name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=1024)  # it says the same in each answer
def _policy(label: Label, name: str, capacity: float, tokens_per_second: float) -> str:
    window = capacity / tokens_per_second
    window -= window * _ROUNDING  # or 100 a minute would come back in 61 seconds
    return f"{_quoted(label, name)};q={_quota(capacity)};w={whole_seconds(window)}"


def _quota(capacity: float) -> int:
    return min(max(math.floor(capacity), 1), _LARGEST)


def _left(level: Level) -> int:
    tokens = int(level.available_tokens)
    return min(_LARGEST, tokens)


def _seconds(level: Level, retry_after: int | None) -> int:
    """Return the seconds until the bucket is full; if nothing is left, until there is a token.

    So a client that waits for as long as it is told does not wait for all that could come.
    """
    if level.available_tokens >= 1:
        seconds = math.ceil(level.full_in)
        return min(_LARGEST, seconds)
    if retry_after is not None:
        return retry_after
    first = level.full_in - (level.capacity - min(level.capacity, 1)) / level.tokens_per_second
    return whole_seconds(first - level.full_in * _ROUNDING)
