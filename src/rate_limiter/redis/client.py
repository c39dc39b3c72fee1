"""Which client a caller has, and what is to be known of it."""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..rates import shown

__all__ = [
    "AT_ONCE",
    "client_errors",
    "connecting_of",
    "is_async",
    "is_cluster",
    "library_of",
    "patience_of",
    "pool_arguments",
    "spare_retries",
]

_LIBRARIES = ("redis", "valkey")
_PATIENCE = 5.0  # seconds to wait for a connection of a client that has no timeout

AT_ONCE: Final[ContextVar[bool]] = ContextVar("AT_ONCE", default=False)
"""Whether what this thread or task does with a client is to be tried once only."""


def library_of(client: Any, bucket: str, wanted: str) -> str:
    """Return which library a client is of.

    Args:
        client: What the caller has given.
        bucket: The class that needs it.
        wanted: What would be right.

    Raises:
        TypeError: It is no client.
    """
    bases = type(client).__mro__
    usable = hasattr(client, "evalsha") and not any("Pipeline" in base.__name__ for base in bases)
    modules = {base.__module__.partition(".")[0] for base in bases}
    for library in _LIBRARIES:
        if usable and library in modules:
            return library
    raise TypeError(f"{bucket} needs a client such as {wanted}, got {shown(type(client).__name__)}")


def is_cluster(client: Any) -> bool:
    """Tell whether a client knows of several nodes."""
    return hasattr(client, "get_node_from_key")


def is_async(client: Any) -> bool:
    """Tell whether a client's commands are awaited."""
    return inspect.iscoroutinefunction(getattr(client, "execute_command", None))


def client_errors(library: str) -> tuple[type[BaseException], ...]:
    """Return what a client may raise."""
    errors, title = sys.modules[f"{library}.exceptions"], library.title()
    return getattr(errors, f"{title}Error"), getattr(errors, f"{title}ClusterException"), OSError


def pool_arguments(pool: Any) -> tuple[str, ...]:
    """Return what `get_connection` must be given: before redis-py 5.3 the name of a command."""
    parameters = list(inspect.signature(pool.get_connection).parameters.values())
    return ("EVALSHA",) if parameters and parameters[0].default is inspect.Parameter.empty else ()


def patience_of(options: dict[str, Any], pool: Any = None) -> float:
    """Return for how many seconds a call may wait for a connection.

    A pool that makes its callers wait has a timeout for that; for others it is the one for replies.

    Args:
        options: What connections are made with.
        pool: Where they come from, if that is a pool.
    """
    timeout = getattr(pool, "timeout", None)
    if timeout is None:
        timeout = options.get("socket_timeout")
    return _PATIENCE if timeout is None else float(timeout)


def connecting_of(pool: Any) -> float:
    """Return for how many seconds a pool may take to hand out a connection.

    Some make one connection at a time, so that while a server does not answer each caller waits for
    those before it.
    """
    waiting = getattr(pool, "timeout", None) or 0
    timeout = pool.connection_kwargs.get("socket_connect_timeout")
    return waiting + (patience_of(pool.connection_kwargs) if timeout is None else timeout)


_spared: WeakKeyDictionary[Any, type[Any]] = WeakKeyDictionary()  # types, by the types they replace


def spare_retries(client: Any) -> None:
    """Let a client connect for a bucket without tries and pauses of its own.

    Nobody at the port is an outage at once, and the fallback is to answer at once; the client would
    try again for seconds. For everything else it is used for, it tries as often as it was told.
    """
    retry: Any = client.get_retry() if hasattr(client, "get_retry") else None
    if retry is None or isinstance(retry, _Spared):
        return
    spared: Any = object.__new__(_spared_type(retry.__class__, awaited=is_async(client)))
    slots = [name for base in type(retry).__mro__ for name in getattr(base, "__slots__", ())]
    for name in [*slots, *getattr(retry, "__dict__", ())]:
        setattr(spared, name, getattr(retry, name))
    client.set_retry(spared)


class _Spared:
    """The tries of a client, which are spared within `AT_ONCE`."""


def _spared_type(kind: type[Any], awaited: bool) -> type[Any]:
    found = _spared.get(kind)
    if found is None:
        base = _SparedTasks if awaited else _SparedThreads
        found = _spared[kind] = type(kind.__name__, (base, kind), {"__hash__": kind.__hash__})
    return found


class _SparedThreads(_Spared):
    def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        retries: Any = super()
        if not AT_ONCE.get():
            return retries.call_with_retry(do, fail, *args, **options)
        try:
            return do()
        except Exception as error:
            _failed(fail, error, options)
            raise


class _SparedTasks(_Spared):
    async def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        retries: Any = super()
        if not AT_ONCE.get():
            return await retries.call_with_retry(do, fail, *args, **options)
        try:
            return await do()
        except Exception as error:
            done = _failed(fail, error, options)
            if inspect.isawaitable(done):
                await done
            raise


def _failed(fail: Any, error: Exception, options: dict[str, Any]) -> Any:
    return fail(error, 1) if options.get("with_failure_count") else fail(error)
