"""Applications of each framework, behind the limit, on real servers of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Thread

from loopback import HOST, PATIENCE
from service_worlds import Reply


@contextmanager
def by_werkzeug(app) -> Iterator[int]:
    """Serve a WSGI application with werkzeug; yield the port."""
    from werkzeug.serving import make_server

    server = make_server(HOST, 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(port, path="/", method="GET", **fields):
    """Ask over a connection of its own; return the reply."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read())
    finally:
        connection.close()
