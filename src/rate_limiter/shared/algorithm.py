"""What a shared bucket does: values and a question in, values and an answer out. Pure.

A store that keeps its values under a lock calls `answer`; `redis/take.lua` says the same in Lua.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from .acts import ACTS
from .failures import TooMuch
from .line import advance, tail_of
from .state import State, read, restate, written
from .store import NOWHERE, Answer, Question, Standing
from .terms import Terms

__all__ = ["Change", "answer"]

_LAST_INSTANT = 2**53 - 1


class Change(NamedTuple):
    """What is to be kept under a key.

    Attributes:
        value: The text; None if nothing has to be kept.
        until: The microsecond from which nobody can tell it from no value.
    """

    value: str | None
    until: int


def answer(
    question: Question, values: Sequence[str | None], now: int
) -> tuple[Answer, Sequence[Change] | None]:
    """Return the answer, and what is to be kept under each key; None if nothing changes.

    Args:
        question: The question.
        values: What is kept under each of its keys; None for nothing.
        now: The microsecond that it is.

    Raises:
        BucketFailure: A value is not that of a bucket.
        TooMuch: A bucket would be in debt for more than a century.
    """
    if question.operation == "take" and len(values) == 1:
        quick = _take_at_once(question, values[0], now)
        if quick is not None:
            return quick
    states = [
        _present(value, limit.terms, now)
        for value, (limit, _) in zip(values, question.charges, strict=True)
    ]
    act = ACTS[question.operation](question, states, now)
    settled = [
        _settled(state, limit.terms, now)
        for state, (limit, _) in zip(states, question.charges, strict=True)
    ]
    standings, changes = zip(*settled, strict=True)
    return Answer(*act[:3], standings, act.spare), changes if act.changed else None


_new = cast(Any, tuple).__new__  # a named tuple, in half the time


# The fast path: one bucket, nobody waiting, no pause, the limit as it was. What follows below comes
# to the same.
def _take_at_once(
    question: Question, value: str | None, now: int
) -> tuple[Answer, Sequence[Change] | None] | None:
    """Take from one bucket that nobody waits for; None leaves the question to the rest."""
    limit, cost = question.charges[0]
    terms = limit.terms
    full_at = start = now * terms.scale
    if value is not None:
        digits = value[:16]
        if value[16:] != terms.text or not (digits.isdigit() and digits.isascii()):
            return None
        whole = int(digits)
        if whole > _LAST_INSTANT:
            return None
        full_at = max(whole * terms.scale, start)
    full_at += cost
    wait = -((terms.span + start - full_at) // terms.scale)
    if wait > 0 or question.longest < 0:
        if 0 < wait <= question.longest:
            return None
        standing = _new(Standing, (full_at - cost - start, 0, 0))
        return _new(Answer, (max(wait, 0), 0, NOWHERE, (standing,), 0)), None
    whole, rest = divmod(full_at, terms.scale)
    if whole > _LAST_INSTANT:
        return None
    text = f"{whole:016d}+{rest}{terms.text}" if rest else f"{whole:016d}{terms.text}"
    standing = _new(Standing, (full_at - start, 0, 0))
    answered = _new(Answer, (0, 0, NOWHERE, (standing,), 0))
    return answered, (_new(Change, (text, whole + 1)),)


def _present(value: str | None, terms: Terms, now: int) -> State:
    """Return the state of a bucket now, under the limit that holds now.

    What has happened since the value was written has happened under the limit that it was written
    in: the level at the end of a pause, and what has come in since (P9, P36).
    """
    state = read(value, terms, now)
    advance(state, now)
    if state.terms is not terms:
        restate(state, terms, now)
    return state


def _settled(state: State, terms: Terms, now: int) -> tuple[Standing, Change]:
    """Return what a bucket is like, and what to keep of it."""
    scale, tail = terms.scale, tail_of(state, now)
    if max(tail.base, state.full_at) // scale > _LAST_INSTANT:
        raise TooMuch(
            "the store of the bucket failed: the bucket would be in debt for more than a century"
        )
    lacks, paused = max(tail.base - now * scale, 0), max((state.closed_until or now) - now, 0)
    standing = Standing(lacks, paused, sum(waiting.count for waiting in state.line))
    if not (lacks or paused or state.line):
        return standing, Change(None, now)
    # A place that is not renewed is in line for its whole life, and so is its value.
    lives = max((waiting.deadline for waiting in state.line), default=0)
    return standing, Change(written(state, terms), max(-(-tail.base // scale), tail.left, lives))
