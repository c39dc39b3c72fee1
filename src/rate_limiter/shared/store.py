"""The seam between a bucket and its store: one question, one answer.

A store keeps a value under each key, and answers a question about one key or several in one step:
all of them change, or none. What the answer is, `algorithm.py` says; a store that runs a script
says the same in the language of its script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from .terms import Terms

__all__ = [
    "MICROSECOND",
    "NOWHERE",
    "Abandoned",
    "Answer",
    "AsyncStore",
    "Charges",
    "Limit",
    "Place",
    "Question",
    "Standing",
    "Store",
    "ThreadedStore",
    "undoing",
]

T = TypeVar("T")

MICROSECOND = 1_000  # in nanoseconds: questions and answers count microseconds


class Limit(NamedTuple):
    """A limit that a bucket has had: it never changes, for units mean nothing without it.

    Attributes:
        key: The key of the bucket in its store, whatever its limit is.
        terms: The terms of the limit.
    """

    key: bytes
    terms: Terms


Charges: TypeAlias = Sequence[tuple[Limit, int]]
"""What to charge, in units of each limit's terms."""


class Place(NamedTuple):
    """A place in line.

    Attributes:
        number: What it is known by, in every bucket that it waits for; 0 for no place.
        due: The microsecond of the store's clock at which it leaves; 0 if it has not been told.
    """

    number: int
    due: int


NOWHERE = Place(0, 0)


class Question(NamedTuple):
    """What is asked of a store.

    Attributes:
        operation: One of
            take: take the charges, now or as a place in line;
            lease: take the charge of one bucket if it is there, and `spare` as far as that is;
            renew: keep a place that has not been told when to leave, and ask again when that is;
                give back a place that has left without its caller, and take the charges anew;
            cancel: give a place up, with its charges; a due of 0 gives up one that is in line;
            correct: charge, or give back what is below zero;
            pause, resume, reset: as the methods of a bucket;
            level: change nothing.
        charges: The buckets, and what is charged to each.
        longest: take, renew: the longest acceptable wait in microseconds; below zero, the answer
            says how long the wait would be, and nothing is taken. pause: how long.
        claim: take: whether the place stays without being renewed.
        place: renew, cancel: the place.
        now: The microsecond that it is; None goes by the store's own clock.
        spare: lease: how many units to take as well.
    """

    operation: str
    charges: Charges
    longest: int = 0
    claim: bool = False
    place: Place = NOWHERE
    now: int | None = None
    spare: int = 0


class Standing(NamedTuple):
    """What a bucket is like after a question.

    Attributes:
        lacks: What it lacks to be full, in units, once all waiters are served.
        paused: How long a pause will last, in microseconds.
        waiting: How many callers wait in line.
    """

    lacks: int
    paused: int
    waiting: int


class Answer(NamedTuple):
    """What a store answers.

    Attributes:
        wait: take, renew: the microseconds until the charges can be paid. 0 with no place: they
            have been taken.
        slowest: The position, among the charges, of the bucket that holds up longest.
        place: The place in line that was taken or kept. A due of 0 asks to renew it.
        standings: What each bucket is like afterwards.
        spare: lease: how many units were taken as well.
    """

    wait: int
    slowest: int
    place: Place
    standings: Sequence[Standing]
    spare: int = 0


Abandoned: TypeAlias = Callable[[Answer], None]


class Store(Protocol):
    """Keeps buckets for threads."""

    def ask(self, question: Question) -> Answer:
        """Return the answer.

        Raises:
            BackendError: There is none; `failures.py` says which errors mean what.
        """
        ...


class AsyncStore(Protocol):
    """Keeps buckets for tasks of asyncio."""

    async def ask(self, question: Question, abandoned: Abandoned) -> Answer:
        """Return the answer; see `Store.ask`.

        If the task is cancelled meanwhile, `abandoned` is called with the answer when it comes.
        """
        ...

    async def give_back(self, question: Question) -> None:
        """Ask, and return once it is done or has failed.

        It is done also if the task is cancelled once more, or its event loop ends.
        """
        ...

    def abandon(self, question: Question) -> None:
        """Do as `give_back`, and return at once."""
        ...


class ThreadedStore(AsyncStore, Protocol):
    """Keeps buckets for tasks, and is asked by threads as well."""

    async def aside(self, call: Callable[[], T]) -> T:
        """Return what a blocking call returns, which a thread makes for this task.

        It is made also if the task is cancelled meanwhile.
        """
        ...


def undoing(question: Question, answer: Answer) -> Question | None:
    """Return what gives back what an answer has taken; None if it has taken nothing."""
    if question.operation not in ("take", "lease", "renew"):
        return None
    place = answer.place
    if place.number:
        if answer.wait and place.number == question.place.number:
            # Its caller gives up that place as well: what has left by now is given back once.
            place = place._replace(due=0)
        return question._replace(operation="cancel", place=place)
    if answer.wait:
        return None
    charges = [(limit, -units - answer.spare) for limit, units in question.charges]
    return question._replace(operation="correct", charges=charges)
