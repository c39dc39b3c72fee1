"""Several buckets of this process at once, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..admission import Tokens
from ..clock import Clock
from ..exceptions import Label
from ..members import Members
from ..units import read_cost
from .bucket import LocalBucket
from .ledger import Ledger
from .line import Prices

__all__ = ["LocalGroup", "join"]


class LocalGroup(LocalBucket):
    """A group of buckets in this process, as one bucket; see `BucketGroup`."""

    __slots__ = ("_labels", "_leaves", "_members")

    _labels: Sequence[Label]

    def __init__(self, members: Members[LocalBucket]) -> None:
        self._members = members
        # The buckets that are no groups; their ledgers may be replaced.
        self._leaves: list[Any] = [leaf for member in members.all for leaf in _leaves(member)]
        self._labels = members.labels
        ledgers = self._ledgers
        if len(set(ledgers)) < len(ledgers):
            raise ValueError("a bucket can be in a BucketGroup only once")
        clocks = [member._clock for member in members.all]
        if any(clock is not clocks[0] for clock in clocks):
            raise ValueError("the buckets of a BucketGroup must run on the same clock")
        self._use_clock(clocks[0])

    @property
    def capacity(self) -> float:
        """The smallest capacity among its buckets, in tokens."""
        return self._members.capacity

    @property
    def tokens_per_second(self) -> float:
        """The smallest rate among its buckets."""
        return self._members.tokens_per_second

    @property
    def _ledgers(self) -> Sequence[Ledger]:
        return [bucket._ledger for bucket in self._leaves]

    def _prices(self, tokens: Tokens) -> Prices:
        if type(tokens) is int or not isinstance(tokens, Mapping):
            price = read_cost(tokens)
            return [(bucket._ledger, price) for bucket in self._leaves]
        costs = self._members.costs(tokens)
        return [price for member, cost in costs for price in member._prices(cost)]

    def _uses(self, actual: Tokens, taken: Tokens) -> Prices:
        self._members.check_use(actual, taken)
        costs = self._members.costs(actual, zeros=True)
        return [use for member, cost in costs for use in member._uses(cost, cost)]

    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> LocalGroup:
        return join(unnamed, named)

    def _twin(self) -> LocalGroup:
        return LocalGroup(self._members.twins())

    def _move_to(self, clock: Clock) -> Any:
        state = self._clock, [member._move_to(clock) for member in self._members.all]
        self._use_clock(clock)
        return state

    def _move_back(self, state: Any) -> None:
        clock, members = state
        self._use_clock(clock)
        for member, state_of_member in zip(self._members.all, members, strict=True):
            member._move_back(state_of_member)

    def _placed(self) -> Any:
        return self._clock, [member._placed() for member in self._members.all]

    def __repr__(self) -> str:
        return f"BucketGroup({self._members!r})"


def _leaves(member: Any) -> list[Any]:
    return member._leaves if isinstance(member, LocalGroup) else [member]


def join(unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> LocalGroup:
    """Return what decides for a group of these; see `Members` for what is raised."""
    return LocalGroup(Members(LocalBucket, unnamed, named))
