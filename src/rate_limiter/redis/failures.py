"""What can go wrong with a server, and what is said of it."""

from __future__ import annotations

from ..exceptions import BackendError

__all__ = ["BucketFailure", "NoConnection", "ReplyLost", "TooMuch", "code_of", "failure_of"]

_HINTS = {
    "AUTH": "the password or user is wrong",
    "CONNECTIONS": "the client's pool has no connection left",
    "CORRUPT": "the value under its key is not that of a bucket; use another name or prefix",
    "CROSSSLOT": "buckets of a group must share a hash tag: name them '{tenant}:requests'...",
    "LOOP": "the client belongs to another event loop; make a client for each",
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
    "a different event loop": "LOOP",
    "HELLO must be called with the client already authenticated": "NOAUTH",
    "Too many connections": "CONNECTIONS",
    "unauthenticated multibulk length": "NOAUTH",
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


_KINDS = {
    "CONNECTIONS": NoConnection,
    **dict.fromkeys(["CORRUPT", "CROSSSLOT", "NOPERM", "WRONGTYPE"], BucketFailure),
    "OVERFLOW": TooMuch,
}


def code_of(error: BaseException) -> str:
    """Return the server's code for an error, which before 7.0 stands amid that of a script."""
    text = str(error)
    for phrase, code in _PHRASES.items():
        if phrase in text:
            return code
    words = [word.strip("-:") for word in text.split()]
    found = next((word for word in words if word in _HINTS), "")
    return _CODES.get(type(error).__name__, found)


def failure_of(error: BaseException, unknown: str) -> BackendError:
    """Return the error to raise, which names neither keys nor servers (P26).

    Args:
        error: What the client has raised.
        unknown: What to say if nothing better is known.
    """
    code = code_of(error)
    kind, hint = _KINDS.get(code, BackendError), _HINTS.get(code, unknown)
    return kind(f"the store of the bucket failed: {hint} ({type(error).__name__})")
