"""The documented blocks, and a world of stand-ins to run them in."""

import builtins
import importlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.request import ProxyHandler, build_opener

from rate_limiter.testing import ManualClock

ROOT = Path(__file__).parents[2]
FORMS = ("src.rate_limiter", "rate_limiter")
UNDEFINED = (
    "do_work",
    "fetch_data",
    "handle_rate_limit",
    "heavy_operation",
    "light_operation",
    "medium_operation",
    "process",
)


def _read_blocks() -> dict[str, str]:
    text = Path(__file__).with_name("blocks.md").read_text(encoding="utf-8")
    return dict(
        re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    )


BLOCKS = _read_blocks()


class World:
    """Run blocks on a clock that sleeping moves, and remember what they did.

    Args:
        form: What the package is imported as.
        address: Where the web server that stands in for the documented one is.
    """

    def __init__(self, form: str, address: str) -> None:
        self.form = form
        self.clock = ManualClock(auto_advance=True)
        self.printed: list[str] = []
        self.printed_at: list[float] = []
        self.called: list[str] = []
        self.made: list[Any] = []
        self.modules = {
            "requests": SimpleNamespace(get=partial(_get, address), RequestException=OSError),
            "time": SimpleNamespace(sleep=self.clock.advance),
        }
        self.bucket_module = importlib.import_module(f"{form}.token_bucket")
        self.exceptions_module = importlib.import_module(f"{form}.exceptions")

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """Make a bucket for a block that does not import the class."""
        bucket = self.bucket_module.TokenBucket(*args, **kwargs)
        self.made.append(bucket)
        return bucket

    def run(self, name: str, **names: Any) -> SimpleNamespace:
        """Run a block; return the names it has left."""
        namespace = {
            "__builtins__": vars(builtins) | {"__import__": self._import, "print": self._print},
            "__name__": name,
            "TokenBucket": self.make,
            "limiter": self.bucket_module.TokenBucket(1, 1, initial_tokens=0),
            **{undefined: self._call(undefined) for undefined in UNDEFINED},
            **names,
        }
        source = BLOCKS[name].replace("src.rate_limiter", self.form)
        exec(compile(source, f"<{name}>", "exec"), namespace)  # noqa: S102 - the blocks are ours
        return SimpleNamespace(**namespace)

    def _import(self, name: str, *args: Any) -> Any:
        return self.modules.get(name) or builtins.__import__(name, *args)

    def _print(self, *values: Any) -> None:
        self.printed_at.append(self.clock.elapsed)
        self.printed.append(" ".join(map(str, values)))

    def _call(self, name: str) -> Callable[..., str]:
        def stand_in(*_: Any) -> str:
            self.called.append(name)
            return f"result of {name}"

        return stand_in


def _get(address: str, url: str, timeout: float = 5) -> SimpleNamespace:
    """Fetch from the server here what a block asks of the documented one."""
    local = url.replace("https://api.example.com", address)
    with build_opener(ProxyHandler({})).open(local, timeout=timeout) as response:
        body = response.read()
        return SimpleNamespace(status_code=response.status, json=partial(json.loads, body))


@contextmanager
def web_server() -> Iterator[str]:
    """Run a web server that knows users by number; give its address."""
    with _Server(("127.0.0.1", 0), _Users) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # a connection that does not fit in is held up for a whole second


class _Users(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        last = self.path.rpartition("/")[2]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": int(last)} if last.isdecimal() else {}).encode())

    def log_message(self, *_: object) -> None:
        pass
