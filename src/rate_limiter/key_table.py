"""The keys of a keyed limiter: at rest or with a limiter, and the steps from one to the other."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from operator import setitem
from typing import Any, Generic

from .clock import Clock, now_of
from .entries import GONE, Entry, chain, unhashable
from .limiter import B_co, RateLimiter
from .many_limiters import ManyLimiters
from .memory.at_rest import KeysAtRest, is_plain
from .memory.transaction import Write, remove, step
from .token_bucket import Alike

__all__ = ["KeyTable"]


class KeyTable(ManyLimiters[RateLimiter[B_co]], Generic[B_co]):
    """Look up keys, add them and remove them.

    A key is in one place: at rest, where it is but an integer, or in use, where it has a limiter. A
    key of which the limit is known beforehand goes from one to the other and back, each in a step.
    """

    _alike: Alike | None
    _max_keys: int
    _keys: KeysAtRest
    _entries: dict[int, Entry]  # by hash: no keys of the user's are compared within a step (P38)

    def _begin(self) -> None:
        alike = self._alike
        limit, now = (None, int) if alike is None else (alike.limit, alike.now)
        self._keys = KeysAtRest(limit, now, self._max_keys)
        self._entries = self._keys.in_use

    def _move_to(self, clock: Clock) -> Any:
        state = super()._move_to(clock)
        self._keys.now = now_of(clock)
        return state

    def __len__(self) -> int:
        """Return how many keys are in use."""
        return self._keys.count

    def _first(self, key: Hashable) -> Entry | None:
        """Return the first key in use that has the hash of this one."""
        try:
            return self._entries.get(hash(key))
        except TypeError:
            raise unhashable(key) from None

    def _find(self, key: Hashable) -> Entry | None:
        """Return the entry of a key; None if it is not in use, though it may be at rest."""
        entries = chain(self._first(key))
        return next((entry for entry in entries if entry.key is key or entry.key == key), None)

    def _fill(self, key: Hashable, first: Entry | None) -> bool:
        """Fill a key that is at rest, if it is; False if it may have come into use meanwhile."""
        there, _ = self._resting(key)
        done: bool = step(self._keys.fill, there, hash(key), first, self._keys.now())
        return done

    def _resting(self, key: Hashable) -> tuple[Hashable, list[Any]]:
        """Find a key at rest.

        Returns:
            The key that is at rest and equals this one, if there is one, and otherwise this one;
            and, unless it is plain, the keys at rest that have its hash.
        """
        rest = self._keys
        others = [] if is_plain(key) or not rest.full_at else rest.of_hash(hash(key))
        return next((other for other in others if other == key), key), others

    def _rests(self, key: Hashable) -> bool:
        """Tell whether a key can be at rest."""
        return self._keys.limit is not None and is_plain(key)

    def _insert(
        self, key: Hashable, made: Any, first: Entry | None, others: list[Any]
    ) -> Entry | None:
        """Add a key with a limiter; None if others came or went meanwhile, or there is no room."""
        entry = Entry(key, made, first)
        return entry if step(self._link, entry, others) else None

    def _link(self, entry: Entry, others: list[Any]) -> tuple[bool, list[Write]]:
        keys, number = self._keys, entry.number
        limiter: Any = entry.limiter
        if keys.in_use.get(number) is not entry.next:
            return False, []
        add: Write = (setitem, keys.in_use, number, entry)
        if keys.holds(entry.key):
            (ledger,) = limiter.bucket._ledgers
            return True, [*keys.wake(entry.key, ledger), add]
        if keys.count >= keys.most:
            return False, []
        if keys.full_at and not is_plain(entry.key) and _differ(keys.of_hash(number), others):
            return False, []  # one that may be equal has come
        return True, [add, (setattr, keys, "count", keys.count + 1)]

    def _let_go(self, entry: Entry, limiter: RateLimiter[Any]) -> None:
        """Drop the reference to a limiter, so that it can be seen whether anybody else holds it.

        Another thread may hold it and use it after its key was dropped. So the state is kept
        through an alias. If the bucket is still alive then, the key is kept; if it was collected,
        nobody can charge it any more.
        """
        step(entry.let_go, limiter, weakref.ref(limiter.bucket), limiter.bucket._twin())

    def _revive(self, entry: Entry) -> RateLimiter[Any] | None:
        """Return the limiter of an entry that was let go, made anew; None if it is gone."""
        let_go = entry.let_go_of
        if let_go is not None and let_go is not GONE:
            life, alias = let_go
            bucket = life()
            step(entry.take_back, self._make_limiter(entry.key, bucket or alias))
        return entry.limiter

    def _unlink(self, entry: Entry, let_go: Any, full: bool) -> tuple[bool, list[Write]]:
        """Compute the step that ends the use of a key; its result is whether it is in use no more.

        Args:
            entry: The key in use.
            let_go: What it was let go of, which nobody holds.
            full: Whether the bucket is full, so that the key is forgotten.
        """
        if entry.gone or entry.let_go_of is not let_go:
            return entry.gone, []
        keys = self._keys
        writes: list[Write] | None = [(setattr, keys, "count", keys.count - 1)]
        if not full:
            writes = keys.lay(entry.key, *let_go[1]._ledgers) if self._rests(entry.key) else None
        if writes is None:
            return False, []
        return True, [*writes, (setattr, entry, "let_go_of", GONE), self._taking_out(entry)]

    def _taking_out(self, entry: Entry) -> Write:
        """Return the write that takes an entry out of the chain of those that have its hash."""
        first = self._entries[entry.number]
        if first is not entry:
            before = next(before for before in chain(first) if before.next is entry)
            return (setattr, before, "next", entry.next)
        if entry.next is not None:
            return (setitem, self._entries, entry.number, entry.next)
        return (remove, self._entries, entry.number, None)


def _differ(keys: list[Any], others: list[Any]) -> bool:
    """Tell whether there is a key, by identity, that is not among the others."""
    return not {id(key) for key in keys} <= {id(other) for other in others}
