"""What can go wrong with a server, and what is said of it.

The class of a client's error says little: libraries raise a kind of `ConnectionError` for some of a
server's answers, which would then pass for lost replies. The server's own code decides. Whatever it
has answered with an error, it has done nothing, so that a repeated cancel, refund or settle counts.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from ..exceptions import BackendError
from ..shared.failures import BucketFailure, NoAnswer, NoConnection, Refused, ReplyLost, TooMuch

__all__ = ["code_of", "failure_of", "is_answer", "is_closed", "is_shortage"]


class _Meaning(NamedTuple):
    hint: str
    kind: type[BackendError] = BackendError


_FOREIGN = _Meaning(
    "the value under its key is not that of a bucket; use another name or prefix", BucketFailure
)
_RIGHTS = "the user needs EVALSHA, EVAL, GET, SET and TIME on the keys of the prefix"
_PASSWORD = _Meaning("the password or user is wrong")
_MEANINGS = {
    "ASK": _Meaning("its slot is being moved to another node; try again", BucketFailure),
    "AUTH": _PASSWORD,
    "BUSY": _Meaning("the server is busy with a script that does not end"),
    "CLUSTERDOWN": _Meaning("the cluster is down, or no node serves the slot of its key"),
    "CORRUPT": _FOREIGN,
    "CROSSSLOT": _Meaning(
        "buckets of a group must share a hash tag: name them '{tenant}:requests'...", BucketFailure
    ),
    "DENIED": _Meaning("the server is in protected mode, and takes no clients of other hosts"),
    "LOADING": _Meaning("the server is loading its data"),
    "LOOP": _Meaning("the client belongs to another event loop; make a client for each"),
    "MASTERDOWN": _Meaning("the server is a replica, and its primary is away"),
    "MISCONF": _Meaning("the server cannot save its data, and takes no writes until it can"),
    "MOVED": _Meaning("the server is a cluster's; use the library's RedisCluster client"),
    "NOAUTH": _Meaning("the client has no password"),
    "NOPERM": _Meaning(_RIGHTS, BucketFailure),  # its key
    "NOPROTO": _Meaning("the server does not speak the client's protocol; try protocol=2"),
    "NOREPLICAS": _Meaning("the server has fewer replicas than its min-replicas-to-write"),
    "NORUN": _Meaning(_RIGHTS),  # a command, with whatever key
    "OOM": _Meaning("the server has reached its maxmemory"),
    "OVERFLOW": _Meaning("the bucket would be in debt for more than a century", TooMuch),
    "PRIMARY": _Meaning("Sentinel knows no primary"),
    "READONLY": _Meaning("the server is a replica"),
    "TRYAGAIN": _Meaning("its keys are being moved to another node; try again", BucketFailure),
    "UNKILLABLE": _Meaning("the server is busy with a script that cannot be ended"),
    "UNKNOWN": _Meaning("the server runs no scripts (EVALSHA)"),
    "WRONGPASS": _PASSWORD,
    "WRONGTYPE": _FOREIGN,
}
_SHORTAGES = {
    "CONNECTIONS": "the client's pool has no connection left",
    "FILES": "the process has no file descriptor left",
    "MAXCLIENTS": "the server takes no more clients (its maxclients)",
}
_PHRASES = {  # that stand for a code; the first one counts
    "permissions to run": "NORUN",
    "user executing the script can't run": "NORUN",
    "ACL failure in script": "NOPERM",
    "Authentication required": "NOAUTH",
    "a different event loop": "LOOP",
    "HELLO must be called with the client already authenticated": "NOAUTH",
    "No connection available": "CONNECTIONS",
    "Too many connections": "CONNECTIONS",
    "max number of clients": "MAXCLIENTS",
    "unauthenticated multibulk length": "NOAUTH",
    "unknown command": "UNKNOWN",
}
_CLASSES = {  # of errors whose text the libraries strip of its code
    "AskError": "ASK",
    "AuthenticationError": "AUTH",
    "AuthorizationError": "AUTH",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MasterNotFoundError": "PRIMARY",
    "MaxConnectionsError": "CONNECTIONS",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "SlotNotCoveredError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
}
# Answers of a server whose classes some libraries derive from that of a lost connection.
_ANSWERS = {"AuthenticationError", "AuthorizationError", "BusyLoadingError"}
_NOBODY = {errno.ECONNREFUSED, errno.ENOENT}  # at the port, or at the socket in the file system
_NO_WAY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH}  # such as to ::1
_NO_FILE = {errno.EMFILE, errno.ENFILE}
_CLOSED = {errno.ECONNRESET, errno.EPIPE}
# Of several addresses that were tried; or of an error that the client's own has taken the place of.
_NUMBERS = re.compile(r"(?:\[Errno |^Error )(\d+)\b")


def is_answer(error: BaseException) -> bool:
    """Tell whether an error is what the server has answered, so that it has done nothing."""
    names = {base.__name__ for base in type(error).__mro__}
    return "ResponseError" in names or type(error).__name__ in _ANSWERS


def is_shortage(error: BaseException) -> bool:
    """Tell whether a call found no connection that it could ask over, and others may have one.

    Some clients of clusters look for other nodes then, and say in the end that they find none. What
    failed first counts: nothing has been sent.
    """
    first = [each for each in _chain(error) if not isinstance(each, LookupError)][-1:]
    return any(code_of(each) in _SHORTAGES for each in (error, *first))


def is_closed(error: BaseException) -> bool:
    """Tell whether the server has ended a connection."""
    return bool(_CLOSED & _numbers(error)) or "Connection closed by server" in str(error)


def code_of(error: BaseException) -> str:
    """Return the server's code for an error, which before 7.0 stands amid that of a script.

    What the client says by itself has a code of its own; what is unknown has none.
    """
    text = str(error)
    for phrase, code in _PHRASES.items():
        if phrase in text:
            return code
    if type(error).__name__ in _CLASSES:
        return _CLASSES[type(error).__name__]
    if not is_answer(error):  # whose words are not the server's
        return _files(error)
    words = (word.strip("-:") for word in text.split())
    return next((word for word in words if word in _MEANINGS), "")


def failure_of(error: BaseException, sent: bool) -> BackendError:
    """Return the error to raise, which names neither keys nor servers (P26).

    Args:
        error: What the client has raised.
        sent: Whether something may have been sent, and no answer has come.
    """
    hint, kind = _meaning_of(error, sent)
    return kind(f"the store of the bucket failed: {hint} ({type(error).__name__})")


def _meaning_of(error: BaseException, sent: bool) -> _Meaning:
    code = code_of(error)
    if is_shortage(error):
        return _Meaning(_SHORTAGES.get(code, _SHORTAGES["CONNECTIONS"]), NoConnection)
    if code in _MEANINGS:
        return _MEANINGS[code]
    if is_answer(error):
        return _Meaning("it answered with an error")
    if _is_refused(error):
        return _Meaning("nobody is there", Refused)
    return _Meaning("no answer", ReplyLost if sent else NoAnswer)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what has led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _numbers(error: BaseException) -> set[int]:
    """Return the numbers of the system's errors that have led to an error."""
    numbers: set[int] = set()
    for each in _chain(error):
        number = each.errno if isinstance(each, OSError) else None
        told = {number} if number else set(map(int, _NUMBERS.findall(str(each))))
        numbers |= {number for number in told if number > 0}
    return numbers


def _is_refused(error: BaseException) -> bool:
    """Tell whether nobody is there, at any of the addresses that a name may have."""
    numbers = _numbers(error)
    return bool(numbers & _NOBODY) and numbers <= _NOBODY | _NO_WAY


def _files(error: BaseException) -> str:
    """Return FILES if a connection could not be made for want of one."""
    if _NO_FILE & _numbers(error):
        return "FILES"
    # Without a file the name of a host cannot be looked up, which is then all that is said.
    unnamed = any(isinstance(each, socket.gaierror) for each in _chain(error))
    return "FILES" if unnamed and not _file_left() else ""


def _file_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
