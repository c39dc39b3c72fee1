"""What a response says about when to come back."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .dates import decimal, duration, epoch, http_date, timestamp
from .fields import Item, read_dictionary, read_list

__all__ = ["FORBIDDEN", "asks_to_wait", "retry_after"]

_Fields = dict[str, list[str]]

FORBIDDEN = 403  # of GitHub, about a limit if the headers say so
_TOO_MANY_REQUESTS = 429
_BUSY = (_TOO_MANY_REQUESTS, 503, 529)  # the last one is Anthropic's
_FARTHEST = 1e11  # seconds, some 3,000 years: beyond that it is no instant
_EPOCH = 1e9  # a reset above it is an instant, one below is a number of seconds
_OURS = re.compile(rb"retry-after(?:-ms)?|date|age|.*rate-?limit.*")
# The counters of a server: which of them, and how much is left or when it is full again.
_COUNTER = re.compile(
    r"(?P<family>ratelimit|x-ratelimit|x-rate-limit)-(?P<what>remaining|reset|reset-after)"
    r"(?:-(?P<counter>(?!after$).+))?"
)
_ANTHROPIC = re.compile(
    r"(?P<family>anthropic-ratelimit)-(?P<counter>.+)-(?P<what>remaining|reset)"
)


def retry_after(status: int, headers: Any, now: float | None = None) -> float | None:
    """Return how long a response asks everybody to wait, in seconds.

        pause = retry_after(response.status_code, response.headers)
        if pause is not None:
            bucket.pause(pause)

    It reads `Retry-After`, `retry-after-ms`, the IETF's `RateLimit` and its older forms,
    `X-RateLimit-Reset`, and the headers of GitHub, OpenAI and Anthropic. What is malformed is as if
    it were not there, and nothing raises. Dates count from the response's own `Date`. A response
    from a cache (`Age` above 0) says nothing.

    Args:
        status: The status of the response: 429 and 503 may ask for a pause, 403 if it is about a
            limit, and any other only by an IETF `RateLimit` with nothing left (`r=0`).
        headers: A mapping of any library, or pairs, of strings or bytes.
        now: The present instant in seconds since 1970, for responses without a `Date`; by default,
            or if it is no instant, the machine's clock.

    Returns:
        Seconds, 0 or more; None if the response asks for nothing.
    """
    pairs = _pairs(headers)
    speaks = asks_to_wait(status) or status == FORBIDDEN
    if not speaks and not _collected(_as_long(pairs, "ratelimit"), b"ratelimit".__eq__):
        return None  # nearly every response, at little cost
    fields = _collected(pairs, _OURS.fullmatch)
    if any((decimal(age) or 0) > 0 for age in fields.get("age", ())):
        return None
    at = _instant_of(fields, _present(now))
    found = _asked(status, fields, at)
    return None if found is None else max(0.0, found)


def asks_to_wait(status: int) -> bool:
    """Tell whether a status as such says "not now"."""
    return status in _BUSY


def _asked(status: int, fields: _Fields, at: float) -> float | None:
    exhausted = _ietf(fields)
    if status == _TOO_MANY_REQUESTS:
        found = (_told(fields, at), exhausted, _older(fields), _counters(fields, at, exact=False))
    elif status == FORBIDDEN:
        found = (_told(fields, at), exhausted, _counters(fields, at, exact=True), None)
    elif asks_to_wait(status) or exhausted is not None:
        found = (_told(fields, at), exhausted, None, None)
    else:
        return None
    return next((seconds for seconds in found if seconds is not None), None)


def _told(fields: _Fields, at: float) -> float | None:
    """Read Retry-After, or its finer form in milliseconds."""
    fine = [
        value for text in fields.get("retry-after-ms", ()) if (value := decimal(text)) is not None
    ]
    if fine:
        return max(fine) / 1_000
    values = (_seconds_or_date(text, at) for text in fields.get("retry-after", ()))
    return max((value for value in values if value is not None), default=None)


def _seconds_or_date(text: str, at: float) -> float | None:
    seconds = decimal(text)
    if seconds is not None:
        return seconds
    date = http_date(text, at)
    return None if date is None else date - at


def _ietf(fields: _Fields) -> float | None:
    """Read `RateLimit: "default";r=0;t=30`: when the last exhausted quota has some again."""
    members = read_list(", ".join(fields.get("ratelimit", ()))) or ()
    waits = [wait for member in members if (wait := _wait_of(member)) is not None]
    return float(max(waits)) if waits else None


def _wait_of(quota: Item) -> int | None:
    """Return how long a quota is exhausted; None if it is not, or does not say."""
    left, wait = (_whole(quota.parameters.get(name)) for name in ("r", "t"))
    return wait if isinstance(quota.value, str) and left == 0 else None


def _whole(value: object) -> int | None:
    """Return a whole number that is not negative; None for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return value


