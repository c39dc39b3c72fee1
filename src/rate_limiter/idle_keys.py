"""Which keys of a keyed limiter can be dropped, or laid to rest, and when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Generic

from .clock import seconds
from .entries import Entry, chain
from .exceptions import RateLimitExceeded
from .instrumentation.decisions import tell_refused
from .key_table import KeyTable
from .limiter import B_co
from .memory.transaction import step

__all__ = ["IdleKeys"]

_SWEPT = 6  # keys looked at for each that is added: what lingers is a fraction of what is in use
_TURN = 8  # keys added at rest until some are looked at, as many at once as are due
_MOST_TRIED = 64  # full buckets that a refused key finds to be held by somebody before it gives up


class IdleKeys(KeyTable[B_co], Generic[B_co]):
    """Drop keys whose bucket is full and that nobody holds, and lay others that are idle to rest.

    A full bucket cannot be told from a new one. They are looked for a few at a time, whenever a key
    is added or gets a bucket, and one by one when there is no room.
    """

    def _begin(self) -> None:
        super()._begin()
        self._unswept: Iterator[Entry] = iter(())
        self._turn = 0
        # When the bucket of a key in use was full, in units, as it was last looked at.
        self._seen: dict[Entry, int] = {}
        # Only when crowded: a heap of entries and of keys at rest, by the nanosecond at which they
        # can be dropped, or an earlier one. It only says where to look, so no key is lost when
        # threads disturb it.
        self._queue: list[tuple[int, int, Any]] = []
        self._order = itertools.count()

    def _sweep(self) -> None:
        """Look at the next few keys in use and at rest, because one has come into use."""
        entries = list(islice(self._unswept, _SWEPT))
        if len(entries) < _SWEPT:
            self._unswept = iter(self._all())
        for entry in entries:
            self._drop_if_idle(entry)
        self._keys.sweep(_SWEPT)

    def _tend(self, key: Any) -> None:
        """Look at the next keys, if it is time, because a key was added that is at rest.

        Many are looked at once in a while, which takes less time than a few each time.
        """
        self._turn += 1
        if self._turn >= _TURN:
            self._turn = 0
            self._keys.sweep(_TURN * _SWEPT)
            if self._entries:
                self._sweep()
        if self._queue:
            self._note(key, self._keys.now())

    def _all(self) -> list[Entry]:
        """Return the entries of all keys in use."""
        while True:
            try:
                entries = list(self._entries.values())
            except RuntimeError:  # a finalizer has changed them meanwhile
                continue
            return [entry for first in entries for entry in chain(first)]

    def _note(self, key: Any, now: int) -> None:
        """Put a key that was added into the queue of those to drop, if there is one."""
        if not self._queue:
            return
        if 2 * self._keys.count < self._max_keys or len(self._queue) > 2 * self._max_keys:
            self._queue = []
        else:
            heapq.heappush(self._queue, (now, next(self._order), key))

    def _make_room(self, now: int) -> bool:
        """Drop an idle key if none is free, or refuse until there is one.

        Returns:
            Whether there is room; False only in a dry run, which refuses nobody.
        """
        keys = self._keys
        if keys.count < self._max_keys:
            return True
        if not self._queue:
            self._queue = self._listed(now)
        held: list[Entry] = []
        while (
            keys.count >= self._max_keys
            and len(held) < _MOST_TRIED
            and self._first_drop(now) == now
        ):
            held += self._drop_first(now)
        first = self._first_drop(now) if len(held) < _MOST_TRIED else None
        for entry in held:
            heapq.heappush(self._queue, (now, next(self._order), entry))
        if keys.count >= self._max_keys:
            self._refuse(None if first is None else seconds(first - now))
            return False
        return True

    def _refuse(self, retry_after: float | None) -> None:
        error = RateLimitExceeded(
            f"rate limit exceeded: max_keys={self._max_keys} keys are in use",
            retry_after=retry_after,
        )
        if self.dry_run:
            tell_refused("would_refuse", self._source, None, error)
            return
        tell_refused("refused", self._source, None, error)
        try:
            raise error
        finally:
            del error  # or it would keep this frame, and that of every caller, until the next gc

    def _listed(self, now: int) -> list[tuple[int, int, Any]]:
        """Return a heap of all keys."""
        everybody = [*self._all(), *self._keys.listed()]
        queue = [
            (now + (self._full_in(one, now) or 0), next(self._order), one) for one in everybody
        ]
        heapq.heapify(queue)
        return queue

    def _drop_first(self, now: int) -> list[Entry]:
        """Drop the first in the queue if it is idle; return it if somebody holds it."""
        try:
            first = heapq.heappop(self._queue)[2]
        except IndexError:  # another thread has just done so
            return []
        if not isinstance(first, Entry):
            self._keys.drop([first], now * self._scale)
            return []
        self._drop_if_idle(first)
        return [] if first.gone else [first]

    @property
    def _scale(self) -> int:
        limit = self._keys.limit
        return 1 if limit is None else limit.scale

    def _first_drop(self, now: int) -> int | None:
        """Return the nanosecond at which the first key in the queue can be dropped."""
        while (first := next(iter(self._queue), None)) is not None:
            instant, _, one = first
            left = self._full_in(one, now)
            with suppress(IndexError):  # as in `_drop_first`
                if left is None:
                    heapq.heappop(self._queue)
                elif now + left > instant:
                    heapq.heapreplace(self._queue, (now + left, next(self._order), one))
                else:
                    return max(instant, now)
        return None

    def _full_in(self, one: Any, now: int) -> int | None:
        """Return the nanoseconds until an entry, or a key at rest, is full; None if it is gone."""
        if not isinstance(one, Entry):
            return self._keys.full_in(one, now)
        limiter = one.limiter or self._revive(one)
        return None if limiter is None else limiter.bucket._full_in()

    def _drop_if_idle(self, entry: Entry) -> None:
        """Drop a key, or lay it to rest, if it is idle and nobody holds it."""
        limiter = entry.limiter
        if limiter is not None:
            if not self._is_idle(entry, limiter.bucket):
                return
            self._let_go(entry, limiter)
            del limiter
        let_go = entry.let_go_of
        if let_go is None or entry.gone:
            return
        life, alias = let_go
        if life() is None and self._ends_use(entry, let_go, alias):
            return
        self._revive(entry)

    def _is_idle(self, entry: Entry, bucket: Any) -> bool:
        """Tell whether to see if anybody holds a bucket: it is full, or is not being used.

        One that is not full is used as long as `full_at` changes from one look to the next, so that
        a busy key does not lose its bucket at every look, to be given another one.
        """
        if bucket._full_in() <= 0:
            return True
        if not self._rests(entry.key):
            return False
        (ledger,) = bucket._ledgers
        seen, self._seen[entry] = self._seen.get(entry), ledger.full_at
        return seen == ledger.full_at and ledger.fast is self._keys.limit

    def _ends_use(self, entry: Entry, let_go: Any, alias: Any) -> bool:
        """End the use of a key that nobody holds, and tell whether that was done."""
        full = alias._full_in() <= 0
        self._seen.pop(entry, None)
        done: bool = step(self._unlink, entry, let_go, full)
        if done and not full and self._queue:
            self._note(entry.key, self._keys.now())
        return done
