"""The API that stands for a real one in the examples."""

import runpy
import socket
import struct
import threading
from pathlib import Path

STUB = Path(__file__).parent.parent / "examples" / "stub_api" / "__init__.py"


def test_serve_a_client_that_drops_its_connection_says_nothing(capfd):
    """A client that sends a refused request again leaves the refusal unread, which resets."""
    stub_api = runpy.run_path(str(STUB))["StubApi"]
    before = set(threading.enumerate())
    with stub_api(lambda *_: (200, {}, b"x"), 1, 1) as api:
        with socket.create_connection(("127.0.0.1", api.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            assert client.recv(4)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for thread in set(threading.enumerate()) - before:
            if "request" in thread.name:
                thread.join(10)
                assert not thread.is_alive()
    assert capfd.readouterr().err == ""
