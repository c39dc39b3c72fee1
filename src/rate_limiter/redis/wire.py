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
from typing import Any

from ..exceptions import BackendError
from ..rates import shown
from .failures import ReplyLost, code_of, failure_of
from .script import SOURCE, Request

__all__ = ["BaseWire", "Broken", "is_async", "is_cluster", "library_of", "pool_arguments"]

_LIBRARIES = ("redis", "valkey")
_NOTHING_DONE = {"AUTH", "CONNECTIONS", "NOAUTH"}  # which some versions take for lost connections
_SOURCED: tuple[Any, ...] = (b"EVAL", SOURCE)


class Broken(Exception):
    """A connection failed after something was sent; the cause says how."""


class BaseWire:
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
        """Return the error to raise instead of a client's."""
        answered = isinstance(error, self._answers)
        return failure_of(error, "it answered with an error" if answered else "no answer")

    def _lost(self, error: BaseException | None) -> ReplyLost:
        """Return the error to raise when something was sent, and no answer came."""
        return ReplyLost(f"the store of the bucket failed: no answer ({type(error).__name__})")

    def _breaks(self, error: BaseException) -> bool:
        """Tell whether an error after something was sent leaves open what has been done."""
        known = isinstance(error, self._answers) or code_of(error) in _NOTHING_DONE
        return isinstance(error, self._failures) and not known

    def _loading(self, request: Request) -> Request:
        """Return the call for a server that does not know the script."""
        return (*_SOURCED, *request[2:])


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


def pool_arguments(pool: Any) -> tuple[str, ...]:
    """Return what `get_connection` must be given: before redis-py 5.3 the name of a command."""
    parameters = list(inspect.signature(pool.get_connection).parameters.values())
    return ("EVALSHA",) if parameters and parameters[0].default is inspect.Parameter.empty else ()
