"""An ASGI application on a free port of this machine, for tests of clients and of services."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds for a server to start


@contextmanager
def by_uvicorn(app, **options) -> Iterator[int]:
    """Serve an ASGI application with uvicorn; yield the port.

    On its own uvicorn believes the proxy headers of this machine, from which the tests ask.
    """
    defaults = {"proxy_headers": False, "lifespan": "off", "ws": "websockets-sansio"}
    options = {**defaults, "log_level": "critical", **options}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    # By its number, for asyncio sends small pieces at once only if it knows that it is TCP.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind((HOST, 0))
        listening.listen(128)  # so that who comes before uvicorn does is kept
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def wait_for(condition, patience=PATIENCE):
    """Return once a condition is true; fail if that takes too long."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
