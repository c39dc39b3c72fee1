"""What blocking and awaiting buckets have in common: everything but asking and sleeping."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn, Protocol, Self

from ..bucket import REFUNDED, BaseBucket, Levels, Paid, Receipt, Tokens
from ..calls import never
from ..clock import SYSTEM_CLOCK, Clock, nanoseconds, seconds, timeout_nanoseconds
from ..exceptions import BackendError
from ..memory.transaction import step
from ..rates import Number, shown
from .failures import BucketFailure, NoConnection, ReplyLost, TooMuch
from .fallback import Understudy
from .outage import Outage, outage_of
from .payment import Payment
from .script import Charges, Request, request

__all__ = ["Grant", "Limits", "RedisBucket", "Reserved", "fit"]

_MICRO = 1_000  # nanoseconds in the microseconds that the server counts
_NO_LIMIT = 2**60  # microseconds
_NO_TICKET = b"0:0:0:0:0"  # of a place that is long left


class Limits(Protocol):
    """What a bucket on the server holds to: one limit, or several at once."""

    @property
    def capacity(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...

    def charges(self, tokens: Tokens) -> Charges:
        """Return what to charge for so many tokens, or refuse what is no cost."""
        ...

    def paid(self, tokens: Tokens) -> Paid:
        """Return what so many tokens are under each limit; there may be none."""
        ...

    def everything(self) -> Charges:
        """Return all limits, and no charge."""
        ...

    def use(self, actual: Tokens, taken: Tokens) -> Paid:
        """Return what was used under each limit, or refuse what does not go with what was taken."""
        ...


class Grant:
    """What the script has taken: at once, or for when it has accrued."""

    __slots__ = ("due", "paid", "tickets")

    def __init__(self, charges: Charges, reply: Any, now: int) -> None:
        self.paid = Payment((limit, Fraction(units, limit.terms.unit)) for limit, units in charges)
        answer = [reply] if isinstance(reply, int) else reply
        self.tickets: list[Any] = answer[1:]
        self.due: int = now + answer[0] * _MICRO  # on the clock of this process

    def undoing(self) -> Request:
        """Return the call that gives it back; nothing is asked of buckets that have been paid none.

        Those with a ticket come first, and are left in any case. A settlement may add others.
        """
        placed = len(self.tickets)
        paid = [(limit, round(tokens * limit.terms.unit)) for limit, tokens in self.paid.items()]
        paid = paid[:placed] + [(limit, units) for limit, units in paid[placed:] if units]
        if placed:
            unplaced = [_NO_TICKET] * (len(paid) - placed)
            return request(b"cancel", paid, tickets=[*self.tickets, *unplaced])
        return request(b"correct", [(limit, -units) for limit, units in paid])


class Reserved:
    """A reservation on a server: what it is worth, and that it is given back once."""

    __slots__ = ("_bucket", "_cancelled", "_grant", "_tokens")

    def __init__(self, bucket: Any, grant: Grant, tokens: Tokens) -> None:
        self._bucket = bucket
        self._grant = grant
        self._tokens = tokens
        self._cancelled = False

    @property
    def delay(self) -> float:
        return seconds(max(self._grant.due - self._bucket._now(), 0))

    def _cancel_once(self) -> bool:
        """Tell whether it is still to be given back; from now on it is not."""
        return step(lambda: (not self._cancelled, [(setattr, (self, "_cancelled", True))]))

    def _note_failed_cancel(self, error: BackendError) -> None:
        """Have it given back another time, unless that may have happened, or will not matter."""
        self._cancelled = isinstance(error, ReplyLost) or self._bucket._fallback is not None

    def _use(self, actual: Tokens) -> Paid:
        used: Paid = self._bucket._uses(actual, self._tokens)
        return used

    def _payment(self) -> Payment:
        """Return what is to be corrected; it is asked for in turn."""
        if self._cancelled:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        return self._grant.paid

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else f"delay={self.delay:g}"
        return f"Reservation({state})"


class RedisBucket(BaseBucket, ABC):
    """A bucket whose tokens are on a server: what it asks, and what the answers mean."""

    _stored = True

    __slots__ = ("_client", "_clock", "_fallback", "_limits", "_outage", "_own_outage")

    def __init__(self, client: Any, limits: Limits, fallback: Understudy | None) -> None:
        self._clock: Clock = SYSTEM_CLOCK
        self._now = SYSTEM_CLOCK.now
        self._client = client
        self._limits = limits
        self._fallback = fallback
        self._outage = outage_of(client, self._now)
        self._own_outage = Outage(self._now)

    @property
    def capacity(self) -> float:
        """The most tokens it holds."""
        return self._limits.capacity

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self._limits.tokens_per_second

    def _check(self, tokens: Tokens) -> None:
        self._limits.charges(tokens)

    def _check_fits(self, tokens: Tokens) -> None:
        if not fit(self._limits.charges(tokens)):
            raise self._never(tokens, self.capacity)

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        return never

    def _uses(self, actual: Tokens, taken: Tokens) -> Paid:
        return self._limits.use(actual, taken)

    def _full_in(self) -> int:
        return 0 if self._fallback is None else self._fallback._full_in()

    def _twin(self) -> Self:
        twin = object.__new__(type(self))
        for base in type(self).__mro__:
            for name in getattr(base, "__slots__", ()):
                if name != "__weakref__":
                    setattr(twin, name, getattr(self, name))
        return twin

    def _move_to(self, clock: Clock) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} goes by the clock of its server; "
            "put a TokenBucket in its place to test with a ManualClock"
        )

    def _move_back(self, state: Any) -> NoReturn:
        self._move_to(state)

    def _asking(
        self, tokens: Tokens, block: bool, timeout: Number | None
    ) -> tuple[Charges, Request]:
        """Return the call that takes tokens as a limiter says; see `BaseBucket._admit`."""
        limit = timeout_nanoseconds(timeout)
        charges = self._limits.charges(tokens)
        if not block and not fit(charges):
            raise self._never(tokens, self.capacity)
        if not all(limit.terms.countable(units) for limit, units in charges):
            raise ValueError(
                f"tokens must be at most what comes back in 100 years, got {shown(tokens)}"
            )
        longest = _NO_LIMIT if limit is None else min(limit // _MICRO, _NO_LIMIT)
        return charges, request(b"take", charges, longest if block else 0)

    def _granted(
        self, charges: Charges, reply: Any, tokens: Tokens, block: bool, timeout: Number | None
    ) -> Grant:
        """Return what a call has taken, or raise because it has taken nothing."""
        if reply == 0 or isinstance(reply, list):
            return Grant(charges, reply, self._now())
        delay = seconds(reply * _MICRO)
        raise self._not_yet(tokens, delay, timeout=timeout if block else None)

    def _payment_of(self, receipt: Receipt) -> Any:
        """Return the one payment that corrections of a permit take turns at; None if refunded."""
        if receipt._paid is None:
            payment = Payment(self._limits.paid(receipt._tokens))
            note = [(setattr, (receipt, "_paid", payment))]
            step(lambda: (None, note if receipt._paid is None else []))
        return None if receipt._paid is REFUNDED else receipt._paid

    def _correcting(self, paid: Paid, used: Paid) -> tuple[Request, dict[Any, Fraction]] | None:
        """Return the call that charges what was used beyond what was paid, or gives back.

        Returns:
            The call, and what it charges; None if there is nothing to correct.
        """
        changes = [
            (limit, round((tokens - paid.get(limit, 0)) * limit.terms.unit))
            for limit, tokens in used.items()
        ]
        charges = [(limit, units) for limit, units in changes if units]
        for limit, units in charges:
            if not limit.terms.countable(units):
                raise ValueError(
                    f"tokens must be at most what comes back in 100 years, "
                    f"got {shown(float(used[limit]))}"
                )
        if not charges:
            return None
        moves = {limit: Fraction(units, limit.terms.unit) for limit, units in charges}
        return request(b"correct", charges), moves

    def _note_uncorrected(self, error: BaseException, paid: Any, used: Paid) -> None:
        """Have it corrected another time, but give back only once what may have been (P29)."""
        known = isinstance(error, BackendError) and not isinstance(error, ReplyLost)
        if not known:
            paid.update({key: min(used[key], paid.get(key, Fraction(0))) for key in used})
        if not isinstance(error, BackendError):
            raise error
        self._instead(error)

    def _refunding(self, tokens: Tokens) -> Request:
        charges = self._limits.charges(tokens)
        return request(b"correct", [(limit, -units) for limit, units in charges])

    def _pausing(self, length: Number) -> Request:
        microseconds = -(-nanoseconds(length) // _MICRO)
        return request(b"pause", self._limits.everything(), microseconds)

    def _levels(self, after: Any) -> Levels:
        return {}

    def _available_of(self, reply: Any) -> float:
        """Return what could be taken under every limit."""
        lacks = zip(reply[::2], reply[1::2], strict=True)
        return min(
            limit.terms.level(*pair)
            for (limit, _), pair in zip(self._limits.everything(), lacks, strict=True)
        )

    def _heed_outage(self) -> None:
        """Leave the decision to the fallback while the server is known to be away."""
        if self._fallback is not None and (self._own_outage.skips() or self._outage.skips()):
            raise BackendError("the store of the bucket is away")

    def _note_failure(self, error: BackendError) -> None:
        if self._fallback is None:
            return
        if isinstance(error, TooMuch):
            self._note_answer()
        elif isinstance(error, NoConnection):
            self._outage.overrun(error)
        elif isinstance(error, BucketFailure):
            self._outage.worked()
            self._own_outage.failed(error)
        else:
            self._outage.failed(error)

    def _note_answer(self) -> None:
        self._outage.worked()
        self._own_outage.worked()

    def _instead(self, error: BackendError) -> Understudy:
        """Return what decides in place of a server that failed, or raise."""
        if self._fallback is None or isinstance(error, TooMuch):
            raise error
        return self._fallback

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(capacity={self.capacity:g}, "
            f"tokens_per_second={self.tokens_per_second:g})"
        )


def fit(charges: Charges) -> bool:
    """Tell whether all of this could ever be there at once."""
    return all(units <= limit.terms.span for limit, units in charges)
