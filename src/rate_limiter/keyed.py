"""One limiter for each key."""

from __future__ import annotations

import heapq
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from operator import setitem
from typing import Any, Generic

from .clock import Clock, seconds
from .entries import GONE, Entry, chain, unhashable
from .exceptions import RateLimitExceeded
from .limiter import B_co, RateLimiter
from .many_limiters import ManyLimiters, bucket_maker
from .memory.transaction import Write, remove, step
from .rates import Number, shown

__all__ = ["KeyedRateLimiter"]

_SWEPT = 8  # keys looked at for each that is added: what lingers is a fraction of what is in use
_MOST_TRIED = 64  # full buckets that a refused key finds to be held by somebody before it gives up


class KeyedRateLimiter(ManyLimiters[RateLimiter[B_co]], Generic[B_co]):
    """Keep one limiter for each key: each user, host or tenant on its own.

        limiters = KeyedRateLimiter(lambda: TokenBucket(capacity=10, tokens_per_second=5))
        with limiters[user_id].acquire():
            ...

    A bucket is made when its key is first used. A full bucket that nobody waits for cannot be told
    from a new one, so such buckets, and only they, are dropped again, a few for each key that is
    added: memory follows the keys in use, and no flood of new keys resets an empty bucket. A key is
    kept while somebody holds its limiter, its bucket, a permit or a reservation. Holding one bucket
    of a group is not enough, so charge the buckets of a group through the group.

    Args:
        make_bucket: Returns a new bucket. If it cannot be called without an argument, it is given
            the key, after which a bucket on a server is to be named.
        block: Whether to wait for missing tokens; if not, `RateLimitExceeded` is raised.
        timeout: The most seconds to wait; None waits as long as it takes.
        max_keys: How many keys may be in use; beyond, a new key is refused, no old one forgotten.
        dry_run: Whether only to count; see `RateLimiter`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `max_keys` is not positive; `timeout` is NaN, or needs `block=True`.
    """

    def __init__(
        self,
        make_bucket: Callable[[], B_co] | Callable[[Any], B_co],
        *,
        block: bool = True,
        timeout: Number | None = None,
        max_keys: int = 100_000,
        dry_run: bool = False,
    ) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be an int, got {shown(max_keys)}")
        if max_keys <= 0:
            raise ValueError(f"max_keys must be above 0, got {shown(max_keys)}")
        super().__init__(make_bucket, block=block, timeout=timeout, dry_run=dry_run)
        self._max_keys = max_keys

    @classmethod
    def from_rate(
        cls,
        rate: str,
        capacity: Number | None = None,
        *,
        strict: bool = False,
        block: bool = True,
        timeout: Number | None = None,
        max_keys: int = 100_000,
        dry_run: bool = False,
        clock: Clock | None = None,
    ) -> KeyedRateLimiter[Any]:
        """Make a keyed limiter from a rate in words, or from several.

            limiters = KeyedRateLimiter.from_rate("10/second; 1000/hour")

        Args:
            rate: A rate as for `TokenBucket.from_rate`, or several with ";" between them; each key
                is limited by all of them.
            capacity: The most tokens of a bucket, for a single rate; as there if None.
            strict: As there.
            block: As for the class.
            timeout: As for the class.
            max_keys: As for the class.
            dry_run: As for the class.
            clock: Where time comes from; the machine's monotonic clock if None.

        Raises:
            TypeError: As there, and for the class.
            ValueError: As there, and for the class; or there are several rates and a capacity.
        """
        make = bucket_maker(rate, capacity, strict=strict, clock=clock)
        policy: dict[str, Any] = {"block": block, "timeout": timeout, "dry_run": dry_run}
        return cls(make, max_keys=max_keys, **policy)

    def _begin(self) -> None:
        self._entries = {}  # by hash: no keys are compared within a step (P38)
        self._count = 0
        self._unswept: Iterator[Entry] = iter(())
        # Only when crowded: a heap of entries by the nanosecond at which they can be dropped, or an
        # earlier one. It only says where to look, so no key is lost when threads disturb it.
        self._queue: list[tuple[int, int, Entry]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        """Return how many keys are in use."""
        return self._count

    def __bool__(self) -> bool:
        """Return True, also while no key is in use."""
        return True

    def __getitem__(self, key: Hashable) -> RateLimiter[B_co]:
        """Return the limiter of a key.

        Raises:
            RateLimitExceeded: The key is new and `max_keys` are in use; `retry_after` says when the
                first of them can be dropped (None if all that are full are held by somebody).
            TypeError: The key is not hashable.
        """
        entries: dict[int, Entry] = self._entries
        try:
            entry = entries.get(hash(key))
        except TypeError:
            raise unhashable(key) from None
        if entry is not None and (entry.key is key or entry.key == key):
            limiter: RateLimiter[B_co] | None = entry.limiter
            if limiter is not None:
                return limiter
        return self._add(key)  # new, or behind another of the same hash, or about to be dropped

    def _find(self, key: Hashable) -> Entry | None:
        try:
            entries = chain(self._entries.get(hash(key)))
        except TypeError:
            raise unhashable(key) from None
        return next((entry for entry in entries if entry.key is key or entry.key == key), None)

    def _add(self, key: Hashable) -> RateLimiter[B_co]:
        """Return the limiter of a key that is new, or is about to be dropped."""
        made: RateLimiter[Any] | None = None
        while True:
            first = self._entries.get(hash(key))
            entry = self._find(key)
            if entry is not None:
                limiter = entry.limiter or self._revive(entry)
            else:
                made = made or self._make_limiter(key)
                self._sweep()
                self._make_room(made.bucket._core._now())
                limiter = self._insert(key, made, first)
            if limiter is not None:
                return limiter

    def _insert(self, key: Hashable, made: Any, first: Entry | None) -> Any:
        """Add a key, unless others came or went meanwhile, or there is no room any more."""
        entry = Entry(key, made, first)
        if not step(self._link, entry):
            return None
        if 2 * self._count < self._max_keys or len(self._queue) > 2 * self._max_keys:
            self._queue = []
        elif self._queue:
            heapq.heappush(self._queue, (made.bucket._core._now(), next(self._order), entry))
        return made

    def _link(self, entry: Entry) -> tuple[bool, list[Write]]:
        if self._entries.get(entry.number) is not entry.next or self._count >= self._max_keys:
            return False, []
        return True, [
            (setitem, (self._entries, entry.number, entry)),
            (setattr, (self, "_count", self._count + 1)),
        ]

    def _sweep(self) -> None:
        """Look at the next few keys, and drop those that are idle."""
        entries = list(islice(self._unswept, _SWEPT))
        if len(entries) < _SWEPT:
            self._unswept = iter(self._all())
        for entry in entries:
            self._drop_if_idle(entry)

    def _all(self) -> list[Entry]:
        """Return all entries there are."""
        while True:
            try:
                entries = list(self._entries.values())
            except RuntimeError:  # a finalizer has changed them meanwhile
                continue
            return [entry for first in entries for entry in chain(first)]

    def _make_room(self, now: int) -> None:
        """Drop an idle key if none is free, or refuse until there is one."""
        if self._count < self._max_keys:
            return
        if not self._queue:  # equal instants in order are a heap
            self._queue = [(now, next(self._order), entry) for entry in self._all()]
        held: list[Entry] = []
        while (
            self._count >= self._max_keys
            and len(held) < _MOST_TRIED
            and self._first_drop(now) == now
        ):
            entry = heapq.heappop(self._queue)[2]
            self._drop_if_idle(entry)
            held += [entry] * (not entry.gone)
        first = self._first_drop(now) if len(held) < _MOST_TRIED else None
        for entry in held:
            heapq.heappush(self._queue, (now, next(self._order), entry))
        if self._count >= self._max_keys:
            raise RateLimitExceeded(
                f"rate limit exceeded: max_keys={self._max_keys} keys are in use",
                retry_after=None if first is None else seconds(first - now),
            )

    def _first_drop(self, now: int) -> int | None:
        """Return the nanosecond at which the first key in the queue can be dropped."""
        while (first := next(iter(self._queue), None)) is not None:
            instant, _, entry = first
            if entry.gone:
                heapq.heappop(self._queue)
            elif (actual := now + self._full_in(entry)) > instant:
                heapq.heapreplace(self._queue, (actual, next(self._order), entry))
            else:
                return max(instant, now)
        return None

    def _full_in(self, entry: Entry) -> int:
        limiter = entry.limiter or self._revive(entry)
        return 0 if limiter is None else limiter.bucket._full_in()

    def _drop_if_idle(self, entry: Entry) -> None:
        """Drop a key if its bucket is full and nobody holds it."""
        limiter = entry.limiter
        if limiter is not None:
            if limiter.bucket._full_in() > 0:
                return
            # Another thread may hold this limiter and use it after we drop the key. Drop our
            # reference and keep the state through an alias. If the bucket is still alive, keep the
            # key; if it was collected, nobody can charge it any more.
            alias = limiter.bucket._twin()
            if not step(entry.let_go, limiter, weakref.ref(limiter.bucket), alias):
                return
            del limiter
        let_go = entry.let_go_of
        if let_go is None or entry.gone:
            return
        life, alias = let_go
        if life() is None and alias._full_in() == 0 and step(self._unlink, entry):
            return
        self._revive(entry)

    def _revive(self, entry: Entry) -> RateLimiter[Any] | None:
        """Return the limiter of an entry that was let go, made anew; None if it is gone."""
        let_go = entry.let_go_of
        if let_go is not None and let_go is not GONE:
            life, alias = let_go
            bucket = life()
            step(entry.take_back, self._make_limiter(entry.key, bucket or alias))
        return entry.limiter

    def _unlink(self, entry: Entry) -> tuple[bool, list[Write]]:
        if entry.limiter is not None or entry.gone:
            return entry.gone, []
        number = entry.number
        first: Entry = self._entries[number]
        writes: list[Write] = [
            (setattr, (entry, "let_go_of", GONE)),
            (setattr, (self, "_count", self._count - 1)),
        ]
        if first is not entry:
            first = next(before for before in chain(first) if before.next is entry)
            return True, [*writes, (setattr, (first, "next", entry.next))]
        if entry.next is not None:
            return True, [*writes, (setitem, (self._entries, number, entry.next))]
        return True, [*writes, (remove, (self._entries, number, None))]

    def reset(self, key: Hashable) -> None:
        """Fill the bucket of a key again, and serve everybody in its line at once.

        The key keeps its limiter and its bucket, so callers who hold them see the change. A key
        that is not in use stays so.

        Raises:
            NotImplementedError: The bucket is on a server.
        """
        entry = self._find(key)
        limiter = None if entry is None else entry.limiter or self._revive(entry)
        if limiter is not None:
            limiter.bucket._reset()
