"""A proxy in front of a server, which passes everything on until it is told to misbehave."""

import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedIOBase
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Condition, Thread

HOST = "127.0.0.1"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, for no time
# How much of the reply a client gets before its connection ends; with all of it, it goes on.
SHARES = {"drop_before": 0, "drop_after": 0, "reset": 0, "truncate": 0.5, "delay": 1}


@dataclass
class Fault:
    """What to do to the next requests that contain something."""

    kind: str
    left: float
    match: bytes
    seconds: float | None


def read_message(stream: BufferedIOBase) -> bytes:
    """Read one whole message of RESP 2 or 3, as it stands; nothing once the stream has ended."""
    head = stream.readline()
    if not head.endswith(b"\r\n"):
        return b""
    kind, size = head[:1], head[1:-2]
    if kind not in b"$=!*~>%|" or size == b"-1":
        return head
    if kind in b"$=!":
        return head + stream.read(int(size) + 2)
    parts = int(size) * 2 if kind in b"%|" else int(size)
    # Attributes come before the message that they are about.
    return head + b"".join(read_message(stream) for _ in range(parts + (kind == b"|")))


class Connection(StreamRequestHandler):
    """The two ways between one client and the server, of which the other ends with the one."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.faults = deque()  # of the requests whose replies are to come, None for the unharmed
        # A server that is down, and a client that is gone, end it as a real connection would.
        with suppress(OSError), socket.create_connection(self.server.target) as self.upstream:
            self.upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = Thread(target=self._until_the_end, args=(self._pass_replies,))
            back.start()
            self._until_the_end(self._pass_requests)
            back.join()

    def _until_the_end(self, pass_messages: Callable[[], None]) -> None:
        try:
            with suppress(OSError):
                pass_messages()
        finally:
            # The client is not to hear of it before the socket closes: that may be a reset.
            for end, way in ((self.request, socket.SHUT_RD), (self.upstream, socket.SHUT_RDWR)):
                with suppress(OSError):
                    end.shutdown(way)

    def _pass_requests(self) -> None:
        ending = False
        while request := read_message(self.rfile):
            if ending:  # with the reply to an earlier one; the client may still go before
                continue
            fault = self.server.fault_for(request)
            if fault and fault.kind == "drop_before":
                self.server.strike(fault)
                return
            ending = fault is not None and SHARES[fault.kind] < 1
            self.faults.append(fault)
            self.upstream.sendall(request)

    def _pass_replies(self) -> None:
        with self.upstream.makefile("rb") as replies:
            while reply := read_message(replies):
                # What the server says unasked is the reply to no request.
                asked = self.faults and not reply.startswith(b">")
                if not self._deliver(reply, self.faults.popleft() if asked else None):
                    return

    def _deliver(self, reply: bytes, fault: Fault | None) -> bool:
        """Deliver what the fault leaves of the reply; tell whether the connection goes on."""
        if fault:
            self.server.strike(fault)
        share = SHARES[fault.kind] if fault else 1
        self.request.sendall(reply[: int(len(reply) * share)])
        if fault and fault.kind == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return share == 1


class FaultProxy(ThreadingTCPServer):
    """A proxy at a port of its own, running from when it is made until it is closed.

    Attributes:
        hits: How many requests it did something to. All but those of "drop_before" are counted
            when the server has replied, so has run them, and before the client is told anything.
    """

    request_queue_size = 128

    def __init__(self, target_port: int) -> None:
        super().__init__((HOST, 0), Connection)
        self.port = self.server_address[1]
        self.target = (HOST, target_port)
        self.hits = 0
        self._faults = []
        self._releases = 0
        self._changed = Condition()
        self._clients = set()
        self._closed = False
        self._accepting = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._accepting.start()

    def __exit__(self, *_) -> None:
        self.close()

    def fail_next(
        self,
        kind: str,
        count: float = 1,
        match: bytes = b"EVALSHA",
        seconds: float | None = None,
    ) -> None:
        """Misbehave at the next requests that contain `match`, so many of them or all.

        Args:
            kind: What happens to a request:
                "drop_before": the connection is closed, and nothing is sent to the server;
                "drop_after": the server runs it, the connection is closed instead of a reply;
                "reset": the same, but with a reset;
                "truncate": the same, but after the first half of the reply;
                "delay": the reply is delivered later, at `release()` or after `seconds`.
            count: How many requests, `math.inf` for all.
            match: What they contain; handshakes do not contain what scripts are called by.
            seconds: How long a reply is delayed, if it is not released before.
        """
        if kind not in SHARES:
            raise ValueError(f"no kind of fault: {kind!r}")
        with self._changed:
            self._faults.append(Fault(kind, count, match, seconds))

    def clear(self) -> None:
        """Pass on every request from now on."""
        with self._changed:
            self._faults.clear()

    def release(self) -> None:
        """Deliver the replies that are delayed now."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def wait_for_hits(self, hits: int, seconds: float = 10.0) -> None:
        """Wait until so many requests were hit, in other threads."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.hits >= hits, seconds):
                raise TimeoutError(f"{self.hits} hits instead of {hits}")

    def close(self) -> None:
        """End every connection, and wait for its threads."""
        self.shutdown()
        self._accepting.join()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for client in self._clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def fault_for(self, request: bytes) -> Fault | None:
        """Choose what to do to a request."""
        with self._changed:
            for fault in self._faults:
                if fault.left > 0 and fault.match in request:
                    fault.left -= 1
                    return fault
        return None

    def strike(self, fault: Fault) -> None:
        """Count a hit; return when it is time to deliver what is to be delivered."""
        with self._changed:
            self.hits += 1
            self._changed.notify_all()
            if fault.kind != "delay":
                return
            before = self._releases
            self._changed.wait_for(lambda: self._closed or self._releases > before, fault.seconds)

    def process_request(self, request: socket.socket, client_address: object) -> None:
        """Remember the client, and serve it in a thread."""
        with self._changed:
            self._clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        """Close the client's socket; saying so before, as usual, would forestall a reset."""
        with self._changed:
            self._clients.discard(request)
            request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a mistake in here fail the test, instead of printing it."""
        raise  # noqa: PLE0704 - called while it is handled
