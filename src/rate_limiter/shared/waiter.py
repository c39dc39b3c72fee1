"""A caller that waits in a shared bucket: its place, and what it has heard of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..admission import Tokens
from ..exceptions import BackendError
from ..instrumentation.waits import waiting
from ..source import Source
from .bucket_view import BucketView
from .failures import ReplyLost
from .limits import restated
from .line import LIFE
from .running import Flow, GiveBack
from .store import MICROSECOND, NOWHERE, Answer, Question
from .taken import Taken

__all__ = ["Waiter", "asking"]


def asking(bucket: BucketView, question: Question) -> Flow[Answer]:
    """Ask the store, unless it is known to be away; note what that says of it.

    Raises:
        BackendError: It failed, or is left alone because it did a moment ago.
    """
    bucket._heed_outage()
    try:
        answer: Answer = yield question
    except BaseException as error:
        bucket._note_failure(error)
        raise
    bucket._note_answer(question, answer)
    return answer


class Waiter:
    """A caller with a place in line, or one that has been served.

    Attributes:
        bucket: What it waits for.
        answer: The last answer that it has got.
        place: Its place; `NOWHERE` once it has none.
        heard: The nanosecond, on the bucket's clock, from which that answer counts.
        tried: The nanosecond at which it last tried to get one.
    """

    __slots__ = ("_question", "_taken", "answer", "bucket", "heard", "place", "tried")

    def __init__(
        self, bucket: BucketView, taken: Taken, question: Question, answer: Answer
    ) -> None:
        self.bucket = bucket
        self._taken = taken
        self._hear(answer, question)

    def _hear(self, answer: Answer, question: Question) -> None:
        self._question, self._taken.charges = question, question.charges
        self.answer, self.place = answer, answer.place
        self.heard = self.tried = self.bucket._instant(question)

    @property
    def leaves(self) -> int:
        """The nanosecond at which it leaves, as far as is known."""
        return self.heard + self.answer.wait * MICROSECOND

    def told(self, source: Source | None, tokens: Tokens) -> AbstractContextManager[Any]:
        """Return what is told of the wait; see `instrumentation.waits.waiting`."""
        limit = self._question.charges[self.answer.slowest][0]
        label = self.bucket._limits.label(limit)
        return waiting(source, tokens, self.leaves, self.heard, label)

    def renew(self, longest: int) -> Flow[None]:
        """Ask again when it leaves. A failure is no answer while the place still lasts.

        A caller that was told when to leave, and did not, gives that place back by the same
        question. So it is not given back once more, unless the question is known to have done
        nothing.

        Raises:
            BackendError: It failed, and the place may have been given back.
        """
        bucket, place = self.bucket, self.place
        self.tried = bucket._now()
        question = self._asked_now(operation="renew", place=place, longest=longest)
        if place.due:
            self.place = NOWHERE
        try:
            answer = yield from asking(bucket, question)
        except BackendError as error:
            if not isinstance(error, ReplyLost):
                self.place = place
            if bucket._now() - self.heard > LIFE * MICROSECOND:
                raise
        else:
            self._hear(answer, question)

    def leave(self) -> Flow[None]:
        """Give the place back, if it has one."""
        place, self.place = self.place, NOWHERE
        if place.number:
            yield GiveBack(self._asked_now(operation="cancel", place=place))

    def _asked_now(self, **asked: Any) -> Question:
        """Return another question about the same tokens, under the limits that hold now."""
        bucket = self.bucket
        charges = restated(bucket._limits, self._question.charges)
        return self._question._replace(charges=charges, now=bucket._given_now(), **asked)
