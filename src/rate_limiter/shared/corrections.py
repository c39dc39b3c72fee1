"""How a shared bucket corrects what was paid: each method as a flow; see `running.py`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..admission import REFUNDED, Paid, Receipt
from ..exceptions import BackendError
from ..rates import shown
from .bucket_view import BucketView
from .failures import ReplyLost
from .limits import Limits
from .payment import Payment
from .running import Flow
from .store import Charges, Question
from .taken import Reserved
from .waiter import asking

__all__ = ["cancelling", "correcting", "giving_back", "settling"]


def cancelling(bucket: BucketView, reserved: Reserved[Any]) -> Flow[None]:
    """Give a reservation back, once; what had been before a failure is not given back again."""
    if not reserved._begin_cancel():
        return
    try:
        for question in reserved._grant.undoing(bucket._limits, bucket._given_now()):
            yield from asking(bucket, question)
            reserved._grant.undone(question)
            bucket._forget_refusal()
    except BackendError as error:
        reserved._note_failed_cancel(error)
        bucket._instead(error)


def correcting(bucket: BucketView, payment: Payment, used: Paid) -> Flow[None]:
    """Charge what was used beyond what was paid, or give back; the caller has the turn."""
    while charges := _differences(bucket._limits, payment, used):
        question = Question("correct", charges, now=bucket._given_now())
        try:
            yield from asking(bucket, question)
        except BaseException as error:  # noqa: BLE001 - raised again
            _note_uncorrected(bucket, error, payment, used)
            return
        payment.note(charges)  # beside what a handler has corrected meanwhile
        bucket._forget_refusal()
    payment.update(used)


def _differences(limits: Limits, paid: Paid, used: Paid) -> Charges:
    """Return what to charge, under the limits that hold now."""
    changes = [
        (limit := limits.limit_at(key), round((tokens - paid.get(key, 0)) * limit.terms.unit))
        for key, tokens in used.items()
    ]
    charges = [(limit, units) for limit, units in changes if units]
    for limit, units in charges:
        if not limit.terms.countable(units):
            raise ValueError(
                f"tokens must be at most what comes back in 100 years, "
                f"got {shown(float(used[limit.key]))}"
            )
    return charges


def _note_uncorrected(bucket: BucketView, error: BaseException, paid: Any, used: Paid) -> None:
    """Have it corrected another time, but give back only once what may have been (P29)."""
    known = isinstance(error, BackendError) and not isinstance(error, ReplyLost)
    if not known:
        paid.update({key: min(used[key], paid.get(key, Fraction(0))) for key in used})
    try:
        if not isinstance(error, BackendError):
            raise error
        bucket._instead(error)
    finally:
        del error  # as in `SharedBucket._instead`


def settling(bucket: BucketView, receipt: Receipt, payment: Payment, used: Paid) -> Flow[bool]:
    """Correct what a permit has paid; tell whether it was, for it may have been refunded."""
    if receipt._paid is REFUNDED:
        return False
    yield from correcting(bucket, payment, used)
    return True


def giving_back(bucket: BucketView, receipt: Receipt, payment: Payment) -> Flow[None]:
    """Give back all that a permit has paid, once."""
    if receipt._paid is REFUNDED:
        return
    receipt._paid = REFUNDED
    try:
        yield from correcting(bucket, payment, dict.fromkeys(payment, Fraction(0)))
    except BaseException:
        receipt._paid = payment  # it may be tried again
        raise
