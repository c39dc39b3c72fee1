"""Models that answer alike, each in the words of its API."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["anthropic_answer", "openai_answer"]


def openai_answer(_: str, call: Any) -> tuple[int, dict[str, str], bytes]:
    """Be a model behind OpenAI's API."""
    message = {"role": "assistant", "content": f"{call['messages'][0]['content']}? Yes."}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    reply = {"id": "1", "object": "chat.completion", "created": 0, "model": call["model"]}
    usage = {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}
    body = json.dumps({**reply, "choices": choices, "usage": usage}).encode()
    return 200, {"Content-Type": "application/json"}, body


def anthropic_answer(_: str, call: Any) -> tuple[int, dict[str, str], bytes]:
    """Be one behind Anthropic's, which streams, and says what was used in two events."""
    message = {"id": "1", "type": "message", "role": "assistant", "model": call["model"]}
    begun = {**message, "content": [], "usage": {"input_tokens": 12, "output_tokens": 1}}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    events = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", **block},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Yes."},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 30},
        },
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return 200, {"Content-Type": "text/event-stream"}, body.encode()
