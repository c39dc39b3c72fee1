"""How a shared bucket gives tokens, step by step: each method as a flow; see `running.py`.

Every flow asks the store once. A caller that waits sleeps until it was told to leave; if that is
long, it renews its place meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..admission import Admission, Tokens
from ..clock import seconds, timeout_nanoseconds
from ..exceptions import BackendError
from ..rates import Number
from ..source import Source
from .bucket_view import BucketView
from .leasing import decided, dropping, taking
from .line import LIFE, RENEWAL
from .running import Admit, Flow, Sleep
from .store import MICROSECOND, NOWHERE, Charges, Question
from .taken import Grant, Taken
from .waiter import Waiter, asking

__all__ = [
    "admitting",
    "allowing",
    "changing",
    "fit",
    "looking",
    "reserving",
    "telling_when",
]

_NO_LIMIT = 2**60  # microseconds


def allowing(bucket: BucketView, tokens: Tokens) -> Flow[bool]:
    """Take tokens that are there; tell whether they were."""
    charges = bucket._limits.charges(tokens)
    if not fit(charges):
        return False
    if not charges:
        return True
    question = Question("take", charges, now=bucket._given_now())
    try:
        answer = yield from (asking if bucket._held is None else taking)(bucket, question)
    except BackendError as error:
        return bucket._instead(error).allow(tokens)
    # What was refused may be in a lease that another caller has got meanwhile.
    return not answer.wait or (bucket._held is not None and bucket._held.decide(tokens) is True)


def admitting(
    bucket: BucketView,
    tokens: Tokens,
    block: bool,
    timeout: Number | None,
    source: Source | None = None,
) -> Flow[Admission]:
    """Take tokens as a limiter says; see `BaseBucket._admit`."""
    asked = bucket._now()
    longest = timeout_nanoseconds(timeout)
    charges = bucket._charges(tokens, block)
    if not charges:
        return 0.0, bucket, None
    question = Question("take", charges, _longest(longest, block), now=bucket._given_now())
    taken = Taken(bucket, tokens, charges, timeout if block else None)
    leased, waiter = not block and bucket._held is not None, None
    if leased and (known := decided(bucket, tokens, taken)):
        return known
    try:
        answer = yield from (taking if leased else asking)(bucket, question)
        if leased and answer.wait and (known := decided(bucket, tokens, taken)):
            return known
        taken.refuse_if_not(answer)
        if not answer.wait:
            return 0.0, bucket, taken.after(answer)
        deadline = None if longest is None else asked + longest
        waiter = Waiter(bucket, taken, question, answer)
        yield from _until_served(waiter, taken, deadline, waiter.told(source, tokens))
    except BackendError as error:
        spent = 0.0 if waiter is None else seconds(bucket._now() - asked)
        rest = _rest(bucket, timeout, asked)
        waited, *admitted = yield Admit(bucket._instead(error), tokens, block, rest, source)
        return spent + waited, *admitted
    return seconds(bucket._now() - asked), bucket, taken.after(waiter.answer)


def _rest(bucket: BucketView, timeout: Number | None, asked: int) -> Number | None:
    """Return what is left of a timeout, in seconds: a fallback does not begin with all of it."""
    longest, passed = timeout_nanoseconds(timeout), bucket._now() - asked
    return timeout if longest is None or not passed else seconds(max(longest - passed, 0))


def _longest(longest: int | None, block: bool) -> int:
    if not block:
        return 0
    return _NO_LIMIT if longest is None else min(longest // MICROSECOND, _NO_LIMIT)


def _until_served(
    waiter: Waiter, taken: Taken, deadline: int | None, told: AbstractContextManager[Any]
) -> Flow[None]:
    """Sleep until it is time to leave, and renew the place meanwhile if that is far away.

    A caller that is interrupted, cancelled or refused gives its place back before any hook hears
    of it.

    Raises:
        BackendError: The place could not be renewed.
        RateLimitExceeded: The wait has become longer than the timeout.
    """
    try:
        with told:
            try:
                yield from _sleeping(waiter, taken, deadline)
            except GeneratorExit:  # the loop is gone, so nothing could answer
                waiter.place = NOWHERE
                raise
            except BaseException:
                yield from waiter.leave()
                raise
    except GeneratorExit:
        raise
    except BaseException:
        yield from waiter.leave()
        raise


def _sleeping(waiter: Waiter, taken: Taken, deadline: int | None) -> Flow[None]:
    """Return once it leaves. A caller that was stopped, and comes far too late, asks again."""
    bucket = waiter.bucket
    while waiter.answer.wait:
        firm = waiter.place.due > 0
        yield Sleep(waiter.leaves if firm else waiter.tried + RENEWAL * MICROSECOND)
        if firm and bucket._now() - waiter.leaves <= LIFE * MICROSECOND:
            return
        yield from waiter.renew(_left(bucket, deadline))
        taken.refuse_if_not(waiter.answer)


def _left(bucket: BucketView, deadline: int | None) -> int:
    if deadline is None:
        return _NO_LIMIT
    return int(min(max(deadline - bucket._now(), 0) // MICROSECOND, _NO_LIMIT))


def reserving(bucket: BucketView, tokens: Tokens, timeout: Number | None) -> Flow[Grant | Any]:
    """Take tokens for later; return a grant, or a reservation of the fallback."""
    asked = bucket._now()
    charges = bucket._charges(tokens, block=True)
    longest = _longest(timeout_nanoseconds(timeout), block=True)
    if not charges:
        return Grant(charges, None, asked)
    question = Question("take", charges, longest, claim=True, now=bucket._given_now())
    try:
        answer = yield from asking(bucket, question)
    except BackendError as error:
        return bucket._instead(error).reserve(tokens, _rest(bucket, timeout, asked))
    Taken(bucket, tokens, charges, timeout).refuse_if_not(answer)
    return Grant(charges, answer, bucket._instant(question))


def changing(
    bucket: BucketView,
    operation: str,
    charges: Charges,
    length: int,
    instead: Callable[[Any], object],
) -> Flow[None]:
    """Change the bucket in one step; `instead` does the same to what stands in for it.

    A lease is given back before, and so is what others have got of one meanwhile: the process hears
    of what it does by itself.
    """
    if not charges:
        return
    yield from dropping(bucket)
    question = Question(operation, charges, length, now=bucket._given_now())
    try:
        yield from asking(bucket, question)
    except BackendError as error:
        instead(bucket._instead(error))
    yield from dropping(bucket)


def telling_when(bucket: BucketView, tokens: Tokens) -> Flow[float]:
    """Return the seconds until tokens could be taken."""
    charges = bucket._limits.charges(tokens)
    if not fit(charges):
        return math.inf
    if not charges:
        return 0.0
    try:
        answer = yield from asking(bucket, Question("take", charges, -1, now=bucket._given_now()))
    except BackendError as error:
        return bucket._instead(error).retry_after(tokens)
    return seconds(answer.wait * MICROSECOND)


def looking(bucket: BucketView, instead: Callable[[Any], Any]) -> Flow[Any]:
    """Return what all its buckets are like, by label; or what `instead` reads off the fallback."""
    charges = bucket._limits.everything()
    try:
        answer = yield from asking(bucket, Question("level", charges, now=bucket._given_now()))
    except BackendError as error:
        return instead(bucket._instead(error))
    return bucket._levels(Taken(bucket, 0, charges, None).after(answer))


def fit(charges: Charges) -> bool:
    """Tell whether all of this could ever be there at once."""
    for limit, units in charges:  # noqa: SIM110 - a generator takes three times as long
        if units > limit.terms.span:
            return False
    return True
