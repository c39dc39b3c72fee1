"""One limiter for each key, or for each instance."""

from __future__ import annotations

import heapq
import inspect
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from .bucket import BaseBucket
from .clock import Clock, seconds
from .exceptions import RateLimitExceeded
from .limiter import B_co, RateLimiter, check_policy
from .memory.bucket import LocalBucket
from .memory.ledger import exclusive
from .rates import Number, shown

__all__ = ["InstanceRateLimiter", "KeyedRateLimiter", "per_instance"]

_SWEPT = 8  # keys looked at for each that is added: what lingers is a fraction of what is in use

V_co = TypeVar("V_co", covariant=True)


class _Limiters(Generic[V_co]):
    """Limiters with a policy in common, each with a bucket of its own."""

    def __init__(
        self, make_bucket: Callable[..., Any], block: bool, timeout: Number | None
    ) -> None:
        if not callable(make_bucket):
            raise TypeError(f"make_bucket must be callable, got {shown(make_bucket)}")
        check_policy(block, timeout)
        self._make_bucket = _given_a_key(make_bucket)
        self._block = block
        self._timeout = timeout
        self._begin()

    def _begin(self) -> None:
        """Have no limiter yet."""
        self._entries: dict[Hashable, V_co] = {}

    # Not a collection: to iterate or to look for a key would make a bucket for every 0, 1, 2 ...
    __iter__ = None
    __contains__ = None

    def __len__(self) -> int:
        """Return how many of them there are now."""
        return len(self._entries)

    def _make_limiter(self, key: Any, bucket: Any = None) -> RateLimiter[Any]:
        bucket = self._make_bucket(key) if bucket is None else bucket
        return RateLimiter(bucket, block=self._block, timeout=self._timeout)

    def __repr__(self) -> str:
        policy = f"timeout={self._timeout}" if self._block else "block=False"
        return f"{type(self).__name__}({len(self)} limiters, {policy})"

    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock; return what `_move_back` needs."""
        state, make_bucket = vars(self).copy(), self._make_bucket
        moved: list[tuple[weakref.ref[BaseBucket], Any]] = []

        def make_on_clock(key: Any) -> BaseBucket:
            bucket: BaseBucket = make_bucket(key)
            moved.append((weakref.ref(bucket), bucket._move_to(clock)))
            return bucket

        self._make_bucket = make_on_clock
        self._begin()
        return state, moved

    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""
        attributes, moved = state
        vars(self).update(attributes)
        for reference, state_of_bucket in reversed(moved):
            bucket = reference()
            if bucket is not None:
                bucket._move_back(state_of_bucket)


def _given_a_key(make_bucket: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return what makes the bucket of a key, whether or not `make_bucket` wants to know the key."""
    try:
        inspect.signature(make_bucket).bind()
    except TypeError:
        return make_bucket
    except ValueError:  # written in C, it does not say
        pass
    return partial(_make_for_any, make_bucket)


def _make_for_any(make_bucket: Callable[[], Any], _: Any) -> Any:
    bucket = make_bucket()
    if isinstance(bucket, BaseBucket) and not isinstance(bucket, LocalBucket):
        raise TypeError(
            f"make_bucket must take the key and name the {type(bucket).__name__} after it; "
            "as it is, all keys would share one bucket"
        )
    return bucket


