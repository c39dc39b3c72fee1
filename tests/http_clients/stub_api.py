"""An API on loopback, served by uvicorn, that answers as it is told and counts for itself."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field

from loopback import HOST, by_uvicorn


@dataclass
class Reply:
    """What to answer.

    Args:
        status: The status.
        headers: The headers, or pairs; no `Date` unless one is here.
        chunks: The body, in pieces that are sent one by one.
        gate: Waited for before the last piece.
        broken: Whether the connection ends before the body does.
    """

    status: int = 200
    headers: dict | list = field(default_factory=dict)
    chunks: tuple = (b"{}",)
    gate: threading.Event | None = None
    broken: bool = False


class ServerLimit:
    """Allows `capacity` at once and `rate` a second, in floats, with a bucket of its own."""

    def __init__(self, capacity, rate):
        self.capacity, self.rate = capacity, rate
        self._level, self._at = float(capacity), time.monotonic()

    def seconds_until_free(self):
        """Take a token and return 0.0, or return how long it will take until there is one."""
        now = time.monotonic()
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self.rate
        self._level -= 1
        return 0.0


class Api:
    """The application: takes replies from a list, or answers as an API does that has a limit."""

    def __init__(self):
        self.limit = None
        self.on_request = lambda: None  # called by every request
        self.replies = deque()
        self.requests = []
        self.statuses = []
        self.arrived = threading.Event()  # set by every request
        self.arrivals = []  # when each request was counted

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.requests.append((scope["method"], scope["path"], body))
        self.arrivals.append(time.monotonic())
        self.on_request()
        self.arrived.set()
        reply = self.replies.popleft() if self.replies else self._answer(scope["path"], body)
        self.statuses.append(reply.status)
        await self._send(reply, send)

    def _answer(self, path, body):
        wait = self.limit.seconds_until_free() if self.limit else 0.0
        if wait:
            seconds = str(max(1, math.ceil(wait)))
            return Reply(429, {"retry-after": seconds}, (b'{"error": {"message": "slow down"}}',))
        sent = json.loads(body) if body.startswith(b"{") else {}
        if path.endswith("/chat/completions"):
            return openai_stream() if sent.get("stream") else openai_reply()
        if path.endswith("/messages"):
            return anthropic_stream() if sent.get("stream") else anthropic_reply()
        return Reply(headers={"content-type": "application/json"})

    async def _send(self, reply, send):
        given = reply.headers
        pairs = given.items() if isinstance(given, dict) else given
        headers = [(name.lower().encode(), value.encode()) for name, value in pairs]
        if reply.broken:
            headers.append((b"content-length", b"100000"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        *first, last = reply.chunks or (b"",)
        for chunk in first:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if reply.gate is not None:
            await asyncio.to_thread(reply.gate.wait)
        await send({"type": "http.response.body", "body": last, "more_body": reply.broken})


def openai_reply():
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "hi"},
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 22, "total_tokens": 42}
    reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub"}
    body = json.dumps({**reply, "choices": [choice], "usage": usage}).encode()
    return Reply(headers={"content-type": "application/json"}, chunks=(body,))


def openai_stream():
    reply = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    delta = {"index": 0, "finish_reason": None, "delta": {"content": "hi"}}
    usage = {"prompt_tokens": 20, "completion_tokens": 22, "total_tokens": 42}
    events = [
        {**reply, "choices": [delta], "usage": None},
        {**reply, "choices": [], "usage": usage},
    ]
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return Reply(
        headers={"content-type": "text/event-stream"}, chunks=(*lines, b"data: [DONE]\n\n")
    )


def anthropic_reply():
    message = {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "stub",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 22},
    }
    return Reply(
        headers={"content-type": "application/json"}, chunks=(json.dumps(message).encode(),)
    )


def anthropic_stream():
    message = json.loads(anthropic_reply().chunks[0]) | {"content": [], "stop_reason": None}
    message["usage"]["output_tokens"] = 1
    events = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": 'hi {"usage": {"output_tokens": 999}}'},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 22},
        },
        {"type": "message_stop"},
    ]
    lines = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
    return Reply(headers={"content-type": "text/event-stream"}, chunks=tuple(lines))


@contextmanager
def serving(api):
    """Serve an application on a free port; yield its address."""
    options = {"http": "h11", "ws": "none", "date_header": False, "timeout_graceful_shutdown": 1}
    with by_uvicorn(api, **options) as port:
        yield f"http://{HOST}:{port}"
