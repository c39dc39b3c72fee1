"""Limiters with a policy in common, each with a bucket of its own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from .absent import Absent
from .admission import Tokens
from .base_bucket import BaseBucket
from .bucket_group import BucketGroup
from .callables import is_async, takes
from .clock import Clock
from .limiter import RateLimiter, check_policy, shown_policy
from .rates import Number, parse_rates, shown
from .source import Source
from .token_bucket import Alike, TokenBucket

__all__ = ["ManyLimiters", "bucket_maker"]

V_co = TypeVar("V_co", covariant=True)


def _of_key(call: str) -> Absent:
    return Absent(f"it has a limiter for each key: limiters[key].{call}")


class ManyLimiters(Generic[V_co]):
    """Limiters with the same policy, each with a bucket of its own."""

    def __init__(
        self,
        make_bucket: Callable[..., Any],
        *,
        block: bool,
        timeout: Number | None,
        dry_run: bool = False,
        name: str | None = None,
    ) -> None:
        if isinstance(make_bucket, BaseBucket) or not callable(make_bucket):
            raise TypeError(
                "make_bucket must be callable and return a new bucket, as in "
                f"lambda: TokenBucket(10, 5); got {shown(make_bucket)}; for a rate in words use "
                "KeyedRateLimiter.from_rate('10/second')"
            )
        if is_async(make_bucket):
            raise TypeError("make_bucket must be a plain function; a coroutine is no bucket")
        check_policy(block, timeout, dry_run)
        self._source = Source(name)
        self._make_bucket = _given_a_key(make_bucket)
        self._policy: dict[str, Any] = {"block": block, "timeout": timeout, "dry_run": dry_run}
        self._begin()

    @property
    def block(self) -> bool:
        """Whether missing tokens are waited for."""
        return bool(self._policy["block"])

    @property
    def timeout(self) -> Number | None:
        """The most seconds to wait, or None for no limit."""
        timeout: Number | None = self._policy["timeout"]
        return timeout

    @property
    def dry_run(self) -> bool:
        """Whether calls are only counted."""
        return bool(self._policy["dry_run"])

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

        acquire, cost = _of_key("acquire()"), _of_key("cost()")
        allow, try_consume = _of_key("bucket.allow()"), _of_key("bucket.try_consume()")
        wait, wait_async = _of_key("bucket.wait()"), _of_key("bucket.wait_async()")

    # Not a collection: by their fallbacks `iter` and `in` would make buckets for 0, 1, 2 ...
    __iter__ = None
    __contains__ = None

    def __len__(self) -> int:
        """Return how many limiters there are now."""
        return len(self._entries)

    def _take_at_rest(self, key: Any, tokens: Tokens) -> bool:
        """Take tokens of a key without its limiter. False: use the slow path, with the limiter."""
        return False

    def _make_limiter(self, key: Any, bucket: Any = None) -> RateLimiter[Any]:
        bucket = self._make_bucket(key) if bucket is None else bucket
        limiter: RateLimiter[Any] = RateLimiter(bucket, **self._policy)
        limiter._source = self._source
        return limiter

    @property
    def name(self) -> str | None:
        """What events, logs and metrics call all its limiters; None if it has no name."""
        return self._source.name

    def __repr__(self) -> str:
        policy = shown_policy(**self._policy, name=self.name)
        return f"{type(self).__name__}({len(self)} limiters, {policy})"

    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock; return what `_move_back` needs."""
        state, moved = vars(self).copy(), _Moved(self._make_bucket, clock)
        self._make_bucket = moved.make
        self._begin()
        return state, moved

    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""
        attributes, moved = state
        vars(self).update(attributes)
        moved.move_back()


class _Moved:
    """The buckets of keys, which are moved to another clock as they are made.

    A bucket that several keys share is moved for the first of them, and stays so for the rest.
    """

    def __init__(self, make_bucket: Callable[[Any], Any], clock: Clock) -> None:
        self._make_bucket = make_bucket
        self._clock = clock
        # References are weak: a key counts as in use for as long as its bucket is alive.
        self._moved: list[tuple[weakref.ref[Any], Any]] = []
        self._leaves: weakref.WeakSet[Any] = weakref.WeakSet()

    def make(self, key: Any) -> Any:
        """Make the bucket of a key, and move it."""
        try:
            bucket = self._make_bucket(key)
        except ValueError:  # a group refuses buckets of two clocks, and some were moved before
            with self._as_before():
                bucket = self._make_bucket(key)
        self._move(bucket)
        return bucket

    def _move(self, bucket: BaseBucket) -> None:
        leaves = [] if bucket._core._stored else getattr(bucket._core, "_leaves", [bucket])
        places = [(leaf, leaf._placed()) for leaf in leaves]
        state = bucket._move_to(self._clock)
        for leaf, place in places:
            if leaf in self._leaves:
                leaf._move_back(place)
            else:  # a bucket may outlive its group, so it is noted by itself
                self._moved.append((weakref.ref(leaf), place))
                self._leaves.add(leaf)
        self._moved.append((weakref.ref(bucket), state))

    @contextmanager
    def _as_before(self) -> Generator[None]:
        """Put all of them back on their own clocks for the length of a with-block."""
        alive = [bucket for reference, _ in self._moved if (bucket := reference()) is not None]
        here = [(bucket, bucket._core._placed()) for bucket in alive]
        self.move_back()
        try:
            yield
        finally:
            for bucket, place in here:
                bucket._move_back(place)

    def move_back(self) -> None:
        """Put all of them where they were before."""
        for reference, state in reversed(self._moved):
            bucket = reference()
            if bucket is not None:
                bucket._move_back(state)


def _given_a_key(make_bucket: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a function that makes the bucket of a key, whether or not `make_bucket` takes it."""
    return partial(_make_for_any, make_bucket) if takes(make_bucket) else make_bucket


def _make_for_any(make_bucket: Callable[[], Any], _: Any) -> Any:
    bucket = make_bucket()
    if isinstance(bucket, BaseBucket) and bucket._core._stored:
        raise TypeError(
            f"make_bucket must take the key and name the {type(bucket).__name__} after it; "
            "as it is, all keys would share one bucket"
        )
    return bucket


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
    if not several:
        return Alike(TokenBucket.from_rate(rate, capacity, strict=strict, clock=clock))
    make: Callable[[], Any] = partial(BucketGroup.from_rate, rate, strict=strict, clock=clock)
    make()  # so that what cannot be made is refused now
    return make