class KeyedRateLimiter(_Limiters[RateLimiter[B_co]], Generic[B_co]):
    """Keep one limiter for each key: each user, host or tenant on its own.

        limiters = KeyedRateLimiter(lambda: TokenBucket(capacity=10, tokens_per_second=5))
        with limiters[user_id].acquire():
            ...

    A bucket is made when its key is first used. A full bucket that nobody waits for cannot be told
    from a new one, so such buckets, and only they, are dropped again, a few for each key that is
    added: memory follows the keys in use, and no flood of new keys resets an empty bucket. Whoever
    holds the limiter of a key, its bucket, a permit or a reservation keeps the key; but charge the
    buckets of a group through the group, for a member that is held alone does not.

    Args:
        make_bucket: Returns a new bucket. If it cannot be called without an argument, it is given
            the key, as buckets need that are known by a name elsewhere.
        block: Whether to wait for missing tokens; if not, `RateLimitExceeded` is raised.
        timeout: The most seconds to wait; None waits as long as it takes.
        max_keys: How many keys may be in use; beyond, a new key is refused, no old one forgotten.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `max_keys` is not positive; `timeout` is negative or NaN, or needs `block=True`.
    """

    def __init__(
        self,
        make_bucket: Callable[[], B_co] | Callable[[Any], B_co],
        *,
        block: bool = True,
        timeout: Number | None = None,
        max_keys: int = 100_000,
    ) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be an int, got {shown(max_keys)}")
        if max_keys <= 0:
            raise ValueError(f"max_keys must be above 0, got {shown(max_keys)}")
        super().__init__(make_bucket, block, timeout)
        self._max_keys = max_keys

    def _begin(self) -> None:
        super()._begin()
        self._unswept: Iterator[Hashable] = iter(())
        # When crowded: a heap of keys by the nanosecond at which they can be dropped, or earlier.
        self._queue: list[tuple[int, int, Hashable]] = []
        self._order = itertools.count()

    def __getitem__(self, key: Hashable) -> RateLimiter[B_co]:
        """Return the limiter of a key.

        Raises:
            RateLimitExceeded: The key is new and `max_keys` are in use; `retry_after` says when the
                first of them can be dropped (None if all are full, but held by somebody).
            TypeError: The key is not hashable.
        """
        try:
            limiter = self._entries.get(key)
        except TypeError:
            raise TypeError(f"a key must be hashable, got a {type(key).__name__}") from None
        return self._add(key, self._make_limiter(key)) if limiter is None else limiter

    # Under the lock, so that two threads that ask for one new key get one bucket (P25), and nobody
    # looks for a key while it is out to be dropped.
    @exclusive
    def _add(self, key: Hashable, limiter: RateLimiter[B_co]) -> RateLimiter[B_co]:
        self._sweep()
        now = limiter.bucket._now()
        if 2 * len(self._entries) < self._max_keys or len(self._queue) > 2 * self._max_keys:
            self._queue.clear()
        if key not in self._entries and len(self._entries) >= self._max_keys:
            self._make_room(now)
        if self._queue:
            heapq.heappush(self._queue, (now, next(self._order), key))
        return self._entries.setdefault(key, limiter)

    def _sweep(self) -> None:
        """Look at a few keys, each in its turn, and drop those that are idle."""
        keys = list(islice(self._unswept, _SWEPT))
        if len(keys) < _SWEPT:
            self._unswept = iter(list(self._entries))
        for key in keys:
            self._drop_if_idle(key)

    def _make_room(self, now: int) -> None:
        """Drop an idle key, or refuse until there is one."""
        if not self._queue:  # equal instants in order are a heap
            self._queue = [(now, next(self._order), key) for key in self._entries]
        held: list[Hashable] = []
        while len(self._entries) >= self._max_keys and self._first_drop(now) == now:
            key = heapq.heappop(self._queue)[2]
            self._drop_if_idle(key)
            held += [key] * (key in self._entries)
        first = self._first_drop(now)
        for key in held:
            heapq.heappush(self._queue, (now, next(self._order), key))
        if len(self._entries) >= self._max_keys:
            raise RateLimitExceeded(
                f"rate limit exceeded: max_keys={self._max_keys} keys are in use",
                retry_after=None if first is None else seconds(first - now),
            )

    def _first_drop(self, now: int) -> int | None:
        """Return the nanosecond at which the first key in the queue can be dropped."""
        while self._queue:
            instant, _, key = self._queue[0]
            limiter = self._entries.get(key)
            if limiter is None:
                heapq.heappop(self._queue)
            elif (actual := now + limiter.bucket._full_in()) > instant:
                heapq.heapreplace(self._queue, (actual, next(self._order), key))
            else:
                return max(instant, now)
        return None

    def _drop_if_idle(self, key: Hashable) -> int:
        """Drop a key if its bucket is full; return the nanoseconds until it is."""
        limiter = self._entries.get(key)
        delay = 0 if limiter is None else limiter.bucket._full_in()
        if limiter is None or delay > 0:
            return delay
        # Somebody may have got the limiter before, and charge it later. So let go of the bucket,
        # while a twin keeps its tokens: if it lives on, somebody has it; if not, nobody charges it.
        twin, life = limiter.bucket._twin(), weakref.ref(limiter.bucket)
        del self._entries[key], limiter
        bucket = life()
        if bucket is not None or twin._full_in() > 0:
            self._entries[key] = self._make_limiter(key, bucket or twin)
        return 0


class InstanceRateLimiter(_Limiters["tuple[weakref.ref[Any], RateLimiter[Any]]"]):
    """Keep one limiter for each instance, told apart by identity, for as long as it lives."""

    def __getitem__(self, instance: Any) -> RateLimiter[Any]:
        """Return the limiter of an instance.

        Raises:
            TypeError: The instance cannot be referenced weakly.
        """
        entry = self._entries.get(id(instance))
        if entry is None:
            entry = self._add(instance)
        return entry[1]

    def _add(self, instance: Any) -> tuple[weakref.ref[Any], RateLimiter[Any]]:
        key, entries = id(instance), self._entries
        try:
            life = weakref.ref(instance, lambda _: entries.pop(key, None))
        except TypeError:
            raise TypeError(
                f"key=per_instance needs instances that can be referenced weakly, which "
                f"{type(instance).__name__} does not allow; add '__weakref__' to its __slots__, "
                "or use a key function"
            ) from None
        return entries.setdefault(key, (life, self._make_limiter(instance)))


def per_instance(*args: Any, **_: Any) -> Any:
    """Use as `key=per_instance` to give each instance of a class a bucket of its own.

    The instance is held weakly and told apart by identity: it may be unhashable or equal to others.

    Raises:
        TypeError: The call has no instance.
    """
    if not args:
        raise TypeError("key=per_instance is for methods, and this call has no self")
    return args[0]
