"""What is decided while a store is away, and when to try it again.

One failed call is one failed call: the fallback decides it alone. An outage, for which the fallback
decides without asking, begins when nobody is there, or with three failures in a row (P39).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ..clock import NANO
from ..exceptions import BackendError
from .failures import BucketFailure, NoAnswer, NoConnection, Refused, TooMuch

__all__ = ["PAUSE", "BucketOutage", "Outage", "outage_of"]

_LOG = logging.getLogger("rate_limiter")
PAUSE = 1.0  # seconds for which the fallback decides before a call tries the store again
_ROW = 3  # failures one after the other that make an outage
_LOST = 15 * NANO  # after which a call that tried the store and did not report is given up
_PRESENT = "present"  # the one key of an outage that lasts
_QUIET = 60 * NANO  # between two warnings that calls find no connection

Told = Callable[[BackendError], None]


def _tell_nobody(_: BackendError) -> None:
    """Be what an outage is told to if nobody wants to know."""


class _Away:
    """One outage.

    Attributes:
        turns: Holds when the store is to be tried again, unless somebody tries it now. To take it
            out is one step, so that one thread or signal handler gets it; no lock is needed.
        tried: When it was taken out.
        declined: Whether the store has answered that it cannot do what it was asked.
        answers: Whether it has answered without an error since, though nothing was written.
    """

    __slots__ = ("answers", "declined", "tried", "turns")

    def __init__(self, due: int, declined: bool) -> None:
        self.turns = deque([due], maxlen=1)
        self.tried = due
        self.declined = declined
        self.answers = False


class Outage:
    """Notices that a store is away, and back again; for all buckets of a client.

    While it is away, one call at a time tries it, about once a second, and the others are spared
    that. There is one warning for each outage, and one word at its end. A store that does not
    answer is back with any answer. One that answers with errors, such as a server out of memory, is
    back with a write; until then everybody asks again once it has told a level or refused a call,
    for what it can decide no fallback is to decide.

    Args:
        now: The clock, in nanoseconds.
        began: Called with the error that began an outage, once for each.
    """

    def __init__(self, now: Callable[[], int], began: Told = _tell_nobody) -> None:
        self.began = began
        self._now = now
        self._row: deque[bool] = deque(maxlen=_ROW)  # whether each was declined
        self._away: dict[str, _Away] = {}  # of at most one; a dictionary changes in one step
        self._quiet: dict[str, int] = {}  # until when not to warn of what

    def skips(self) -> bool:
        """Tell whether to leave the store alone for now; if not, the caller asks and reports."""
        away = self._away.get(_PRESENT)
        if away is None or away.answers:
            return False
        now = self._now()
        try:
            due = away.turns.pop()
        except IndexError:  # somebody tries it
            if now < away.tried + _LOST:
                return True
            due = now
        if now < due:
            away.turns.append(due)
            return True
        away.tried = now
        return False

    def untried(self) -> None:
        """Note that the call that was to try the store has found out nothing: another is to."""
        away = self._away.get(_PRESENT)
        if away is not None and not away.turns:
            away.turns.append(self._now())

    def failed(self, error: BackendError) -> None:
        """Note that a call has failed."""
        if isinstance(error, NoConnection):
            self._note_shortage(error)
        elif isinstance(error, (BucketFailure, TooMuch)):
            self.worked(wrote=False)
        else:
            self._note_failure(error, at_once=isinstance(error, Refused))

    def worked(self, wrote: bool) -> None:
        """Note that the store has answered.

        Args:
            wrote: Whether something was kept. Else it neither breaks a row of errors that were
                answered nor ends their outage: a server out of memory says how full a bucket is.
        """
        if self._row and (wrote or True not in self._row):
            self._row.clear()
        away = self._away.get(_PRESENT)
        if away is None:
            return
        if away.declined and not wrote:
            away.answers = True
            away.turns.append(self._now())
        elif self._away.pop(_PRESENT, None) is not None:
            _LOG.info("the store of the bucket is back")

    def _note_failure(self, error: BackendError, at_once: bool) -> None:
        declined = not isinstance(error, NoAnswer)
        self._row.append(declined)
        away, pause = self._away.get(_PRESENT), round(PAUSE * NANO)
        if away is not None:
            tried = away.answers or not away.turns
            away.declined, away.answers = away.declined or declined, False
            if tried:  # else it is one that was under way before
                away.turns.append(self._now() + pause)
        elif at_once or len(self._row) == _ROW:
            # Calls that fail together may have met one bad moment, so it is tried again at once.
            fresh = _Away(self._now() + (pause if at_once else 0), True in self._row)
            if self._away.setdefault(_PRESENT, fresh) is fresh:
                self._warn_of(error)
                self.began(error)

    def _warn_of(self, error: BackendError) -> None:
        _LOG.warning("%s; the fallback decides until it is back", error)

    def _note_shortage(self, error: NoConnection) -> None:
        """Warn that calls find no connection; nobody else hears of it."""
        self.untried()
        self.warn_now_and_then("%s; the fallback decides for calls that get none", error)

    def warn_now_and_then(self, message: str, error: BackendError) -> None:
        """Warn of an error, unless there was a warning of the same within a minute."""
        now, text = self._now(), str(error)
        if now >= self._quiet.get(text, now):
            self._quiet[text] = now + _QUIET
            _LOG.warning(message, error)


class BucketOutage(Outage):
    """Notices that a store cannot decide for one bucket, whatever it does for the others.

    Args:
        now: As for `Outage`.
        client: The outage of the client, which warns once for all the buckets that have the same
            fault: there may be one for each user.
    """

    def __init__(self, now: Callable[[], int], client: Outage) -> None:
        super().__init__(now)
        self._client = client

    def _warn_of(self, error: BackendError) -> None:
        self._client.warn_now_and_then("%s; the fallback decides until it is back", error)

    def failed(self, error: BackendError) -> None:
        """Note that a call has failed; only a failure of the bucket's own matters."""
        if isinstance(error, BucketFailure):
            self._note_failure(error, at_once=True)
        else:
            self.untried()


_outages: WeakKeyDictionary[object, dict[Any, Outage]] = WeakKeyDictionary()


def outage_of(client: object, now: Callable[[], int], began: Told = _tell_nobody) -> Outage:
    """Return the one outage of a client; buckets on a clock of a test have one of their own."""
    return _outages.setdefault(client, {}).setdefault(now, Outage(now, began))
