"""How a question reaches a server from an asyncio task; see `blocking.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError, Task, current_task, get_running_loop, shield, timeout
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from ..exceptions import BackendError
from ..shared.background import in_background
from ..shared.failures import Refused, ReplyLost
from ..shared.store import Abandoned, Answer, AsyncStore, Question
from ..sleeping import in_trio_task
from .asking import Asking, Broken, is_urgent, patience_for, sourced, unknown_script
from .client import (
    AT_ONCE,
    connecting_of,
    is_async,
    is_cluster,
    library_of,
    patience_of,
    pool_arguments,
)
from .failures import failure_of, is_closed
from .script import Request, answer_of, packed, request
from .turns import Shortage, task_turns

__all__ = ["async_store"]

_Heard: TypeAlias = Callable[[Any], None]
"""Called with the reply that a cancelled task has left behind."""


def async_store(client: Any) -> AsyncStore:
    """Return the store that an asyncio client connects to.

    Raises:
        TypeError: It is no such client.
    """
    library = library_of(client, "AsyncRedisTokenBucket", "redis.asyncio.Redis or RedisCluster")
    if not is_async(client):
        raise TypeError(
            "AsyncRedisTokenBucket needs an asyncio client such as redis.asyncio.Redis; "
            "with a blocking client use RedisTokenBucket"
        )
    return (_ClusterStore if is_cluster(client) else _PoolStore)(client, library)


def _forget(_: Answer) -> None:
    """Make nothing of an answer that comes too late."""


class _AwaitingStore(Asking, ABC):
    """Asks from a task, and loads the script where it is not known."""

    async def ask(self, question: Question, abandoned: Abandoned) -> Answer:
        """Return the answer, or raise a BackendError; see `AsyncStore`.

        Raises:
            TypeError: The task is one of trio's.
        """
        if in_trio_task():
            raise TypeError(
                "AsyncRedisTokenBucket asks through asyncio, and this task is one of trio's; use "
                "RedisTokenBucket in a thread: await trio.to_thread.run_sync(bucket.wait)"
            )
        command = request(question)

        def heard(reply: Any) -> None:
            abandoned(answer_of(reply, question))

        try:
            try:
                reply = await self._persist(command, question, heard)
            except self._failures as error:
                if not unknown_script(error):
                    raise
                reply = await self._persist(sourced(command), question, heard)
        except self._failures as error:
            raise failure_of(error, sent=False) from error
        except (Broken, Shortage) as told:
            cause = told.__cause__ or told
            raise failure_of(cause, sent=isinstance(told, Broken)) from cause
        return answer_of(reply, question)

    async def give_back(self, question: Question) -> None:
        """Ask, and return once it is done or has failed; see `AsyncStore`."""
        await shield(in_background(self._try(question)))

    def abandon(self, question: Question) -> None:
        """Do as `give_back`, and return at once."""
        in_background(self._try(question))

    async def _try(self, question: Question) -> None:
        """Ask for what nobody waits for: its caller raises an error of its own.

        The application may close its client meanwhile, and with it the connection that was about to
        be used. What has not been sent is sent over another one.
        """
        for _ in range(2):
            try:
                await self.ask(question, _forget)
            except (ReplyLost, Refused):
                return
            except BackendError:
                continue
            return

    async def _persist(self, command: Request, question: Question, heard: _Heard) -> Any:
        """Return the reply, also if tasks of the client are cancelled, and this one is not.

        The end of a loop cancels all tasks that it knows of. This one may run in the background,
        but before Python 3.12 a client sends within a task of its own.
        """
        cancelled = _cancellations()
        try:
            return await self._exchange(command, question, heard)
        except CancelledError:
            if _cancellations() > cancelled:
                raise
            return await self._exchange(command, question, heard)

    @abstractmethod
    async def _exchange(self, command: Request, question: Question, heard: _Heard) -> Any:
        """Return the reply; CancelledError tells that nothing was sent, or a task is cancelled."""


class _PoolStore(_AwaitingStore):
    """Asks over connections from the pool of an asyncio client."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._wanted = pool_arguments(client.connection_pool)
        self._turns = task_turns(client.connection_pool)

    async def _exchange(self, command: Request, question: Question, heard: _Heard) -> Any:
        sent, cancelled = False, _cancellations()
        connection = await self._connection_for(question)
        try:
            _raise_if_cancelled_since(cancelled)
            if _is_useless(connection):
                await _drop(connection)
            await connection.send_packed_command((packed(command),))
            sent = True
            _raise_if_cancelled_since(cancelled)
            reply = await _read(connection)
        except CancelledError as error:
            # Whatever is left to do, a second cancellation is not to cut it short.
            in_background(
                self._outlive(connection, heard) if sent else self._release(connection, error)
            )
            if sent and _cancellations() == cancelled:
                raise Broken from error
            raise
        except BaseException as error:
            await self._release(connection, error)
            if self._breaks(error):
                raise Broken from error
            raise
        await self._return(connection, reply, heard)
        return reply

    async def _connection_for(self, question: Question) -> Any:
        """Return a connection once there is one."""
        pool = self._client.connection_pool
        patience = patience_for(question, patience_of(pool.connection_kwargs, pool))
        return await self._turns.get(self._connect, patience, urgent=is_urgent(question))

    async def _connect(self) -> Any:
        pool, spared = self._client.connection_pool, AT_ONCE.set(True)
        try:
            if _has_one(pool):
                return await self._get_twice()
            async with timeout(connecting_of(pool)):
                return await self._get_twice()
        except self._failures as error:
            self._raise_shortage(error)
            raise
        except Exception as error:  # what an application gives a client, such as for its password
            raise failure_of(error, sent=False) from error
        finally:
            AT_ONCE.reset(spared)

    async def _get_twice(self) -> Any:
        try:
            try:
                return await self._get()
            except self._failures as error:
                if not is_closed(error):
                    raise
                # A server that is full says so and hangs up, of which only the latter may be heard.
                return await self._get()
        except CancelledError:
            await self._drop_last()
            raise

    async def _get(self) -> Any:
        pool = self._client.connection_pool
        _leave_loop(pool)
        try:
            return await pool.get_connection(*self._wanted)
        except RuntimeError:  # what is idle may belong to a loop that is over
            with suppress(RuntimeError):
                await pool.disconnect(inuse_connections=False)
            return await pool.get_connection(*self._wanted)

    async def _drop_last(self) -> None:
        """Drop the connection that was being made: its greeting may be answered yet (P32).

        The pool has just taken it back; there is no public way to tell it from the others.
        """
        idle: list[Any] = list(getattr(self._client.connection_pool, "_available_connections", ()))
        for connection in idle[-1:]:
            await connection.disconnect(nowait=True)

    async def _outlive(self, connection: Any, heard: _Heard) -> None:
        """Read the reply that a cancelled task has left behind."""
        try:
            reply = await _read(connection)
        except BaseException as error:
            await self._release(connection, error)
            if isinstance(error, self._failures):
                return
            raise
        await self._release(connection)
        heard(reply)

    async def _return(self, connection: Any, reply: Any, heard: _Heard) -> None:
        """Return a connection to the pool; a task that is cancelled meanwhile hears no reply."""
        try:
            await self._release(connection)
        except CancelledError:
            in_background(self._return_again(connection, reply, heard))
            raise

    async def _return_again(self, connection: Any, reply: Any, heard: _Heard) -> None:
        with suppress(KeyError, ValueError):  # it may have been returned
            await self._release(connection)
        heard(reply)

    async def _release(self, connection: Any, error: BaseException | None = None) -> None:
        try:
            if error is not None and self._spoils(error):
                await connection.disconnect(nowait=True)
            await self._client.connection_pool.release(connection)
        finally:
            self._turns.wake()


