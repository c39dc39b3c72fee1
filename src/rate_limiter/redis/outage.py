"""What is decided while the server is away, and when to try it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..clock import NANO
from ..memory.transaction import Write, step

__all__ = ["PAUSE", "Outage", "outage_of"]

_LOG = logging.getLogger("rate_limiter.redis")
PAUSE = 1.0  # seconds for which the fallback decides before a call tries the server again


class Outage:
    """Notices that a server is away, and back again; for all buckets of a client.

    While it is away, one call a second tries it, within the client's own timeouts; the others are
    spared that. There is one warning for each outage.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._next_try: int | None = None
        self._overrun = False

    def skips(self) -> bool:
        """Tell whether to leave the server alone for now; whoever is told no, tries it."""
        return self._next_try is not None and step(self._skip, self._now())

    def _skip(self, now: int) -> tuple[bool, list[Write]]:
        if self._next_try is None or now < self._next_try:
            return self._next_try is not None, []
        return False, [(setattr, (self, "_next_try", now + round(PAUSE * NANO)))]

    def failed(self, reason: BaseException) -> None:
        """Note that the server did not answer."""
        if self._note(self._now() + round(PAUSE * NANO)) is None:
            _LOG.warning("%s; the fallback decides until it is back", reason)

    def overrun(self, reason: BaseException) -> None:
        """Note that a call could not ask the server, which the next one may."""
        before, self._overrun = self._overrun, True
        if not before:
            _LOG.warning("%s; the fallback decides for calls that get none", reason)

    def worked(self) -> None:
        """Note that the server has answered."""
        self._overrun = False
        if self._next_try is not None and self._note(None) is not None:
            _LOG.info("the store of the bucket is back")

    def _note(self, next_try: int | None) -> int | None:
        return step(lambda: (self._next_try, [(setattr, (self, "_next_try", next_try))]))


_outages: WeakKeyDictionary[object, Outage] = WeakKeyDictionary()


def outage_of(client: object, now: Callable[[], int]) -> Outage:
    """Return the one outage of a client."""
    return _outages.setdefault(client, Outage(now))
