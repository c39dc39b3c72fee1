"""How a script call reaches a server, through whichever client the caller has.

A client repeats a call whose reply was lost, up to ten times by default, and each repetition would
charge the tokens again. So calls are made one level below: a connection from the client's own pool,
one command, one reply (P29). What the pool does by itself stays: it connects, authenticates, asks
Sentinel for the primary, replaces dead connections before anything is sent, and keeps the client's
timeouts. A cluster client does not repeat what is addressed to one node, but follows redirections.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from asyncio import CancelledError, Task, current_task, shield
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

from ..exceptions import BackendError
from ..rates import shown
from .background import in_background
from .script import SOURCE, Request

__all__ = [
    "AsyncWire",
    "BucketFailure",
    "NoConnection",
    "ReplyLost",
    "TooMuch",
    "Wire",
    "async_wire",
    "wire",
]

_LIBRARIES = ("redis", "valkey")
_SOURCED: tuple[Any, ...] = (b"EVAL", SOURCE)
_HINTS = {
    "AUTH": "the password or user is wrong",
    "CONNECTIONS": "the client's pool has no connection left",
    "CORRUPT": "the value under its key is not that of a bucket; use another name or prefix",
    "CROSSSLOT": "buckets of a group must share a hash tag: name them '{tenant}:requests'...",
    "MOVED": "the server is a cluster's; use the library's RedisCluster client",
    "NOAUTH": "the client has no password",
    "NOPERM": "the user needs EVALSHA, EVAL, GET, SET and TIME on the keys of the prefix",
    "OOM": "the server has reached its maxmemory",
    "OVERFLOW": "the bucket would be in debt for more than a century",
    "READONLY": "the server is a replica",
    "WRONGTYPE": "the value under its key is not that of a bucket; use another name or prefix",
}
_PHRASES = {  # that stand for a code
    "ACL failure in script": "NOPERM",
    "Authentication required": "NOAUTH",
    "HELLO must be called with the client already authenticated": "NOAUTH",
    "Too many connections": "CONNECTIONS",
    "user executing the script can't run": "NOPERM",
}
_CODES = {  # of errors whose text the libraries strip of it
    "AuthenticationError": "AUTH",
    "AuthorizationError": "AUTH",
    "MaxConnectionsError": "CONNECTIONS",
    "ClusterCrossSlotError": "CROSSSLOT",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}


class BucketFailure(BackendError):
    """The server is there, but cannot decide for this one bucket."""


class NoConnection(BackendError):
    """The client had no connection left for this one call, and the server was not asked."""


class TooMuch(BackendError):
    """The server is there, and cannot count so large a debt: no fallback may allow it instead."""


class ReplyLost(BackendError):
    """A call was sent and its reply did not come: nobody knows what has been done."""


class _Broken(Exception):
    """A connection failed after something was sent; the cause says how."""


_KINDS = {
    "CONNECTIONS": NoConnection,
    **dict.fromkeys(["CORRUPT", "CROSSSLOT", "NOPERM", "WRONGTYPE"], BucketFailure),
    "OVERFLOW": TooMuch,
}

Abandoned: TypeAlias = Callable[[Any], None]


class Wire(Protocol):
    """Asks a server, and blocks."""

    def ask(self, request: Request) -> Any:
        """Return the script's reply, or raise a BackendError."""


class AsyncWire(Protocol):
    """Asks a server from a task."""

    async def ask(self, request: Request, abandoned: Abandoned) -> Any:
        """Return the script's reply, or raise a BackendError.

        If the task is cancelled meanwhile, `abandoned` is called with the reply when it comes.
        """


def wire(client: Any) -> Wire:
    """Return how to ask through a blocking client.

    Raises:
        TypeError: It is none.
    """
    library = _library_of(client, "RedisTokenBucket", "redis.Redis or redis.RedisCluster")
    if _is_async(client):
        raise TypeError(
            "RedisTokenBucket needs a blocking client such as redis.Redis; "
            "with a redis.asyncio client use AsyncRedisTokenBucket"
        )
    return (_ClusterWire if _is_cluster(client) else _PoolWire)(client, library)


def async_wire(client: Any) -> AsyncWire:
    """Return how to ask through an asyncio client.

    Raises:
        TypeError: It is none.
    """
    library = _library_of(client, "AsyncRedisTokenBucket", "redis.asyncio.Redis or RedisCluster")
    if not _is_async(client):
        raise TypeError(
            "AsyncRedisTokenBucket needs an asyncio client such as redis.asyncio.Redis; "
            "with a blocking client use RedisTokenBucket"
        )
    return (_AsyncClusterWire if _is_cluster(client) else _AsyncPoolWire)(client, library)


