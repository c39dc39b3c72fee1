"""The token bucket: a ledger, a clock, and a line of callers that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from .admission import Receipt, Tokens
from .clock import SYSTEM_CLOCK, Clock
from .core import layout
from .level import Level
from .memory.bucket import LocalBucket
from .memory.changes import restate, settle_one
from .memory.group import LocalGroup, join
from .memory.ledger import FastPath, Ledger
from .memory.line import Prices
from .memory.transaction import run
from .rates import STRICT, Number, non_negative, per_second, positive, shown, terms_of
from .units import Limit, read_cost, read_limit, read_use, shared_limit

__all__ = ["Alike", "TokenBucket"]


@layout("bucket")
class TokenBucket(FastPath, LocalBucket):
    """Hold up to `capacity` tokens and get `tokens_per_second` new ones, evenly, all the time.

    Think of a jar of coins that someone tops up at a steady pace until it is full. A caller takes
    coins before it does anything: a full jar serves that many at once, and an empty one holds
    everybody to the pace of the topping-up.

        bucket = TokenBucket(capacity=10, tokens_per_second=5)
        if bucket.allow():
            ...  # one token taken
        bucket.wait(3)  # blocks until three are there, and takes them

    One bucket serves threads, tasks of any number of event loops, and signal handlers at the same
    time. A forked child goes on with a copy of its own. It is not a limit on how many things run
    at once; that is a semaphore.

    Args:
        capacity: The most tokens it holds.
        tokens_per_second: How fast tokens come back.
        initial_tokens: What it holds at first, from 0 to `capacity`; full if None.
        clock: Where time comes from; the machine's monotonic clock if None. Tests pass a
            `rate_limiter.testing.ManualClock`.

    Raises:
        TypeError: An argument is not a real number (bool included), or `clock` is no clock.
        ValueError: A number is not positive and finite, or `initial_tokens` is out of range.
    """

    __slots__ = ("_ledger",)

    def __init__(
        self,
        capacity: Number,
        tokens_per_second: Number,
        *,
        initial_tokens: Number | None = None,
        clock: Clock | None = None,
    ) -> None:
        limit = read_limit(capacity, tokens_per_second)
        missing = 0 if initial_tokens is None else limit.span - _read_level(initial_tokens, limit)
        self._use_clock(SYSTEM_CLOCK if clock is None else clock)
        self._ledger = Ledger(limit, self._now() * limit.scale + missing)

    @classmethod
    def from_rate(
        cls,
        rate: str,
        capacity: Number | None = None,
        *,
        strict: bool = False,
        initial_tokens: Number | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Make a bucket from a rate in words.

            TokenBucket.from_rate("100/minute")
            TokenBucket.from_rate("5 per 10 seconds", capacity=1)
            TokenBucket.from_rate("60/minute", strict=True)  # 6 at once, then 54 a minute

        A strict rate is a hard window: never more than its count in any span of its length. A part
        of the count, the capacity, is there at once, and the rest is spread. A cost above the
        capacity is refused in every call, waiting or not. What `settle` adds is not counted. It
        cannot be changed by `configure`.

        Args:
            rate: A count per millisecond, second, minute, hour, day or week, or per a number of
                them.
            capacity: The most tokens it holds; if None, the count in `rate`, or of a strict rate a
                tenth of it, at least 1.
            strict: Whether at most the count is admitted in any span of the rate's length.
            initial_tokens: As for the class.
            clock: As for the class.

        Raises:
            TypeError: `rate` is not a string, or `strict` no bool; otherwise as for the class.
            ValueError: `rate` does not have this form, or a strict one leaves nothing to spread;
                otherwise as for the class.
        """
        terms: tuple[Any, Any] = terms_of(rate, capacity, strict=strict)
        bucket = cls(*terms, initial_tokens=initial_tokens, clock=clock)
        if strict:
            ledger = bucket._ledger
            ledger.limit = ledger.fast = shared_limit(*terms, strict=True)
        return bucket

    @property
    def capacity(self) -> float:
        """The most tokens the bucket holds."""
        return self._ledger.limit.capacity

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self._ledger.limit.tokens_per_second

    def configure(
        self, capacity: Number | None = None, tokens_per_second: Number | None = None
    ) -> None:
        """Change the limit while it is in use; tokens, debt, a pause and waiters are kept.

        Args:
            capacity: The most tokens it holds from now on; as before if None.
            tokens_per_second: How fast tokens come back from now on; as before if None.

        Raises:
            TypeError: An argument is not a real number.
            ValueError: An argument is not positive and finite, filling the bucket or paying its
                debt would take more than 100 years, or the bucket is of a strict rate.
        """
        if self._ledger.limit.strict:
            raise ValueError(STRICT)
        new_capacity = None if capacity is None else positive(capacity, "capacity")
        new_rate = None if tokens_per_second is None else per_second(tokens_per_second)
        self._change(restate, self._ledger, new_capacity, new_rate)

    @property
    def _ledgers(self) -> Sequence[Ledger]:
        return (self._ledger,)

    def _prices(self, tokens: Tokens) -> Prices:
        return ((self._ledger, read_cost(tokens)),)

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        taken = receipt._tokens
        tokens = taken if type(taken) is int else read_cost(taken)
        done: bool = run(settle_one, receipt, self._ledger, tokens, read_use(actual), self._now())
        return done

    def _uses(self, actual: Tokens, taken: Tokens) -> Prices:
        return ((self._ledger, read_use(actual)),)

    def _full_in(self) -> int:
        when = self._ledger.when_full()
        return super()._full_in() if when is None else max(when - self._now(), 0)

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> LocalGroup:
        return join(unnamed, named)

    def _twin(self) -> TokenBucket:
        twin = object.__new__(type(self))
        twin._clock, twin._now, twin._ledger = self._clock, self._now, self._ledger
        return twin

    def _alike(self) -> TokenBucket:
        """Return a new bucket, a full one, of the same limit on the same clock."""
        bucket = object.__new__(type(self))
        bucket._clock, bucket._now, limit = self._clock, self._now, self._ledger.limit
        bucket._ledger = Ledger(limit, self._now() * limit.scale)
        return bucket

    def _move_to(self, clock: Clock) -> Any:
        state, limit = self._placed(), self._ledger.limit
        self._use_clock(clock)
        self._ledger = Ledger(limit, clock.now() * limit.scale)
        return state

    def _move_back(self, state: Any) -> None:
        clock, self._ledger = state
        self._use_clock(clock)

    def _placed(self) -> Any:
        return self._clock, self._ledger

    def __repr__(self) -> str:
        level = self.level
        return (
            f"{type(self).__name__}(capacity={level.capacity:g}, "
            f"tokens_per_second={level.tokens_per_second:g}, "
            f"available_tokens={level.available_tokens:g}{_trouble(level)})"
        )


