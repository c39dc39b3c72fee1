"""The script that decides, and how it is called."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, TypeAlias

from .terms import Terms

__all__ = ["SOURCE", "Charges", "Limit", "Request", "request"]

SOURCE = files(__package__ or "").joinpath("take.lua").read_bytes()
_SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
_PACK = struct.Struct("<d").pack

Request: TypeAlias = Sequence[Any]
"""A call of the script, by its digest: EVALSHA and its arguments."""


class Limit:
    """The key of a bucket on the server, and the terms of its limit."""

    __slots__ = ("key", "terms")

    def __init__(self, key: bytes, terms: Terms) -> None:
        self.key = key
        self.terms = terms


Charges: TypeAlias = Sequence[tuple[Limit, int]]
"""What to charge, in units of each limit's terms."""


def request(
    operation: bytes, charges: Charges, argument: int = 0, tickets: Iterable[bytes] = ()
) -> Request:
    """Return a call of the script; see there for operations, arguments and replies.

    It is empty if nothing is asked of any bucket: then there is nothing to send.
    """
    if not charges:
        return ()
    return (
        b"EVALSHA",
        _SHA,
        len(charges),
        *[limit.key for limit, _ in charges],
        operation,
        b"".join([_PACK(argument), *[limit.terms.packed(units) for limit, units in charges]]),
        *[code for limit, _ in charges for code in limit.terms.codes],
        *tickets,
    )
