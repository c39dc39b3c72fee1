"""How a script call reaches a server from an asyncio task; see `wire.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError, Task, current_task, get_running_loop, shield
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeAlias

from .background import in_background
from .script import Request
from .wire import BaseWire, Broken, is_async, is_cluster, library_of, pool_arguments

__all__ = ["AsyncWire", "async_wire"]

Abandoned: TypeAlias = Callable[[Any], None]


class AsyncWire(Protocol):
    """Asks a server from a task."""

    async def ask(self, request: Request, abandoned: Abandoned) -> Any:
        """Return the script's reply, or raise a BackendError.

        If the task is cancelled meanwhile, `abandoned` is called with the reply when it comes.
        """


def async_wire(client: Any) -> AsyncWire:
    """Return how to ask through an asyncio client.

    Raises:
        TypeError: It is none.
    """
    library = library_of(client, "AsyncRedisTokenBucket", "redis.asyncio.Redis or RedisCluster")
    if not is_async(client):
        raise TypeError(
            "AsyncRedisTokenBucket needs an asyncio client such as redis.asyncio.Redis; "
            "with a blocking client use RedisTokenBucket"
        )
    return (_AsyncClusterWire if is_cluster(client) else _AsyncPoolWire)(client, library)


class _AwaitingWire(BaseWire, ABC):
    """Asks from a task, and loads the script where it is not known."""

    async def ask(self, request: Request, abandoned: Abandoned) -> Any:
        """Return the script's reply, or raise a BackendError; see `AsyncWire`."""
        try:
            try:
                return await self._exchange(request, abandoned)
            except self._unknown_script:
                return await self._exchange(self._loading(request), abandoned)
        except self._failures as error:
            raise self._failure(error) from error
        except Broken as broken:
            raise self._lost(broken.__cause__) from broken.__cause__

    @abstractmethod
    async def _exchange(self, command: Request, abandoned: Abandoned) -> Any: ...


class _AsyncPoolWire(_AwaitingWire):
    """Asks over connections from the pool of an asyncio client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = pool_arguments(client.connection_pool)

    async def _exchange(self, command: Request, abandoned: Abandoned) -> Any:
        sent, cancelled = False, _cancellations()
        connection = await self._connect()
        try:
            _raise_if_cancelled_since(cancelled)
            await _drop_if_useless(connection)
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
                raise Broken from error
            raise
        await self._release(connection)
        return reply

    async def _connect(self) -> Any:
        pool = self._client.connection_pool
        try:
            try:
                return await pool.get_connection(*self._wanted)
            except RuntimeError:  # what is idle may belong to a loop that is over
                with suppress(RuntimeError):
                    await pool.disconnect(inuse_connections=False)
                return await pool.get_connection(*self._wanted)
        except RuntimeError as error:
            raise self._failure(error) from error
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


async def _drop_if_useless(connection: Any) -> None:
    """Have a connection made anew when something is sent, if no reply could come over it.

    The server has ended it, for pools that expect notifications and nodes of clusters do not look;
    or it belongs to another event loop, such as that of an earlier `asyncio.run`, and a call would
    be charged before it failed. There is no public way to tell.
    """
    reader = getattr(connection, "_reader", None)
    if reader is None:
        return
    loop = get_running_loop()
    if reader.at_eof() or getattr(reader, "_loop", loop) is not loop:
        with suppress(RuntimeError):  # of a loop that is closed
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
            await _drop_if_useless(connection)
        try:
            return await self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except self._failures as error:
            if self._breaks(error):
                raise Broken from error
            raise


def _hand_over(abandoned: Abandoned, call: Task[Any]) -> None:
    if not call.cancelled() and call.exception() is None:
        abandoned(call.result())
