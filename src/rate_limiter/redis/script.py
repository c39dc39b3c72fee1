"""The script that decides: how a question is put to it, and what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, TypeAlias, cast

from ..shared.store import NOWHERE, Answer, Place, Question, Standing
from ..shared.terms import pair

__all__ = ["SHA", "SOURCE", "Request", "answer_of", "packed", "request", "sha_of"]

Request: TypeAlias = tuple[Any, ...]
"""A call of the script, by its digest: EVALSHA and its arguments."""

_PAIR = 2  # numbers in the answer of a bucket that has neither line nor pause, and a remainder
_HEAD = 4  # numbers before those of the buckets
_EACH = 4  # numbers of a bucket
_MORE = frozenset(("renew", "cancel", "lease"))  # questions with more than charges
_new = cast(Any, tuple).__new__  # a named tuple, in half the time


def sha_of(source: bytes) -> bytes:
    """Return the digest that a server knows a script by."""
    return hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()


SOURCE = files(__package__ or "").joinpath("take.lua").read_bytes()
SHA = sha_of(SOURCE)


def request(question: Question, sha: bytes = SHA) -> Request:
    """Return a call of the script; see there for its arguments.

    Args:
        question: What is asked of one bucket or more.
        sha: The digest of the script, for tests that change it.
    """
    operation, charges, longest, _, place, now, _ = question
    words = _word(question), b"%d" % longest if longest > 0 else b"0"
    instant = () if now is None else (b"%d" % now,)
    if len(charges) == 1 and operation not in _MORE:  # nearly always
        limit, units = charges[0]
        text, span, span_rest, _ = limit.terms.words
        cost, cost_rest = pair(units, limit.terms.scale)
        if span_rest == cost_rest == b"0":
            return (b"EVALSHA", sha, b"1", limit.key, *words, text, span, cost, *instant)
    head = (b"EVALSHA", sha, b"%d" % len(charges), *[limit.key for limit, _ in charges])
    each = [
        word
        for limit, units in charges
        for word in (*limit.terms.words, *pair(units, limit.terms.scale))
    ]
    more: tuple[bytes, ...] = ()
    if operation == "lease":
        more = pair(question.spare, charges[0][0].terms.scale)
    elif operation in _MORE or instant:
        more = (b"%d" % place.number, b"%d" % place.due)
    return (*head, *words, *each, *more, *instant)


def packed(command: Request) -> bytes:
    """Return a call as it is sent: in half the time of the clients' own, which convert numbers."""
    words = [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
    return b"*%d\r\n%b" % (len(words), b"".join(words))


def _word(question: Question) -> bytes:
    """Return what the script calls an operation."""
    if question.operation != "take":
        return question.operation.encode()
    if question.longest < 0:
        return b"ask"
    return b"claim" if question.claim else b"take"


def answer_of(reply: int | Sequence[int], question: Question) -> Answer:
    """Return the answer that a reply of the script is."""
    if isinstance(reply, int):
        return _simple(reply, 0, question)
    if len(reply) == _PAIR:
        lacks, rest = reply
        return _simple(lacks, rest, question)
    wait, slowest, number, due = reply[:_HEAD]
    each = zip(*[iter(reply[_HEAD:])] * _EACH, strict=True)
    standings = [
        Standing(lacks * limit.terms.scale + rest, paused, waiting)
        for (limit, _), (lacks, rest, paused, waiting) in zip(question.charges, each, strict=True)
    ]
    if question.operation == "lease":
        spare = number * question.charges[0][0].terms.scale + due
        return Answer(wait, slowest, NOWHERE, standings, spare)
    return Answer(wait, slowest, Place(number, due), standings)


def _simple(lacks: int, rest: int, question: Question) -> Answer:
    """Return the answer of one bucket that nobody waits for."""
    (limit, cost), *_ = question.charges
    terms = limit.terms
    if lacks >= 0:
        standing = _new(Standing, (lacks * terms.scale + rest, 0, 0))
        return _new(Answer, (0, 0, NOWHERE, (standing,), 0))  # type: ignore[no-any-return]
    units = (-1 - lacks) * terms.scale + rest
    wait = -((terms.span - units - cost) // terms.scale)
    return Answer(wait, 0, NOWHERE, (Standing(units, 0, 0),))
