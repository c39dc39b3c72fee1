"""How a question reaches a server through a blocking client.

A client repeats a call whose reply was lost, up to ten times by default, and each repetition would
charge the tokens again. So calls are made one level below: a connection from the client's own pool,
one command, one reply (P29). What the pool does by itself stays: it connects, authenticates, asks
Sentinel for the primary, replaces dead connections before anything is sent, and keeps the client's
timeouts. A cluster client does not repeat what is addressed to one node, but follows redirections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ..shared.store import Answer, Question, Store
from .asking import Asking, Broken, is_urgent, patience_for, sourced, unknown_script
from .client import AT_ONCE, is_async, is_cluster, library_of, patience_of, pool_arguments
from .failures import failure_of, is_closed
from .script import Request, answer_of, packed, request
from .turns import Shortage, thread_turns

__all__ = ["blocking_store"]


def blocking_store(client: Any) -> Store:
    """Return the store that a blocking client connects to.

    Raises:
        TypeError: It is no such client.
    """
    library = library_of(client, "RedisTokenBucket", "redis.Redis or redis.RedisCluster")
    if is_async(client):
        raise TypeError(
            "RedisTokenBucket needs a blocking client such as redis.Redis; "
            "with a redis.asyncio client use AsyncRedisTokenBucket"
        )
    return (_ClusterStore if is_cluster(client) else _PoolStore)(client, library)


class _BlockingStore(Asking, ABC):
    """Asks, in turn if there is a shortage, and loads the script where it is not known."""

    def ask(self, question: Question) -> Answer:
        """Return the answer, or raise a BackendError."""
        command = request(question)
        try:
            try:
                reply = self._exchange(command, question)
            except self._failures as error:
                if not unknown_script(error):
                    raise
                reply = self._exchange(sourced(command), question)
        except self._failures as error:
            raise failure_of(error, sent=False) from error
        except (Broken, Shortage) as told:
            cause = told.__cause__ or told
            raise failure_of(cause, sent=isinstance(told, Broken)) from cause
        return answer_of(reply, question)

    @abstractmethod
    def _exchange(self, command: Request, question: Question) -> Any: ...


class _PoolStore(_BlockingStore):
    """Asks over connections from the pool of a client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = pool_arguments(client.connection_pool)
        self._turns = thread_turns(client.connection_pool)
        # Before redis-py 8 such a connection may take what is packed for the command before it.
        self._caches = getattr(client.connection_pool, "cache", None) is not None

    def _exchange(self, command: Request, question: Question) -> Any:
        pool = self._client.connection_pool
        patience = patience_for(question, patience_of(pool.connection_kwargs, pool))
        connection = self._turns.get(self._connect, patience, urgent=is_urgent(question))
        try:
            if self._caches:
                connection.send_command(*command)
            else:
                connection.send_packed_command((packed(command),))
            return connection.read_response(disable_decoding=True)
        except BaseException as error:
            if self._spoils(error):
                connection.disconnect()
            if self._breaks(error):
                raise Broken from error
            raise
        finally:
            pool.release(connection)
            self._turns.wake()

    def _connect(self) -> Any:
        pool, spared = self._client.connection_pool, AT_ONCE.set(True)
        try:
            try:
                return pool.get_connection(*self._wanted)
            except self._failures as error:
                if not is_closed(error):
                    raise
                # A server that is full says so and hangs up, of which only the latter may be heard.
                return pool.get_connection(*self._wanted)
        except self._failures as error:
            self._raise_shortage(error)
            raise
        except Exception as error:  # what an application gives a client, such as for its password
            raise failure_of(error, sent=False) from error
        finally:
            AT_ONCE.reset(spared)


class _ClusterStore(_BlockingStore):
    """Asks the node that has the keys."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._turns = thread_turns(client)

    def _exchange(self, command: Request, question: Question) -> Any:
        patience = patience_for(question, patience_of(self._client.get_connection_kwargs()))
        urgent = is_urgent(question)
        return self._turns.get(lambda: self._execute(command), patience, urgent=urgent)

    def _execute(self, command: Request) -> Any:
        name, *arguments = command
        spared = AT_ONCE.set(True)
        try:
            node = self._client.get_node_from_key(command[3])
            return self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except Exception as error:
            self._raise_shortage(error)
            if self._breaks(error):
                raise Broken from error
            raise
        finally:
            AT_ONCE.reset(spared)