def _library_of(client: Any, bucket: str, wanted: str) -> str:
    bases = type(client).__mro__
    usable = hasattr(client, "evalsha") and not any("Pipeline" in base.__name__ for base in bases)
    modules = {base.__module__.partition(".")[0] for base in bases}
    for library in _LIBRARIES:
        if usable and library in modules:
            return library
    raise TypeError(f"{bucket} needs a client such as {wanted}, got {shown(type(client).__name__)}")


def _is_cluster(client: Any) -> bool:
    return hasattr(client, "get_node_from_key")


def _is_async(client: Any) -> bool:
    return inspect.iscoroutinefunction(getattr(client, "execute_command", None))


def _code_of(error: BaseException) -> str:
    """Return the server's code for an error, which before 7.0 stands amid that of a script."""
    text = str(error)
    for phrase, code in _PHRASES.items():
        if phrase in text:
            return code
    words = [word.strip("-:") for word in text.split()]
    found = next((word for word in words if word in _HINTS), "")
    return _CODES.get(type(error).__name__, found)


class _BaseWire:
    """What asking has in common: what is an error, and what it means."""

    def __init__(self, client: Any, library: str) -> None:
        self._client = client
        errors = sys.modules[f"{library}.exceptions"]
        title = library.title()
        self._unknown_script = errors.NoScriptError
        self._answers = errors.ResponseError
        self._stale = errors.ReadOnlyError
        self._failures: tuple[type[BaseException], ...] = (
            getattr(errors, f"{title}Error"),
            getattr(errors, f"{title}ClusterException"),
            OSError,
        )

    def _spoils(self, error: BaseException) -> bool:
        """Tell whether a connection is spent: its reply may yet come, to the next caller (P32)."""
        return not isinstance(error, self._answers) or isinstance(error, self._stale)

    def _failure(self, error: BaseException) -> BackendError:
        """Return the error to raise, which names neither keys nor servers (P26)."""
        code = _code_of(error)
        unknown = "it answered with an error" if isinstance(error, self._answers) else "no answer"
        hint = _HINTS.get(code, unknown)
        kind = _KINDS.get(code, BackendError)
        return kind(f"the store of the bucket failed: {hint} ({type(error).__name__})")

    def _lost(self, error: BaseException | None) -> ReplyLost:
        """Return the error to raise when something was sent, and no answer came."""
        return ReplyLost(f"the store of the bucket failed: no answer ({type(error).__name__})")

    def _breaks(self, error: BaseException) -> bool:
        """Tell whether an error after something was sent leaves open what has been done."""
        never_sent = isinstance(error, self._answers) or _code_of(error) == "CONNECTIONS"
        return isinstance(error, self._failures) and not never_sent


class _BlockingWire(_BaseWire, ABC):
    """Asks, and loads the script where it is not known."""

    def ask(self, request: Request) -> Any:
        """Return the script's reply, or raise a BackendError."""
        try:
            try:
                return self._exchange(request)
            except self._unknown_script:
                return self._exchange((*_SOURCED, *request[2:]))
        except self._failures as error:
            raise self._failure(error) from error
        except _Broken as broken:
            raise self._lost(broken.__cause__) from broken.__cause__

    @abstractmethod
    def _exchange(self, command: Request) -> Any: ...


class _AwaitingWire(_BaseWire, ABC):
    """Asks from a task, and loads the script where it is not known."""

    async def ask(self, request: Request, abandoned: Abandoned) -> Any:
        """Return the script's reply, or raise a BackendError; see `AsyncWire`."""
        try:
            try:
                return await self._exchange(request, abandoned)
            except self._unknown_script:
                return await self._exchange((*_SOURCED, *request[2:]), abandoned)
        except self._failures as error:
            raise self._failure(error) from error
        except _Broken as broken:
            raise self._lost(broken.__cause__) from broken.__cause__

    @abstractmethod
    async def _exchange(self, command: Request, abandoned: Abandoned) -> Any: ...


