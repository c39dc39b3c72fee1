"""An API on loopback that stands for a real one in the examples, and counts for itself."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Answer", "StubApi"]

Answer = tuple[int, dict[str, str], bytes]
"""A status, headers and a body."""


class StubApi:
    """Answers in threads of its own while a with-block runs.

    Args:
        answer: Gets the path and the JSON of a request, and returns what to answer.
        capacity: How many requests it allows at once.
        rate: How many a second. Beyond, it answers 429 with Retry-After in whole seconds.
    """

    def __init__(self, answer: Callable[[str, Any], Answer], capacity: float, rate: float) -> None:
        self.served = self.refused = 0
        self._answer, self._capacity, self._rate = answer, capacity, rate
        self._level, self._at, self._lock = capacity, time.monotonic(), threading.Lock()

    def handle(self, path: str, body: bytes) -> Answer:
        """Answer a request, or refuse it."""
        with self._lock:
            now = time.monotonic()
            gained = (now - self._at) * self._rate
            self._level, self._at = min(self._capacity, self._level + gained), now
            if self._level < 1:
                self.refused += 1
                seconds = math.ceil((1 - self._level) / self._rate)
                return 429, {"Retry-After": str(seconds)}, b'{"error": {"message": "slow down"}}'
            self._level -= 1
            self.served += 1
        return self._answer(path, json.loads(body or b"null"))

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections stay open
            disable_nagle_algorithm = True  # small answers leave at once

            def handle(self) -> None:
                with suppress(ConnectionError):  # a client that has dropped its connection
                    super().handle()

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, data = api.handle(self.path, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128  # connections that come at once

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
