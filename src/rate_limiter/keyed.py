"""One limiter for each key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic

from .admission import Tokens
from .clock import Clock
from .core import layout
from .entries import unhashable
from .idle_keys import IdleKeys
from .limiter import B_co, RateLimiter
from .many_limiters import bucket_maker
from .memory.at_rest import ADDED
from .rates import Number, shown
from .token_bucket import Alike

__all__ = ["KeyedRateLimiter"]


@layout("keyed")
class KeyedRateLimiter(IdleKeys[B_co], Generic[B_co]):
    """Keep one limiter for each key: each user, host or tenant on its own.

        limiters = KeyedRateLimiter(lambda: TokenBucket(capacity=10, tokens_per_second=5))
        with limiters[user_id].acquire():
            ...

    A bucket is made when its key is first used. A full bucket that nobody waits for cannot be told
    from a new one, so such buckets, and only they, are dropped again, a few for each key that is
    added: memory follows the keys in use, and no flood of new keys resets an empty bucket. A key is
    kept while somebody holds its limiter, its bucket, a permit or a reservation. Holding one bucket
    of a group is not enough, so charge the buckets of a group through the group.

    Made `from_rate` with one rate, and by `rate_limited` with a key, it holds a bucket only for a
    key that somebody needs. Of other keys, if they are of a type of the interpreter's own or tuples
    of such, it keeps one integer each, which cannot be told from a bucket.

    Args:
        make_bucket: Returns a new bucket. If it cannot be called without an argument, it is given
            the key, after which a bucket on a server is to be named.
        block: Whether to wait for missing tokens; if not, `RateLimitExceeded` is raised.
        timeout: The most seconds to wait; None waits as long as it takes.
        max_keys: How many keys may be in use; beyond, a new key is refused, no old one forgotten.
        dry_run: Whether only to count; see `RateLimiter`.
        name: What events, logs and metrics call all its limiters; no key is in any of them.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `max_keys` is not positive; `timeout` is NaN, or needs `block=True`; or `name`
            is empty.
    """

    def __init__(
        self,
        make_bucket: Callable[[], B_co] | Callable[[Any], B_co],
        *,
        block: bool = True,
        timeout: Number | None = None,
        max_keys: int = 100_000,
        dry_run: bool = False,
        name: str | None = None,
    ) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be an int, got {shown(max_keys)}")
        if max_keys <= 0:
            raise ValueError(f"max_keys must be above 0, got {shown(max_keys)}")
        self._max_keys = max_keys
        self._alike = make_bucket if isinstance(make_bucket, Alike) else None
        super().__init__(make_bucket, block=block, timeout=timeout, dry_run=dry_run, name=name)

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
        name: str | None = None,
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
            name: As for the class.

        Raises:
            TypeError: As there, and for the class.
            ValueError: As there, and for the class; or there are several rates and a capacity.
        """
        make = bucket_maker(rate, capacity, strict=strict, clock=clock)
        policy: dict[str, Any] = {"block": block, "timeout": timeout, "dry_run": dry_run}
        limiters = cls(make, max_keys=max_keys, name=name, **policy)
        limiters._sample = make
        return limiters

    _sample: Callable[[], Any] | None = None  # makes a bucket as any, if that changes nothing

    def _check_payable(self, tokens: Tokens) -> None:
        """Raise for a cost that no call could ever pay, if that can be told without a key."""
        if self._sample is not None:
            RateLimiter(self._sample(), block=self.block)._check_payable(tokens)

    def __bool__(self) -> bool:
        """Return True, also while no key is in use."""
        return True

    def __getitem__(self, key: Hashable) -> RateLimiter[B_co]:
        """Return the limiter of a key.

        Raises:
            RateLimitExceeded: The key is new and `max_keys` are in use; `retry_after` says when the
                first of them can be dropped (None if all that are full are held by somebody). In a
                dry run it is only counted.
            TypeError: The key is not hashable.
        """
        try:
            entry = self._entries.get(hash(key))
        except TypeError:
            raise unhashable(key) from None
        if entry is not None and (entry.key is key or entry.key == key):
            limiter: RateLimiter[B_co] | None = entry.limiter
            if limiter is not None:
                return limiter
        return self._add(key)  # new, or behind another of the same hash, or about to be dropped

    def _add(self, key: Hashable) -> RateLimiter[B_co]:
        """Return the limiter of a key that is new or at rest, or is about to be dropped."""
        made: RateLimiter[Any] | None = None
        while True:
            first = self._first(key)
            entry = self._find(key)
            if entry is None:
                key, others = self._resting(key)
                made = made or self._make_limiter(key)
                self._sweep()
                if not self._keys.holds(key) and not self._make_room(made.bucket._core._now()):
                    return made  # of a bucket that nobody else has: every call passes
                entry = self._insert(key, made, first, others)
                if entry is None:
                    continue
                self._note(entry, made.bucket._core._now())
            limiter = entry.limiter or self._revive(entry)
            if limiter is not None:
                return limiter

    def _take_at_rest(self, key: Any, tokens: Tokens) -> bool:
        taken = self._keys.take(key, tokens)
        if taken is ADDED:
            self._tend(key)
        return taken > 0

    def reset(self, key: Hashable) -> Any:
        """Fill the bucket of a key again, and serve everybody in its line at once.

        The key keeps its limiter and its bucket, so callers who hold them see the change. A key
        that is not in use stays so. In a store, callers who wait leave when they were told, or when
        they ask again; where the answers of the bucket are awaited, await this as well.

        Raises:
            BackendError: The store failed.
        """
        while True:
            first = self._first(key)
            entry = self._find(key)
            limiter = None if entry is None else entry.limiter or self._revive(entry)
            if limiter is not None:
                return limiter.bucket._reset()
            if self._keys.limit is None:
                break  # its tokens may be in a store, where it needs no entry
            if entry is None and self._fill(key, first):
                return None
        limiter = self._make_limiter(key)
        return limiter.bucket._reset() if limiter.bucket._core._stored else None
