"""Servers for tests: those that many tests share, and those that a test may break.

The name of this folder is not that of the library: the folder of all tests is on the path, where a
folder `redis` would pass for the library wherever that is not installed, and to the linter always.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from fault_proxy import FaultProxy
from servers import Server
from special_servers import AclServer, ClusterServer, PasswordServer, Replicated, SmallServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark every test of this folder, so that all others run without a server."""
    for item in items:  # of all folders, for the hook knows no folder of its own
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def redis_server():
    """Serve all tests, which leave it running and do not flush it: each has a `name` for keys."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def password_server():
    """Want the password `password_server.password`."""
    with PasswordServer() as server:
        yield server


@pytest.fixture(scope="session")
def acl_server():
    """Know the users `acl_server.limiter`, `.scripts_only` and `.stranger`."""
    with AclServer() as server:
        yield server


@pytest.fixture(scope="session")
def cluster_server():
    """Be a cluster of one node."""
    with ClusterServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_small_server():
    """Have little memory, as some test left it."""
    with SmallServer() as server:
        yield server


@pytest.fixture
def small_server(shared_small_server):
    """Have little memory, all of it free at first: `small_server.fill()` and `.free()`."""
    yield shared_small_server
    shared_small_server.free()


@pytest.fixture
def make_server():
    """Start servers of a test's own, with any settings, to kill and to freeze as it likes."""
    with ExitStack() as started:
        yield lambda *lines, **settings: started.enter_context(Server(*lines, **settings))


@pytest.fixture
def replicated():
    """Make a primary and a replica of a test's own: `replicated.promote()`."""
    with Replicated() as pair:
        yield pair


@pytest.fixture
def client(redis_server):
    """Connect to the server of all tests; the handshake is over."""
    with redis_server.client() as client:
        client.ping()
        yield client


@pytest.fixture
def async_client(redis_server):
    """Give what connects to the server of all tests: call it, and close its result, in one loop."""
    return redis_server.async_client


@pytest.fixture
def name():
    """Give a name that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
def fault_proxy(redis_server):
    """Stand between a client and the server of all tests: `port=fault_proxy.port`."""
    with FaultProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def in_background():
    """Give what starts a call in a thread, and returns its future."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
