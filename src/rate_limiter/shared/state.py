"""What a store keeps of a bucket, and the text that it keeps it as.

    1790000000123456:315e3::10         when it is full, in microseconds; then the limit that it was
                                       stated in: scale, unit (63e9 goes without saying), and the
                                       capacity in tokens
    1790000000123456+21e4:315e3::10    the same, and a remainder in units
    ...!1790000009000000               closed until then
    ...;17900...:17900...:1:...        and callers wait, each of them a place

No value is a full bucket that nobody waits for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

from .failures import BucketFailure
from .terms import COMMON, Terms

__all__ = ["Kept", "State", "Waiting", "read", "restate", "written"]

_MOST = 2**53 - 1  # what a number of a value may be, so that a double holds it
_VALUE = re.compile(
    r"(\d{16}|-\d{15,16})(?:\+([1-9]\d{0,15}))?"
    r"(:([1-9]\d{0,15}(?:e\d\d?)?):((?:[1-9]\d{0,15}(?:e\d\d?)?)?):(\d{1,40}(?:\.\d{1,40})?(?:e[+-]?\d\d?)?))"
    r"(?:!(\d{1,16}))?((?:;\d{1,16}(?::\d{1,16}){8})*)",
    re.ASCII,
)


@dataclass(slots=True)
class Waiting:
    """One place in line, or several next to each other that have been told when to leave.

    Attributes:
        first, last: Their numbers, from the first to the last.
        count: How many of them there are still.
        cost: What they pay together, in units.
        floor: When the bucket is full at the earliest, once they have left, in units.
        due: The microsecond at which the last of them leaves. Of a place that renews: the earliest
            that other buckets allow; 0 for a place in one bucket.
        deadline: The microsecond at which a place that renews is given back; 0 for a place that
            has been told when to leave.
    """

    first: int
    last: int
    count: int
    cost: int
    floor: int
    due: int
    deadline: int


@dataclass(slots=True, frozen=True)
class Kept:
    """A limit that a value was stated in; see `Terms`."""

    scale: int
    unit: int
    capacity: Fraction

    @property
    def span(self) -> int:
        """What a full bucket holds, in units."""
        return int(self.capacity * self.unit)

    @property
    def head_start(self) -> int:
        """How long before it is full a token is there, in units."""
        return max(self.span - self.unit, 0)


@dataclass(slots=True)
class State:
    """A bucket: its limit, when it is full, until when it is closed, and its waiters.

    Attributes:
        terms: The limit that the units below belong to.
        full_at: When it is full, in units; what waiters will take is not in it.
        closed_until: The microsecond at which a pause ends; None without one.
        line: Its waiters, in the order in which they leave.
    """

    terms: Terms | Kept
    full_at: int
    closed_until: int | None = None
    line: list[Waiting] = field(default_factory=list[Waiting])


def written(state: State, terms: Terms) -> str:
    """Return the text that keeps a state whose limit is `terms`."""
    scale = terms.scale
    whole, rest = divmod(state.full_at, scale)
    text = f"{whole:016d}+{rest}{terms.text}" if rest else f"{whole:016d}{terms.text}"
    if state.closed_until is not None:
        text += f"!{state.closed_until}"
    return text + "".join(_place(waiting, scale) for waiting in state.line)


def _place(waiting: Waiting, scale: int) -> str:
    cost, floor = divmod(waiting.cost, scale), divmod(waiting.floor, scale)
    numbers = (waiting.first, waiting.last, waiting.count, *cost, *floor)
    return ";" + ":".join(map(str, (*numbers, waiting.due, waiting.deadline)))


def read(text: str | None, terms: Terms, now: int) -> State:
    """Return the state that a value keeps, in the units of the limit that it was stated in.

    Args:
        text: The value; None for a bucket that is full.
        terms: The limit that holds now.
        now: The microsecond that it is.

    Raises:
        BucketFailure: The text is not that of a bucket.
    """
    if text is None:
        return State(terms, now * terms.scale)
    found = _VALUE.fullmatch(text)
    if found is None:
        raise _corrupt()
    full, rest, limit, scale, unit, capacity, closed, line = found.groups(default="0")
    kept = terms if limit == terms.text else _read_limit(scale, unit, capacity)
    full_at, closed_until = _pair(full, rest, kept.scale), _number(closed)
    places = [_read_place(words, kept.scale) for words in line.split(";")[1:]]
    return State(kept, full_at, closed_until or None, places)


def _read_limit(scale: str, unit: str, capacity: str) -> Kept:
    kept = Kept(_expanded(scale), _expanded(unit) if unit else COMMON, Fraction(capacity))
    if not 0 < kept.capacity * kept.unit <= _MOST * kept.scale:
        raise _corrupt()
    return kept


def _expanded(text: str) -> int:
    digits, _, zeros = text.partition("e")
    return _checked(int(digits) * 10 ** int(zeros or 0))


def _number(text: str) -> int:
    return _checked(int(text))


def _checked(number: int) -> int:
    if abs(number) > _MOST:
        raise _corrupt()
    return number


def _pair(whole: str, rest: str, scale: int) -> int:
    """Return the units of microseconds and a remainder."""
    if int(rest) >= scale:
        raise _corrupt()
    return _number(whole) * scale + int(rest)


def _read_place(words: str, scale: int) -> Waiting:
    first, last, count, cost, cost_rest, floor, floor_rest, due, deadline = words.split(":")
    waiting = Waiting(
        _number(first),
        _number(last),
        _number(count),
        _pair(cost, cost_rest, scale),
        _pair(floor, floor_rest, scale),
        _number(due),
        _number(deadline),
    )
    if not waiting.count or (waiting.deadline and waiting.count > 1):
        raise _corrupt()
    return waiting


def _corrupt() -> BucketFailure:
    return BucketFailure(
        "the store of the bucket failed: the value under its key is not that of a bucket; "
        "use another name or prefix"
    )


def restate(state: State, terms: Terms, now: int) -> None:
    """Go on with another limit: the tokens that are there stay, up to its capacity.

    What has added up beyond that for a head of the line that costs more stays as well.

    A bucket that is full and has nobody waiting is full under any limit, for a store may have
    forgotten its value.

    Args:
        state: The bucket, brought up to `now` under the limit that it was stated in.
        terms: The limit that holds from now on.
        now: The microsecond that it is.
    """
    kept, state.terms = state.terms, terms
    ratio = Fraction(terms.unit, kept.unit)
    lacks = state.full_at - now * kept.scale  # below zero once more than fits is there for the head
    state.full_at = now * terms.scale
    state.line = [_restated(waiting, kept, terms, ratio) for waiting in state.line]
    if lacks > 0 or state.closed_until is not None or state.line:
        least = min(terms.span - state.line[0].cost, 0) if state.line else 0
        state.full_at += max(terms.span - _floor((kept.span - lacks) * ratio), least)


def _restated(waiting: Waiting, kept: Terms | Kept, terms: Terms, ratio: Fraction) -> Waiting:
    beyond = (waiting.floor - waiting.due * kept.scale) * ratio
    floor = max(waiting.due * terms.scale - _floor(-beyond), 0) if not waiting.deadline else 0
    return replace(waiting, cost=_floor(waiting.cost * ratio) or 1, floor=floor)


def _floor(number: Fraction) -> int:
    return number.numerator // number.denominator