def _older(fields: _Fields) -> float | None:
    """Read `RateLimit: limit=100, remaining=0, reset=60`, as drafts before the eighth had it."""
    members = read_dictionary(", ".join(fields.get("ratelimit", ()))) or {}
    reset, remaining = (
        None if (item := members.get(name)) is None else item.value
        for name in ("reset", "remaining")
    )
    if not isinstance(reset, int | Decimal) or isinstance(reset, bool) or reset < 0:
        return None
    return float(reset) if remaining in (0, None) and not isinstance(remaining, bool) else None


def _counters(fields: _Fields, at: float, *, exact: bool) -> float | None:
    """Return when the last of the exhausted counters is full again.

    Args:
        fields: The headers.
        at: The instant of the response.
        exact: Whether a counter has to say that nothing is left. Otherwise a counter that says
            nothing is taken for exhausted if it is the only one.
    """
    left: dict[tuple[str, str], float | None] = {}
    resets: dict[tuple[str, str], float] = {}
    for name, values in fields.items():
        match = _COUNTER.fullmatch(name) or _ANTHROPIC.fullmatch(name)
        if match is None:
            continue
        counter = match["family"], match["counter"] or ""
        if match["what"] == "remaining":
            left[counter] = decimal(values[0])
        elif (reset := _reset(values[0], at)) is not None:
            resets[counter] = max(reset, resets.get(counter, -math.inf))
    silent = not exact and len(resets) == 1
    waits = [
        wait
        for counter, wait in resets.items()
        if left.get(counter) == 0 or (silent and left.get(counter) is None)
    ]
    return max(waits, default=None)


def _reset(text: str, at: float) -> float | None:
    """Read a reset in any of its forms as seconds from the response's instant."""
    number = decimal(text)
    if number is not None:
        instant = epoch(number) if number > _EPOCH else number + at
    else:
        date = http_date(text, at)
        instant = timestamp(text) if date is None else date
    if instant is not None:
        return instant - at
    return duration(text)


def _present(now: Any) -> float:
    try:
        at = math.nan if now is None else float(now)
    except Exception:  # noqa: BLE001 - whatever it is, it is no instant
        at = math.nan
    return at if abs(at) <= _FARTHEST else time.time()


def _instant_of(fields: _Fields, now: float) -> float:
    """Return when the server sent the response, by its own clock if it says so."""
    dates = (http_date(text, now) for text in fields.get("date", ()))
    return next((date for date in dates if date is not None), now)


def _pairs(headers: Any) -> list[Any]:
    """Return headers as pairs that can be gone through more than once."""
    try:
        return list(headers.items() if hasattr(headers, "items") else headers)
    except Exception:  # noqa: BLE001 - what are no headers say nothing, whatever they raise
        return []


def _as_long(pairs: list[Any], name: str) -> list[Any]:
    """Return those whose name is as long as this one, which is soon told; all if some have none."""
    length = len(name)
    try:
        return [pair for pair in pairs if len(pair[0]) == length]
    except Exception:  # noqa: BLE001 - one by one they are looked at in more patience
        return pairs


def _collected(pairs: list[Any], wanted: Callable[[bytes], Any]) -> _Fields:
    """Return the headers that matter, by their names in small letters."""
    fields: _Fields = {}
    for pair in pairs:
        try:
            name, value = pair
            raw = name if isinstance(name, bytes) else str(name).encode("latin-1", "replace")
            raw = raw.lower()
            if wanted(raw) and value is not None:
                text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                fields.setdefault(raw.decode("latin-1"), []).append(text.strip(" \t\r\n"))
        except Exception:  # noqa: BLE001, S112 - what is no header says nothing, whatever it raises
            continue
    return fields
