"""One limiter for each key, or for each instance."""

from __future__ import annotations

import heapq
import inspect
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import islice
from operator import setitem
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from .bucket import BaseBucket
from .bucket_group import BucketGroup
from .clock import Clock, seconds
from .exceptions import RateLimitExceeded
from .limiter import B_co, RateLimiter, check_policy
from .memory.transaction import Write, step
from .rates import Number, parse_rates, shown
from .token_bucket import TokenBucket

__all__ = ["InstanceRateLimiter", "KeyedRateLimiter", "bucket_maker", "per_instance"]

_SWEPT = 8  # keys looked at for each that is added: what lingers is a fraction of what is in use
_MOST_TRIED = 64  # full buckets found to be held by somebody, until a new key is refused

V_co = TypeVar("V_co", covariant=True)


_OF_KEY = {
    **{name: f"{name}()" for name in ("acquire", "cost")},
    **{name: f"bucket.{name}()" for name in ("allow", "try_consume", "wait", "wait_async")},
}


class _Limiters(Generic[V_co]):
    """Limiters with the same policy, each with a bucket of its own."""

    def __init__(
        self,
        make_bucket: Callable[..., Any],
        *,
        block: bool,
        timeout: Number | None,
        dry_run: bool = False,
    ) -> None:
        if isinstance(make_bucket, BaseBucket) or not callable(make_bucket):
            raise TypeError(
                "make_bucket must be callable and return a new bucket, as in "
                f"lambda: TokenBucket(10, 5); got {shown(make_bucket)}"
            )
        check_policy(block, timeout, dry_run)
        self._make_bucket = _given_a_key(make_bucket)
        self._policy: dict[str, Any] = {"block": block, "timeout": timeout, "dry_run": dry_run}
        self._begin()

    def _begin(self) -> None:
        """Start without any limiter."""
        self._entries: dict[Any, Any] = {}

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"a live {type(self).__name__} cannot be pickled or copied: the copy would be a second "
            "limit for each key; share it by reference, and make one in each process"
        )

    if not TYPE_CHECKING:  # for common mistakes: say what to write instead

        def _needs_a_key(self, *_: Any, **__: Any) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} has a limiter for each key: use "
                "'with limiters[key].acquire():', or "
                "'@rate_limited(capacity, rate, key=...)' for a function"
            )

        __call__ = __enter__ = __exit__ = __aenter__ = __aexit__ = _needs_a_key

        def __getattr__(self, name: str) -> NoReturn:
            where = _OF_KEY.get(name)
            there = f"; it has a limiter for each key: limiters[key].{where}" if where else ""
            raise AttributeError(f"a {type(self).__name__} has no {name!r}{there}")

    # Not a collection: by their fallbacks `iter` and `in` would make buckets for 0, 1, 2 ...
    __iter__ = None
    __contains__ = None

    def __len__(self) -> int:
        """Return how many limiters there are now."""
        return len(self._entries)

    def _make_limiter(self, key: Any, bucket: Any = None) -> RateLimiter[Any]:
        bucket = self._make_bucket(key) if bucket is None else bucket
        return RateLimiter(bucket, **self._policy)

    def __repr__(self) -> str:
        policy = f"timeout={self._policy['timeout']}" if self._policy["block"] else "block=False"
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
    """Return a function that makes the bucket of a key, whether or not `make_bucket` takes it."""
    try:
        inspect.signature(make_bucket).bind()
    except TypeError:
        return make_bucket
    except ValueError:  # written in C, it does not say
        pass
    return partial(_make_for_any, make_bucket)


def _make_for_any(make_bucket: Callable[[], Any], _: Any) -> Any:
    bucket = make_bucket()
    if isinstance(bucket, BaseBucket) and bucket._core._stored:
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
        self._unswept: Iterator[_Entry] = iter(())
        # Only when crowded: a heap of entries by the nanosecond at which they can be dropped, or an
        # earlier one. It only says where to look, so no key is lost when threads disturb it.
        self._queue: list[tuple[int, int, _Entry]] = []
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
        entries: dict[int, _Entry] = self._entries
        try:
            entry = entries.get(hash(key))
        except TypeError:
            raise TypeError(f"a key must be hashable, got a {type(key).__name__}") from None
        if entry is not None and (entry.key is key or entry.key == key):
            limiter: RateLimiter[B_co] | None = entry.limiter
            if limiter is not None:
                return limiter
        return self._add(key)  # new, or behind another of the same hash, or about to be dropped

    def _find(self, key: Hashable) -> _Entry | None:
        chain = _chain(self._entries.get(hash(key)))
        return next((entry for entry in chain if entry.key is key or entry.key == key), None)

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

    def _insert(self, key: Hashable, made: Any, first: _Entry | None) -> Any:
        """Add a key, unless others came or went meanwhile, or there is no room any more."""
        entry = _Entry(key, made, first)
        if not step(self._link, entry):
            return None
        if 2 * self._count < self._max_keys or len(self._queue) > 2 * self._max_keys:
            self._queue = []
        elif self._queue:
            heapq.heappush(self._queue, (made.bucket._core._now(), next(self._order), entry))
        return made

    def _link(self, entry: _Entry) -> tuple[bool, list[Write]]:
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

    def _all(self) -> list[_Entry]:
        """Return all entries there are."""
        while True:
            try:
                entries = list(self._entries.values())
            except RuntimeError:  # a finalizer has changed them meanwhile
                continue
            return [entry for first in entries for entry in _chain(first)]

    def _make_room(self, now: int) -> None:
        """Drop an idle key if none is free, or refuse until there is one."""
        if self._count < self._max_keys:
            return
        if not self._queue:  # equal instants in order are a heap
            self._queue = [(now, next(self._order), entry) for entry in self._all()]
        held: list[_Entry] = []
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

    def _full_in(self, entry: _Entry) -> int:
        limiter = entry.limiter or self._revive(entry)
        return 0 if limiter is None else limiter.bucket._full_in()

    def _drop_if_idle(self, entry: _Entry) -> None:
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

    def _revive(self, entry: _Entry) -> RateLimiter[Any] | None:
        """Return the limiter of an entry that was let go, made anew; None if it is gone."""
        let_go = entry.let_go_of
        if let_go is not None and let_go is not _GONE:
            life, alias = let_go
            bucket = life()
            step(entry.take_back, self._make_limiter(entry.key, bucket or alias))
        return entry.limiter

    def _unlink(self, entry: _Entry) -> tuple[bool, list[Write]]:
        if entry.limiter is not None or entry.gone:
            return entry.gone, []
        number = entry.number
        first: _Entry = self._entries[number]
        writes: list[Write] = [
            (setattr, (entry, "let_go_of", _GONE)),
            (setattr, (self, "_count", self._count - 1)),
        ]
        if first is not entry:
            first = next(before for before in _chain(first) if before.next is entry)
            return True, [*writes, (setattr, (first, "next", entry.next))]
        if entry.next is not None:
            return True, [*writes, (setitem, (self._entries, number, entry.next))]
        return True, [*writes, (dict.pop, (self._entries, number, None))]

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


