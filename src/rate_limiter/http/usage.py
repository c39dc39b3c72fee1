"""What a language model's reply says it has used."""

from __future__ import annotations

from typing import cast

from .records import Record, objects_in, records_of
from .tail import BodyEnd

__all__ = ["total_tokens"]

_USAGES = ("usage", "usageMetadata", "meta")
_UNITS = ("tokens", "billed_units")  # one level further down, at Cohere
# The events that have their usage one level down.
_INNER = {
    "message_start": "message",
    "response.completed": "response",
    "response.incomplete": "response",
    "response.failed": "response",
    "message-end": "delta",
    "stream-end": "response",
}
# How the type of an event ends that has a usage, and that no other usage follows.
_LAST = ("message_delta", ".completed", ".incomplete", ".failed", ".done", "-end")
# One count has several names; a reply that has two of them means the same by both.
_TOTAL = ("total_tokens", "totalTokenCount")
_IN = ("prompt_tokens", "input_tokens", "inputTokens", "prompt_eval_count")
_OUT = ("completion_tokens", "output_tokens", "outputTokens", "eval_count")
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_MOST = 2**53  # no model uses as many, and JSON's numbers are exact up to here


def total_tokens(tail: bytes) -> int | None:
    """Return how many tokens a model has used, from the end of its reply.

        RateLimitTransport(limiter, settle=lambda response, tail: {"tokens": total_tokens(tail)})

    It reads the usage of a JSON reply or of the events of a stream: of OpenAI's API and the many
    that are like it, of Anthropic's, Gemini's, Cohere's, Ollama's and Bedrock's (but not of
    Bedrock's streams, which are not text). It takes the total, or what went in and came out,
    without what was read from a cache. It looks only where each API puts the usage, never into what
    the model has written. OpenAI's chat streams tell it if they are asked for with
    `stream_options={"include_usage": True}`.

    Args:
        tail: The body, or its end, as `settle` gets it. What `settle` gets of a body of more than
            64 KiB also remembers the first 4 KiB of it, where a stream of Anthropic's says what
            went in. A copy or a part of it does not.

    Returns:
        How many tokens, or 0 if the reply is an error. None if it does not say, or only in part: a
        stream that was left before its end, or whose beginning is not known.

    Raises:
        TypeError: `tail` is not bytes.
    """
    if not isinstance(cast("object", tail), bytes | bytearray):
        kind = type(tail).__name__
        raise TypeError(f"total_tokens takes the bytes that settle gets of a reply, not {kind}")
    records, whole = records_of(tail, tail.head if isinstance(tail, BodyEnd) else b"")
    used: dict[str, int] = {}
    ended = whole
    for record in records:
        counts = _counts(record)
        if counts:
            used = _with_rest(used, counts) if _kind(record) == "message_delta" else counts
        ended = ended or _is_end(record, counts)
    if used:
        return _sum(used, whole=whole) if ended else None
    return 0 if whole and records and _is_error(records[0]) else None


def _kind(record: Record) -> str:
    kind = record.get("type", record.get("event_type"))
    return kind if isinstance(kind, str) else ""


def _counts(record: Record) -> dict[str, int]:
    """Return the counts of an event or a whole reply, by their names."""
    holder = _object(record, _INNER.get(_kind(record), "")) or record
    usage = _first_object(holder, _USAGES)
    if not usage and holder.get("done") is True:
        usage = holder  # Ollama's last event
    usage = _first_object(usage, _UNITS) or usage
    return {name: int(count) for name, count in usage.items() if _is_count(count)}


def _first_object(record: Record, names: tuple[str, ...]) -> Record:
    for name in names:
        if found := _object(record, name):
            return found
    return {}


def _object(record: Record, name: str) -> Record:
    """Return an object within another; an empty one if there is none."""
    value = record.get(name)
    return cast("Record", value) if isinstance(value, dict) else {}


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < _MOST and value == int(value)


def _with_rest(used: dict[str, int], counts: dict[str, int]) -> dict[str, int]:
    """Return the counts of a later event, and those of an earlier one that it does not have.

    Counts only grow during a stream; some servers write 0 for what they have said before.
    """
    return used | {name: max(count, used.get(name, 0)) for name, count in counts.items()}


def _is_end(record: Record, counts: dict[str, int]) -> bool:
    """Tell whether an event of a stream says that all is made, so that its usage is the last."""
    if record.get("done") is True or record.get("promptFeedback"):
        return True
    kind = _kind(record)
    of_all = bool(record.get("usage")) and not record.get("choices")  # OpenAI's last chunk
    if counts and (kind.endswith(_LAST) if kind else of_all):
        return True
    return _has(record, "choices", "finish_reason") or _has(record, "candidates", "finishReason")


def _has(record: Record, answers: str, reason: str) -> bool:
    """Tell whether one of the answers in an event has the reason why it ends."""
    return any(answer.get(reason) for answer in objects_in(record.get(answers)))


def _sum(used: dict[str, int], *, whole: bool) -> int | None:
    """Return what the counts come to; None if one is missing.

    A whole reply that nothing came out of, such as an embedding, need not say so.
    """
    total, into, out, written = (
        next((used[name] for name in names if name in used), None)
        for names in (_TOTAL, _IN, _OUT, _WRITTEN)
    )
    if total is not None:
        return total
    if into is None or (out is None and not whole):
        return None
    return into + (out or 0) + (written or 0)


def _is_error(reply: Record) -> bool:
    begins = next(iter(reply), "") == "error" or _kind(reply) == "error"
    return begins and isinstance(reply.get("error"), dict)
