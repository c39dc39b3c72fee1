"""What can go wrong with a store, and what follows from it."""

from __future__ import annotations

from ..exceptions import BackendError

__all__ = ["BucketFailure", "NoAnswer", "NoConnection", "Refused", "ReplyLost", "TooMuch"]


class BucketFailure(BackendError):
    """The store is there, but cannot decide for this one bucket."""


class NoAnswer(BackendError):
    """Nobody answered this call. A store that answers another one is there."""


class NoConnection(BackendError):
    """This one call could not ask the store: the client has no connection or file left for it."""


class Refused(NoAnswer):
    """Nobody is where the store should be: it is away, and one failure is enough to know it."""


class TooMuch(BackendError):
    """The store is there, and cannot count so large a debt: no fallback may allow it instead."""


class ReplyLost(NoAnswer):
    """A call was sent and its reply did not come: nobody knows what has been done."""