def _chain(entry: _Entry | None) -> Iterator[_Entry]:
    """Yield an entry and those behind it, whose keys have the same hash."""
    while entry is not None:
        yield entry
        entry = entry.next


_GONE = "gone"


class _Entry:
    """A key in use.

    Attributes:
        key: The key.
        number: Its hash.
        limiter: Its limiter; None while it is being dropped.
        next: The next entry whose key has the same hash.
        let_go_of: While it is being dropped: a weak reference to the bucket, and an alias of it;
            `_GONE` when it has been.
    """

    __slots__ = ("key", "let_go_of", "limiter", "next", "number")

    def __init__(self, key: Hashable, limiter: RateLimiter[Any], behind: _Entry | None) -> None:
        self.key = key
        self.number = hash(key)
        self.limiter: RateLimiter[Any] | None = limiter
        self.next = behind
        self.let_go_of: Any = None

    @property
    def gone(self) -> bool:
        """Whether it has been dropped."""
        return self.let_go_of is _GONE

    def let_go(
        self, limiter: RateLimiter[Any], life: Any, alias: BaseBucket
    ) -> tuple[bool, list[Write]]:
        """Compute the step that lets go of the limiter; its result is whether it still had it."""
        if self.limiter is not limiter:
            return False, []
        return True, [
            (setattr, (self, "let_go_of", (life, alias))),
            (setattr, (self, "limiter", None)),
        ]

    def take_back(self, limiter: RateLimiter[Any]) -> tuple[None, list[Write]]:
        """Compute the step that gives it a limiter again, unless it has one or is gone."""
        if self.limiter is not None or self.gone:
            return None, []
        return None, [(setattr, (self, "limiter", limiter)), (setattr, (self, "let_go_of", None))]


def bucket_maker(
    rate: str, capacity: Number | None, *, strict: bool = False, clock: Clock | None = None
) -> Callable[[], Any]:
    """Return a function that makes a bucket of a rate in words, or a group of several.

    Raises:
        TypeError: `rate` is not a string.
        ValueError: `rate` cannot be read, or there are several rates and a capacity.
    """
    several = len(parse_rates(rate)) > 1
    if several and capacity is not None:
        raise ValueError(
            f"a capacity goes with a single rate, got capacity={shown(capacity)} and "
            f"{shown(rate)}; leave it out: each rate has its count for a capacity"
        )
    if several:
        make: Callable[[], Any] = partial(BucketGroup.from_rate, rate, strict=strict, clock=clock)
    else:
        make = partial(TokenBucket.from_rate, rate, capacity, strict=strict, clock=clock)
    make()  # so that what cannot be made is refused now
    return make


class InstanceRateLimiter(_Limiters["tuple[weakref.ref[Any], RateLimiter[Any]]"]):
    """Keep one limiter for each instance, told apart by identity, for as long as it lives."""

    def __getitem__(self, instance: Any) -> RateLimiter[Any]:
        """Return the limiter of an instance.

        Raises:
            TypeError: The instance cannot be referenced weakly.
        """
        entry: tuple[Any, RateLimiter[Any]] | None = self._entries.get(id(instance))
        return (self._add(instance) if entry is None else entry)[1]

    def _add(self, instance: Any) -> tuple[weakref.ref[Any], RateLimiter[Any]]:
        key = id(instance)
        entries: dict[int, tuple[weakref.ref[Any], RateLimiter[Any]]] = self._entries
        try:
            life = weakref.ref(instance, lambda _: entries.pop(key, None))
        except TypeError:
            raise TypeError(
                f"key=per_instance needs instances that can be referenced weakly, which "
                f"{type(instance).__name__} does not allow; add '__weakref__' to its __slots__, "
                "or use a key function"
            ) from None
        mine: tuple[weakref.ref[Any], RateLimiter[Any]] = life, self._make_limiter(instance)
        return entries.setdefault(key, mine)


def per_instance(*args: Any, **_: Any) -> Any:
    """Use as `key=per_instance` to give each instance of a class a bucket of its own.

    The instance is held weakly and told apart by identity: it may be unhashable or equal to others.

    Raises:
        TypeError: The call has no instance.
    """
    if not args:
        raise TypeError("key=per_instance is for methods, and this call has no self")
    return args[0]