class _PoolWire(_BlockingWire):
    """Asks over connections from the pool of a client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = _pool_arguments(client.connection_pool)

    def _exchange(self, command: Request) -> Any:
        pool = self._client.connection_pool
        connection = pool.get_connection(*self._wanted)
        try:
            connection.send_command(*command)
            return connection.read_response(disable_decoding=True)
        except BaseException as error:
            if self._spoils(error):
                connection.disconnect()
            if self._breaks(error):
                raise _Broken from error
            raise
        finally:
            pool.release(connection)


class _AsyncPoolWire(_AwaitingWire):
    """Asks over connections from the pool of an asyncio client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = _pool_arguments(client.connection_pool)

    async def _exchange(self, command: Request, abandoned: Abandoned) -> Any:
        sent, cancelled = False, _cancellations()
        connection = await self._connect()
        try:
            _raise_if_cancelled_since(cancelled)
            await _drop_if_ended(connection)
            await connection.send_command(*command)
            sent = True
            _raise_if_cancelled_since(cancelled)
            reply = await _read(connection)
        except CancelledError as error:
            if sent:
                in_background(self._outlive(connection, abandoned))
            else:
                await self._release(connection, error)
            raise
        except BaseException as error:
            await self._release(connection, error)
            if self._breaks(error):
                raise _Broken from error
            raise
        await self._release(connection)
        return reply

    async def _connect(self) -> Any:
        pool = self._client.connection_pool
        try:
            return await pool.get_connection(*self._wanted)
        except CancelledError:
            # The answer to its greeting may yet come, and must not be the next caller's (P32). The
            # pool has just taken it back; there is no public way to tell it from the others.
            idle: list[Any] = list(getattr(pool, "_available_connections", ()))
            for connection in idle[-1:]:
                await connection.disconnect(nowait=True)
            raise

    async def _outlive(self, connection: Any, abandoned: Abandoned) -> None:
        """Read the reply that a cancelled task has left behind."""
        try:
            reply = await _read(connection)
        except BaseException as error:
            await self._release(connection, error)
            if isinstance(error, self._failures):
                return
            raise
        await self._release(connection)
        abandoned(reply)

    async def _release(self, connection: Any, error: BaseException | None = None) -> None:
        if error is not None and self._spoils(error):
            await connection.disconnect(nowait=True)
        await self._client.connection_pool.release(connection)


async def _drop_if_ended(connection: Any) -> None:
    """Have a connection that the server has ended made anew when something is sent.

    Pools that expect notifications, and nodes of clusters, do not look. There is no public way to.
    """
    reader = getattr(connection, "_reader", None)
    if reader is not None and reader.at_eof():
        await connection.disconnect(nowait=True)


def _cancellations() -> int:
    task = current_task()
    return task.cancelling() if task else 0


def _raise_if_cancelled_since(before: int) -> None:
    """Do what wait_for() ought to, which before Python 3.12 swallows a cancellation at its end."""
    if _cancellations() > before:
        raise CancelledError


async def _read(connection: Any) -> Any:
    """Read a reply; a task that is cancelled may leave it to another."""
    return await connection.read_response(disable_decoding=True, disconnect_on_error=False)


def _pool_arguments(pool: Any) -> tuple[str, ...]:
    """Return what `get_connection` must be given: before redis-py 5.3 the name of a command."""
    parameters = list(inspect.signature(pool.get_connection).parameters.values())
    return ("EVALSHA",) if parameters and parameters[0].default is inspect.Parameter.empty else ()


class _ClusterWire(_BlockingWire):
    """Asks the node that has the keys."""

    def _exchange(self, command: Request) -> Any:
        name, *arguments = command
        node = self._client.get_node_from_key(command[3])
        try:
            return self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except self._failures as error:
            if self._breaks(error):
                raise _Broken from error
            raise


class _AsyncClusterWire(_AwaitingWire):
    """Asks the node that has the keys, from a task."""

    async def _exchange(self, command: Request, abandoned: Abandoned) -> Any:
        call = in_background(self._execute(command))
        try:
            return await shield(call)
        except CancelledError:
            call.add_done_callback(partial(_hand_over, abandoned))
            raise

    async def _execute(self, command: Request) -> Any:
        await self._client.initialize()
        name, *arguments = command
        node = self._client.get_node_from_key(command[3])
        for connection in list(getattr(node, "_free", ())):
            await _drop_if_ended(connection)
        try:
            return await self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except self._failures as error:
            if self._breaks(error):
                raise _Broken from error
            raise


def _hand_over(abandoned: Abandoned, call: Task[Any]) -> None:
    if not call.cancelled() and call.exception() is None:
        abandoned(call.result())