def _has_one(pool: Any) -> bool:
    """Tell whether a pool has a connection at hand, so that nobody has to wait for it.

    Otherwise it may take a while, which costs a timer. There is no public way to tell.
    """
    idle: Any = getattr(pool, "_available_connections", None)
    lock: Any = getattr(pool, "_lock", None)
    if not idle or (lock and lock.locked()):
        return False
    return bool(idle[-1].is_connected) and not _is_useless(idle[-1])


def _is_useless(connection: Any) -> bool:
    """Tell whether no reply could come over a connection, which is then made anew for sending.

    The server has ended it, for pools that expect notifications and nodes of clusters do not look;
    or it belongs to another event loop, such as that of an earlier `asyncio.run`, and a call would
    be charged before it failed. There is no public way to tell.
    """
    reader = getattr(connection, "_reader", None)
    if reader is None:
        return False
    loop = get_running_loop()
    return reader.at_eof() or getattr(reader, "_loop", loop) is not loop


async def _drop(connection: Any) -> None:
    with suppress(RuntimeError):  # of a loop that is closed
        await connection.disconnect(nowait=True)


def _leave_loop(pool: Any) -> None:
    """Let a pool go on in this loop, if it has locks of one that is closed.

    A lock belongs to the first loop in which somebody had to wait for it. There is no public way to
    tell, or to replace it.
    """
    for name in ("_lock", "_condition"):
        lock: Any = getattr(pool, name, None)
        loop: Any = getattr(lock, "_loop", None)
        if loop is not None and loop.is_closed():
            setattr(pool, name, type(lock)())


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


class _ClusterStore(_AwaitingStore):
    """Asks the node that has the keys, from a task."""

    def __init__(self, client: Any, library: str) -> None:
        super().__init__(client, library)
        self._turns = task_turns(client)

    async def _exchange(self, command: Request, question: Question, heard: _Heard) -> Any:
        call = in_background(self._in_turn(command, question))
        try:
            return await shield(call)
        except CancelledError:
            call.add_done_callback(partial(_hand_over, heard))
            raise

    async def _in_turn(self, command: Request, question: Question) -> Any:
        patience = patience_for(question, patience_of(self._client.get_connection_kwargs()))
        execute = partial(self._execute, command)
        return await self._turns.get(execute, patience, urgent=is_urgent(question))

    async def _execute(self, command: Request) -> Any:
        AT_ONCE.set(True)  # in the context of the background's task
        await self._client.initialize()
        name, *arguments = command
        node = self._client.get_node_from_key(command[3])
        for connection in list(getattr(node, "_free", ())):
            if _is_useless(connection):
                await _drop(connection)
        try:
            return await self._client.execute_command(name.decode(), *arguments, target_nodes=node)
        except Exception as error:
            self._raise_shortage(error)
            if self._breaks(error):
                raise Broken from error
            raise


def _hand_over(heard: _Heard, call: Task[Any]) -> None:
    if not call.cancelled() and call.exception() is None:
        heard(call.result())
