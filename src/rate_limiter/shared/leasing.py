"""How a bucket with a lease takes tokens and gives them back; as flows, see `running.py`."""

from __future__ import annotations

from contextlib import suppress

from ..admission import Admission, Tokens
from ..exceptions import BackendError
from .bucket_view import BucketView, held_by
from .holding import No, lines_tear
from .running import Flow
from .store import MICROSECOND, NOWHERE, Answer, Question
from .taken import Taken
from .waiter import asking

__all__ = ["decided", "dropping", "taking"]


def decided(bucket: BucketView, tokens: Tokens, taken: Taken) -> Admission | None:
    """Return the admission that a lease decides; None if the store has to be asked.

    Raises:
        RateLimitExceeded: The tokens were refused a moment ago.
    """
    known = held_by(bucket).decide(tokens)
    if isinstance(known, No):
        taken.charges = known.charges
        wait = max(known.told - bucket._now(), 1)
        taken.refuse_if_not(known.answer._replace(wait=-(-wait // MICROSECOND)))
    return (0.0, bucket, None) if known else None


def taking(bucket: BucketView, question: Question) -> Flow[Answer]:
    """Ask for tokens that are not waited for, and take a lease with them.

    One caller at a time does; others just ask. A caller that is interrupted leaves what had been
    held, and lets another one ask: what is done in the end is a line that calls nothing.
    """
    held = held_by(bucket)
    holding, asker, left = held.latest(), object(), 0
    (limit, cost), *_ = question.charges
    if lines_tear() or holding.limit is not limit:
        return (yield from asking(bucket, question))
    try:
        if holding.asker is None: holding.asker = asker  # fmt: skip  # noqa: E701 - see `holding.py`
        if holding.asker is not asker:
            return (yield from asking(bucket, question))
        yield from giving_over(bucket)
        now = bucket._now()
        left = holding.left; holding.left = 0  # fmt: skip  # noqa: E702 - as above
        left = left if now < holding.until else 0
        if left >= cost:  # another caller has just taken a lease
            left -= cost
            return Answer(0, 0, NOWHERE, ())
        began, charges = bucket._instant(question), [(limit, cost - left)]
        answer: Answer = yield from asking(
            bucket,
            question._replace(operation="lease", charges=charges, spare=held.spare(limit, cost)),
        )
        until = held.until(began)
        if answer.wait:
            told = began + answer.wait * MICROSECOND
            holding.no = No(cost, min(told, until), told, charges, answer)
        else:
            holding.no = None
            holding.until = until; left = answer.spare  # fmt: skip  # noqa: E702 - as above
    finally:
        if holding.asker is asker: holding.left += left; holding.asker = None  # fmt: skip  # noqa: E701, E702 - as above
    if held.holding is not holding:  # it was dropped meanwhile
        held.drop_again(holding)
        yield from giving_over(bucket)
    elif not answer.wait:
        bucket._return_later(holding.until)
    return answer


def dropping(bucket: BucketView) -> Flow[None]:
    """Give back all that is held, and forget a refusal."""
    if bucket._held is not None:
        bucket._held.drop()
        yield from giving_over(bucket)


def giving_over(bucket: BucketView) -> Flow[None]:
    """Give back what is not to be spent any more; what fails runs out by itself."""
    for question in bucket._over():
        with suppress(BackendError):
            yield from asking(bucket, question)
