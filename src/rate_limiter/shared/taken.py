"""What a call has taken from a store, or was refused."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Generic, TypeVar

from ..admission import Paid, Tokens
from ..clock import seconds
from ..exceptions import BackendError
from ..level import Level, Levels
from ..rates import Number
from .bucket_view import BucketView
from .failures import ReplyLost
from .limits import Limits
from .payment import Payment
from .store import MICROSECOND, NOWHERE, Answer, Charges, Question, Standing
from .terms import Terms

__all__ = ["Grant", "Reserved", "Taken", "levels_of"]

View = TypeVar("View", bound=BucketView)


class Taken:
    """A call that takes tokens: what it asks, and what its answers mean.

    Attributes:
        charges: What its last question asked for. An answer is read under the limits of its own
            question, whatever has been configured meanwhile.
    """

    __slots__ = ("_bucket", "_timeout", "_tokens", "charges")

    def __init__(
        self, bucket: BucketView, tokens: Tokens, charges: Charges, timeout: Number | None
    ) -> None:
        self._bucket = bucket
        self._tokens = tokens
        self.charges = charges
        self._timeout = timeout

    def after(self, answer: Answer) -> Any:
        """Return what the buckets were like after an answer; see `levels_of`."""
        return [limit for limit, _ in self.charges], answer.standings

    def refuse_if_not(self, answer: Answer) -> None:
        """Raise if the tokens are not there in time.

        Raises:
            RateLimitExceeded: They are neither there nor waited for.
        """
        if answer.wait and not answer.place.number:
            limit = self.charges[answer.slowest][0]
            raise self._bucket._not_yet(
                self._tokens,
                seconds(answer.wait * MICROSECOND),
                self._bucket._limits.label(limit),
                partial(self._bucket._levels, self.after(answer)),
                self._timeout,
            )


def levels_of(after: Any, labels: Any) -> Levels:
    """Return levels by label.

    Args:
        after: The limits, and how their buckets stood; nothing if that is unknown.
        labels: Returns the label of a limit.
    """
    limits, standings = after
    return {
        labels(limit): _level(limit.terms, standing)
        for limit, standing in zip(limits, standings, strict=False)
    }


def _level(terms: Terms, standing: Standing) -> Level:
    lacks, paused, waiting = standing
    closed = paused > 0 or waiting > 0
    return Level(
        capacity=float(terms.capacity),
        tokens_per_second=float(terms.tokens_per_second),
        available_tokens=0.0 if closed else terms.available(lacks),
        full_in=seconds(-(-lacks // terms.scale) * MICROSECOND),
        paused_for=seconds(paused * MICROSECOND),
        waiting=waiting,
    )


class Grant:
    """Tokens that were reserved: at once, or as a place in line."""

    __slots__ = ("_place", "_placed", "due", "paid")

    def __init__(self, charges: Charges, answer: Answer | None, heard: int) -> None:
        wait, place = (answer.wait, answer.place) if answer else (0, NOWHERE)
        self.paid = Payment(
            (limit.key, Fraction(units, limit.terms.unit)) for limit, units in charges
        )
        self.due: int = heard + wait * MICROSECOND  # on the clock of this process
        self._place = place
        self._placed = {limit.key for limit, _ in charges} if place.number else set[bytes]()

    def undoing(self, limits: Limits, now: int | None) -> Sequence[Question]:
        """Return the questions that give it back: the places, then what was charged beside them."""
        current = [(limits.limit_at(key), tokens) for key, tokens in self.paid.items()]
        # Rounded as a store does when it restates a place.
        paid = [(limit, int(tokens * limit.terms.unit)) for limit, tokens in current]
        placed = [(limit, units) for limit, units in paid if limit.key in self._placed]
        beside = [
            (limit, -units) for limit, units in paid if units and limit.key not in self._placed
        ]
        questions = [
            Question("cancel", placed, place=self._place, now=now),
            Question("correct", beside, now=now),
        ]
        return [question for question in questions if question.charges]

    def undone(self, question: Question) -> None:
        """Note that a question has given back what it was about."""
        for limit, _ in question.charges:
            self._placed.discard(limit.key)
            self.paid[limit.key] = Fraction(0)


class Reserved(Generic[View]):
    """Tokens that were reserved: what they are worth, and that they are given back once."""

    __slots__ = ("_bucket", "_grant", "_live", "_tokens")

    def __init__(self, bucket: View, grant: Grant, tokens: Tokens) -> None:
        self._bucket = bucket
        self._grant = grant
        self._tokens = tokens
        self._live: set[None] = {None}  # empty once it is cancelled

    @property
    def delay(self) -> float:
        return seconds(max(self._grant.due - self._bucket._now(), 0))

    def _begin_cancel(self) -> bool:
        """Tell whether it is still to be given back; from now on it is not."""
        try:
            self._live.pop()  # one call, so that no handler gets a say in between
        except KeyError:
            return False
        return True

    def _note_failed_cancel(self, error: BackendError) -> None:
        """Have it given back another time, unless that may have happened, or will not matter."""
        if not isinstance(error, ReplyLost) and self._bucket._fallback is None:
            self._live.add(None)

    def _use(self, actual: Tokens) -> Paid:
        return self._bucket._uses(actual, self._tokens)

    def _payment(self) -> Payment:
        """Return what is to be corrected; it is asked for in turn."""
        if not self._live:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        return self._grant.paid

    def __repr__(self) -> str:
        state = f"delay={self.delay:g}" if self._live else "cancelled"
        return f"Reservation({state})"
