"""What every shared bucket has, whatever its store, for threads and for tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self, cast

from ..admission import REFUNDED, Paid, Receipt, Tokens
from ..base_bucket import BaseBucket
from ..calls import never
from ..clock import SYSTEM_CLOCK, Clock, check_clock, nanoseconds, now_of
from ..exceptions import BackendError, Label
from ..instrumentation.reports import outage
from ..level import Level, Levels
from ..rates import Number, shown
from .failures import TooMuch
from .fallback import Open, Understudy
from .flows import changing, fit
from .holding import Held
from .lease import Lease
from .limits import Limits, OneLimit
from .outage import PAUSE, BucketOutage, outage_of
from .payment import Payment
from .running import Flow
from .store import MICROSECOND, Answer, Charges, Question
from .taken import levels_of

__all__ = ["SharedBucket"]

_noted: dict[int, Payment] = {}  # payments on their way to their receipts


def _tell_hooks(_: BackendError) -> None:
    """Tell the hooks that a store is away."""
    outage(seconds=PAUSE)


class SharedBucket(BaseBucket, ABC):
    """A bucket that is kept in a store.

    Args:
        source: What the store belongs to, such as a client. Buckets of one source share the
            knowledge that it is away, and can be in one group.
        limits: What it holds to.
        fallback: What decides while the store is away.
        clock: What tells the time, instead of the store; for tests.
    """

    _stored = True

    __slots__ = (
        "_clock",
        "_fallback",
        "_given",
        "_held",
        "_labels",
        "_limits",
        "_outage",
        "_own_outage",
        "_source",
    )

    def __init__(
        self, source: Any, limits: Limits, *, fallback: Understudy | None, clock: Clock | None
    ) -> None:
        self._given = clock
        self._clock: Clock = SYSTEM_CLOCK if clock is None else check_clock(clock)
        self._now = now_of(self._clock)
        self._source = source
        self._limits = limits
        self._labels: Sequence[Label] = limits.labels
        self._fallback = fallback
        self._held: Held | None = None
        self._outage = outage_of(source, self._now, _tell_hooks)
        self._own_outage = BucketOutage(self._now, self._outage)

    @property
    def capacity(self) -> float:
        """The most tokens it holds."""
        return self._limits.capacity

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self._limits.tokens_per_second

    def _check_together(self, keys: Sequence[bytes]) -> None:
        """Refuse keys that the store cannot change in one step."""

    def _lease(self, lease: Lease | None) -> None:
        """Hold tokens in advance from now on; see `Lease`."""
        if lease is not None:
            if not isinstance(lease, Lease):
                raise TypeError(f"lease must be a Lease, got {shown(lease)}")
            self._held = Held(cast(OneLimit, self._limits), lease, self._now)

    def _over(self, *, early: bool = False) -> list[Question]:
        """Return what gives back what is not to be spent any more, or all that is held."""
        if self._held is None:
            return []
        if early:
            self._held.drop()
        now = self._given_now()
        return [Question("correct", charges, now=now) for charges in self._held.take_back()]

    def _forget_refusal(self) -> None:
        """Ask again, for this process has given back what may be there now."""
        if self._held is not None:
            self._held.latest().no = None

    @abstractmethod
    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        """Correct what a permit has paid; this and the next three are as of `Payer`."""

    @abstractmethod
    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool: ...

    @abstractmethod
    def _give_back(self, receipt: Receipt) -> None: ...

    @abstractmethod
    async def _give_back_async(self, receipt: Receipt) -> None: ...

    @abstractmethod
    def _return_later(self, until: int) -> None:
        """Have given back what is left of the lease that ends at a nanosecond."""

    @abstractmethod
    def _return_now(self) -> None:
        """Have given back what is not to be spent any more."""

    def _given_now(self) -> int | None:
        """Return the microsecond that a test says it is; None if the store's clock decides."""
        return None if self._given is None else self._now() // MICROSECOND

    def _instant(self, question: Question) -> int:
        """Return the nanosecond, on the bucket's clock, from which an answer counts."""
        return self._now() if question.now is None else question.now * MICROSECOND

    def _check(self, tokens: Tokens) -> None:
        self._limits.charges(tokens)

    def _check_fits(self, tokens: Tokens) -> None:
        self._refuse_unfit(tokens, self._limits.charges(tokens), block=False)

    def _refuse_unfit(self, tokens: Tokens, charges: Charges, block: bool) -> None:
        """Refuse a cost that can never be paid, or not without waiting."""
        for limit, units in charges:
            terms = limit.terms
            if units > terms.span and (terms.strict or not block):
                label, capacity = self._limits.label(limit), float(terms.capacity)
                raise self._never(tokens, capacity, label, strict=terms.strict)

    def _charges(self, tokens: Tokens, block: bool) -> Charges:
        """Return what to charge for tokens, or refuse what could never be paid."""
        charges = self._limits.charges(tokens)
        if not fit(charges):
            self._refuse_unfit(tokens, charges, block)
        if not all(limit.terms.countable(units) for limit, units in charges):
            raise ValueError(
                f"tokens must be at most what comes back in 100 years, got {shown(tokens)}"
            )
        return charges

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        return never

    def _uses(self, actual: Tokens, taken: Tokens) -> Paid:
        return self._limits.use(actual, taken)

    def _full_in(self) -> int:
        full = 0 if self._fallback is None else self._fallback._full_in()
        # A keyed limiter is to keep this bucket as long as its lease may be spent.
        leased = 0 if self._held is None else self._held.latest().until - self._now()
        return max(full, leased, 0)

    def _twin(self) -> Self:
        twin = object.__new__(type(self))
        for base in type(self).__mro__:
            for name in getattr(base, "__slots__", ()):
                if name != "__weakref__":
                    setattr(twin, name, getattr(self, name))
        return twin

    def _move_to(self, clock: Clock) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} goes by the clock of its store; to test with a ManualClock, "
            "make it with clock=..., or put a TokenBucket in its place"
        )

    def _move_back(self, state: Any) -> NoReturn:
        self._move_to(state)

    def _payment_of(self, receipt: Receipt) -> Any:
        """Return the one payment that corrections of a permit take turns at; None if refunded."""
        if receipt._paid is None:
            made = Payment(self._limits.paid(receipt._tokens))
            # Threads that come here at the same time get the same one, without a lock (P19, P20).
            payment = _noted.setdefault(id(receipt), made)
            if receipt._paid is None:
                receipt._paid = payment
            _noted.pop(id(receipt), None)
        return None if receipt._paid is REFUNDED else receipt._paid

    def _levels(self, after: Any) -> Levels:
        return {} if after is None else levels_of(after, self._limits.label)

    def _local_levels(self, local: Understudy) -> Levels:
        """Return the levels of what stands in for the store."""
        if not isinstance(local, Open):
            level: Level = cast(Any, local).level  # a bucket of this process has one
            return {None: level}
        tokens, rate = local.available_tokens, self.tokens_per_second
        return {None: Level(self.capacity, rate, tokens, 0.0, 0.0, None)}

    def _pausing(self, length: Number) -> Flow[None]:
        microseconds = -(-nanoseconds(length) // MICROSECOND)
        charges = self._limits.everything()
        return changing(self, "pause", charges, microseconds, lambda local: local.pause(length))

    def _resuming(self) -> Flow[None]:
        charges = self._limits.everything()
        return changing(self, "resume", charges, 0, lambda local: local.resume())

    def _resetting(self) -> Flow[None]:
        charges = self._limits.everything()
        return changing(self, "reset", charges, 0, lambda local: local._reset())

    def _heed_outage(self) -> None:
        """Leave the decision to the fallback while the store is known to be away."""
        if self._fallback is None:
            return
        away = self._own_outage.skips()
        if not away and self._outage.skips():
            self._own_outage.untried()
            away = True
        if away:
            raise BackendError("the store of the bucket is away")

    def _note_failure(self, error: BaseException) -> None:
        """Note what a call that has no answer says of the store."""
        if self._fallback is None:
            return
        for watched in (self._own_outage, self._outage):
            if isinstance(error, BackendError):
                watched.failed(error)
            else:
                watched.untried()

    def _note_answer(self, question: Question, answer: Answer) -> None:
        """Note that the store has answered, and whether it has kept something."""
        refused = answer.wait > 0 and not answer.place.number
        wrote = not (refused or question.longest < 0 or question.operation == "level")
        self._outage.worked(wrote)
        if self._fallback is not None:
            self._own_outage.worked(wrote)

    def _instead(self, error: BackendError) -> Understudy:
        """Return what decides in place of a store that failed, or raise."""
        try:
            if self._fallback is None or isinstance(error, TooMuch):
                raise error
        finally:
            del error  # or it would keep this frame, and that of every caller, until the next gc
        return self._fallback

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(capacity={self.capacity:g}, "
            f"tokens_per_second={self.tokens_per_second:g})"
        )