class Alike:
    """Make buckets that are all like one, so that their limit is known before there is any.

    Args:
        bucket: What they are like.

    Attributes:
        limit: Their limit.
        now: Their clock, in nanoseconds.
    """

    __slots__ = ("_bucket", "limit", "now")

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket
        self.limit: Limit = bucket._ledger.limit
        self.now = bucket._now

    def __call__(self) -> TokenBucket:
        """Return a new bucket, a full one."""
        return self._bucket._alike()


_TICK = 1e-9  # seconds


def _trouble(level: Level) -> str:
    """Return the part of the repr about a pause or a debt."""
    if level.paused_for:
        return f", paused_for={level.paused_for:g}"
    debt = level.full_in - level.capacity / level.tokens_per_second
    if debt > _TICK and not level.waiting:  # `full_in` is rounded up
        token = min(1.0, level.capacity) / level.tokens_per_second
        return f", retry_after={debt + token:g}"
    return ""


def _read_level(initial_tokens: Number, limit: Limit) -> int:
    level = round(non_negative(initial_tokens, "initial_tokens") * limit.unit)
    if level > limit.span:
        raise ValueError(
            f"initial_tokens must be at most the capacity of {limit.capacity:g}, "
            f"got {shown(initial_tokens)}"
        )
    return level
