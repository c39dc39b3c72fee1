"""Services of two processes that share their limits in a store, under load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import http_sf
import pytest
from hosted import get
from loopback import HOST, PATIENCE, wait_for
from servers import Server, free_port
from worker_apps import CAPACITY, RATE, READY

FOLDER = Path(__file__).parent
LOAD = 2.0  # seconds
CLIENTS = 6
PACE = 0.01  # seconds between requests: many times the limit, and no more work than that needs
STARTING = 40.0  # seconds for two processes to start on a busy machine
COMMANDS = {
    "uvicorn": [
        *("uvicorn", "worker_apps:make_asgi", "--factory", "--workers", "2"),
        *("--lifespan", "off", "--log-level", "warning", "--no-proxy-headers", "--port", "{port}"),
    ],
    "gunicorn": [
        *("gunicorn", "worker_apps:make_wsgi()", "--workers", "2", "--threads", "3"),
        *("--log-level", "warning", "--bind", f"{HOST}:{{port}}"),
    ],
}


@contextmanager
def redis_store(_):
    with Server() as server:
        yield server.url


@contextmanager
def sqlite_store(folder):
    yield folder / "limits.db"


# What makes a store in a folder, by its name in worker_apps.py.
STORES = [
    pytest.param("redis", redis_store, marks=pytest.mark.server),
    pytest.param("sqlite", sqlite_store),
]


@contextmanager
def workers(command, store, url, notes):
    """Run a service of two processes; yield its port."""
    port = free_port()
    environ = os.environ | {"STORE": store, "STORE_URL": str(url), "NOTES": str(notes)}
    run = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    with subprocess.Popen(run, cwd=FOLDER, env=environ) as process:  # noqa: S603 - our own
        try:
            seen = set()
            wait_for(lambda: seen.add(ready(port)) or len(seen - {None}) == 2, STARTING)
            yield port
        finally:
            process.terminate()


def ready(port):
    """Return the process that answers; None if none does yet."""
    with suppress(OSError, HTTPException):
        return get(port, READY).body
    return None


def load(port, until):
    """Ask over and over; return the replies' status and fields."""
    replies = []
    while time.monotonic() < until:
        connection = HTTPConnection(HOST, port, timeout=PATIENCE)
        for _ in range(5):  # another connection may meet the other process
            forged = {"X-Forwarded-For": f"203.0.113.{len(replies) % 250}"}
            connection.request("GET", "/", headers=forged)
            response = connection.getresponse()
            response.read()
            replies.append((response.status, dict(response.getheaders())))
            time.sleep(PACE)
        connection.close()
    return replies


@pytest.mark.parametrize(("store", "make_store"), STORES)
@pytest.mark.parametrize("name", COMMANDS)
def test_hold_the_limit_with_two_processes_under_load(name, store, make_store, tmp_path):
    """P27, P44: Two processes serve no more than the limit together, whatever clients forge."""
    notes = tmp_path / "notes"
    with make_store(tmp_path) as url, workers(COMMANDS[name], store, url, notes) as port:
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(load, port, began + LOAD) for _ in range(CLIENTS)]
            replies = [reply for each in asked for reply in each.result()]
        took = time.monotonic() - began
    processes = notes.read_text(encoding="ascii").split()
    statuses = [status for status, _ in replies]
    assert set(statuses) == {200, 429}
    assert len(processes) == statuses.count(200)
    assert CAPACITY + RATE * LOAD / 2 < len(processes) <= CAPACITY + RATE * took
    assert len(set(processes)) == 2
    for status, fields in replies:
        check_fields(status, {name.lower(): value for name, value in fields.items()})


def check_fields(status, fields):
    """Check that all fields can be read."""
    assert ("retry-after" in fields) == (status == 429)
    assert int(fields.get("retry-after", 1)) >= 1
    for name in ("ratelimit", "ratelimit-policy"):
        if name in fields:  # a store that does not tell its levels tells none
            ((policy, _),) = http_sf.parse(fields[name].encode(), tltype="list")
            assert policy == "default"
