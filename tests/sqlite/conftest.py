"""Buckets in a file, and what shows that it is whole."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from processes import Child

from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.testing import ManualClock

START = 1_790_000_000  # the second at which a test's clock begins


@pytest.fixture
def path(tmp_path):
    """Where the file is, or will be."""
    return tmp_path / "limits.db"


@pytest.fixture
def clock():
    return ManualClock(start=START)


@pytest.fixture
def make_bucket(path, clock):
    """Make a bucket on the clock of the test; `clock=None` makes one on the machine's."""

    def make_bucket(capacity=10, rate=5, name="bucket", **options):
        return SQLiteTokenBucket(path, name, capacity, rate, **{"clock": clock} | options)

    return make_bucket


@pytest.fixture
def other(path):
    """Connect to the file as another program does."""
    connections = []

    def other():
        connections.append(sqlite3.connect(path, timeout=0, isolation_level=None))
        return connections[-1]

    yield other
    for connection in connections:
        connection.close()


@pytest.fixture
def held(path):
    """Have another process lock the file; return how to end that."""
    ready, write = os.pipe()
    told, tell = os.pipe()

    def hold(report):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        os.write(write, b"!")
        os.read(told, 1)

    holders = []

    def held():
        holders.append(Child(hold))
        os.read(ready, 1)
        return let_go

    def let_go():
        os.write(tell, b"!")
        assert holders.pop().wait() == 0

    yield held
    for _ in holders:
        let_go()
    for descriptor in (ready, write, told, tell):
        os.close(descriptor)


@pytest.fixture
def rows(other):
    """Return the rows of the buckets."""
    return lambda: other().execute("SELECT key, value FROM rate_limiter_buckets").fetchall()


@pytest.fixture
def is_whole(other):
    """Tell whether SQLite finds nothing wrong with the file."""
    return lambda: other().execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def run_script(path):
    """Run a program in another process, which has `path`; return what it printed."""

    def run_script(code, **options):
        script = f"path = {str(path)!r}\n" + textwrap.dedent(code)
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-W", "error", "-c", script],
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
            **options,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return run_script
