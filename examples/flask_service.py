"""Limit the guesses at a login of Flask: those that fail count, and those that succeed do not.

Run it with `pip install flask`; it asks itself over loopback.
"""

import json
import logging
from http import HTTPStatus
from http.client import HTTPConnection
from threading import Thread
from typing import Any

from flask import Flask, request
from werkzeug.serving import make_server

from rate_limiter import KeyedRateLimiter
from rate_limiter.http.wsgi import RateLimitMiddleware, remote_addr

app = Flask(__name__)


@app.post("/login")
def login() -> tuple[str, int]:
    """Let in who knows the word."""
    return ("welcome", 200) if request.data == b"sesame" else ("no", 401)


def client_at_login(environ: dict[str, Any]) -> str | None:
    """Name the client of a login; other paths are exempt."""
    return remote_addr(environ) if environ["PATH_INFO"] == "/login" else None


def failed(status: int) -> bool:
    """Say which answers count."""
    return status == HTTPStatus.UNAUTHORIZED


failures = KeyedRateLimiter.from_rate("3/minute", block=False)
limited = RateLimitMiddleware(app.wsgi_app, failures, key=client_at_login, count=failed)
app.wsgi_app = limited  # type: ignore[method-assign]


def guess(port: int, word: str) -> None:
    """Try a word, and print the answer."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/login", body=word)
    with connection.getresponse() as response:
        body = response.read().decode()
        print(f"{word}: {response.status}, {json.loads(body)['detail'] if '{' in body else body}")
    connection.close()


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, app)
    Thread(target=server.serve_forever, args=(0.05,)).start()
    for attempt in ("sesame", "1234", "sesame", "password", "qwerty", "letmein", "sesame"):
        guess(server.server_port, attempt)
    server.shutdown()
    server.server_close()
