"""How a script call reaches a server through a blocking client; see `wire.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from .script import Request
from .wire import BaseWire, Broken, is_async, is_cluster, library_of, pool_arguments

__all__ = ["Wire", "wire"]


class Wire(Protocol):
    """Asks a server, and blocks."""

    def ask(self, request: Request) -> Any:
        """Return the script's reply, or raise a BackendError."""


def wire(client: Any) -> Wire:
    """Return how to ask through a blocking client.

    Raises:
        TypeError: It is none.
    """
    library = library_of(client, "RedisTokenBucket", "redis.Redis or redis.RedisCluster")
    if is_async(client):
        raise TypeError(
            "RedisTokenBucket needs a blocking client such as redis.Redis; "
            "with a redis.asyncio client use AsyncRedisTokenBucket"
        )
    return (_ClusterWire if is_cluster(client) else _PoolWire)(client, library)


class _BlockingWire(BaseWire, ABC):
    """Asks, and loads the script where it is not known."""

    def ask(self, request: Request) -> Any:
        """Return the script's reply, or raise a BackendError."""
        try:
            try:
                return self._exchange(request)
            except self._unknown_script:
                return self._exchange(self._loading(request))
        except self._failures as error:
            raise self._failure(error) from error
        except Broken as broken:
            raise self._lost(broken.__cause__) from broken.__cause__

    @abstractmethod
    def _exchange(self, command: Request) -> Any: ...


class _PoolWire(_BlockingWire):
    """Asks over connections from the pool of a client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = pool_arguments(client.connection_pool)

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
                raise Broken from error
            raise
        finally:
            pool.release(connection)


class _ClusterWire(_BlockingWire):
    """Asks the node that has the keys."""

    def _exchange(self, command: Request) -> Any:
        name, *arguments = command
        node = self._client.get_node_from_key(command[3])
        try:
            return self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except self._failures as error:
            if self._breaks(error):
                raise Broken from error
            raise
