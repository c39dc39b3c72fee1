"""The JSON objects that a reply consists of: the whole body, or the events of a stream."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, NamedTuple, TypeAlias, cast

__all__ = ["Record", "Records", "objects_in", "records_of"]

Record: TypeAlias = dict[str, Any]

_USAGE = re.compile(r'"(?:usage|usageMetadata|meta)"\s*:\s*\{')
_TRIED = 4  # so that a body full of such keys costs little
_FIRST, _LAST = 8, 32  # events of a stream that are read, so that hundreds cost little
# What follows the object that has the usage, by how the body begins. Where it is none of these, the
# last event of a stream of OpenAI's was too long to be kept: it repeats the reply, one level down.
_AFTER = {b"": "", b"{": "", b"[": "]"}
_decode = json.JSONDecoder().raw_decode


class Records(NamedTuple):
    """What could be read of a reply.

    Attributes:
        records: Its objects, in order. What is cut off is missing, or holds its last keys only.
        whole: Whether the last of them is known to be the last of the reply.
    """

    records: list[Record]
    whole: bool


def records_of(end: bytes, head: bytes = b"") -> Records:
    """Return the objects of a reply, each as it stands; nothing of what is within one is taken out.

    Args:
        end: The end of its body, or all of it.
        head: How the body began, if this is known and `end` is not all of it.
    """
    text = end.decode("utf-8-sig", "replace")
    body = None if head else _read(text)
    if body is not None:
        return Records(objects_in(body), True)
    events = _events(end)
    if events:
        return Records([*_events(head), *events], False)
    return Records(_last_keys(text, _AFTER.get(head.lstrip()[:1], "}")), True)


def objects_in(value: object) -> list[Record]:
    """Return the JSON objects in a list, or the one that is in none."""
    parts = cast("list[object]", value) if isinstance(value, list) else [value]
    return [cast("Record", part) for part in parts if isinstance(part, dict)]


def _read(text: str) -> object:
    """Return what a JSON text says; None if it is none."""
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None


def _events(body: bytes) -> list[Record]:
    """Return the first and the last events of a stream: server-sent ones, or JSON lines.

    Only a line of its own is an event: in JSON no string holds the end of a line.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    sent = [line[5:] for line in lines if line.startswith(b"data:")]
    if not sent and not all(line[:1] + line[-1:] == b"{}" for line in lines[1:-1]):
        return []  # one JSON text on many lines; of events, the first and the last may be cut off
    lines = sent or lines
    events = map(_event, lines[:_FIRST] + lines[_FIRST:][-_LAST:])
    return [event for event in events if event is not None]


def _event(line: bytes) -> Record | None:
    if line.strip() == b"[DONE]":
        return {"done": True}
    event = _read(line.decode("utf-8", "replace"))
    return cast("Record", event) if isinstance(event, dict) else None


def _last_keys(text: str, after: str) -> list[Record]:
    """Return the last keys of an object whose beginning is cut off, if the usage is among them.

    Args:
        text: How the object ends.
        after: What follows the object. An object within it, which a model may have written, has
            something else behind it.
    """
    for match in reversed(deque(_USAGE.finditer(text), maxlen=_TRIED)):
        rest = "{" + text[match.start() :]
        try:
            keys, length = _decode(rest)
        except (ValueError, RecursionError):
            continue
        if rest[length:].strip() == after:
            return [cast("Record", keys)]
    return []
