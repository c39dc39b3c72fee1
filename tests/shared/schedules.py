"""Callers of shared buckets, and a store that is a dictionary: what happens, in the order of time.

The store holds nothing but the texts that the algorithm returns, and forgets each from the
microsecond on from which it may.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.line import LIFE, RENEWAL
from rate_limiter.shared.store import NOWHERE, Answer, Limit, Place, Question, undoing
from rate_limiter.shared.terms import Terms

SECOND = 10**6
FOREVER = 10**14  # the longest wait of who has patience
START = 1_790_000_000_000_000


class Texts:
    """Keeps values; `forgets` tells whether it drops those that say nothing any more."""

    def __init__(self, *, forgets: bool = True) -> None:
        self.values: dict[bytes, str] = {}
        self._until: dict[bytes, int] = {}
        self._forgets = forgets

    def ask(self, question: Question, now: int) -> Answer:
        keys = [limit.key for limit, _ in question.charges]
        for key in keys:
            if self._forgets and self._until.get(key, now + 1) <= now:
                del self.values[key], self._until[key]
        replied, changes = answer(question, [self.values.get(key) for key in keys], now)
        for key, change in zip(keys, changes or (), strict=changes is not None):
            self.values.pop(key, None)
            self._until.pop(key, None)
            if change.value is not None:
                self.values[key], self._until[key] = change.value, change.until
        return replied


@dataclass
class Caller:
    """Somebody who waits.

    Attributes:
        order: Who came first.
        costs: What it takes of each bucket, in tokens.
        joined: When it came.
        latency: How late its renewals are, in microseconds; None if it dies when it has joined.
        lost: Which of its questions get no answer, counted from 0, its first.
        asked: How many it has asked.
        place: Where it waits.
        left: When it left with its tokens.
        told: When it was told to leave, if it was.
        heard: When it was answered last.
        stopped: Until when its process is stopped.
        moved: Whether it has lost a place, and taken another.
        gone: Whether it has given up.
    """

    order: int
    costs: dict[int, int]
    joined: int
    latency: int | None
    lost: tuple[int, ...] = ()
    asked: int = 0
    place: Place = NOWHERE
    left: int | None = None
    told: int | None = None
    heard: int | None = None
    stopped: int = 0
    moved: bool = False
    gone: bool = False


@dataclass
class World:
    """Buckets, and the callers that use them.

    Attributes:
        pauses: From when to when buckets were paused.
    """

    limits: list[Limit]
    store: Texts = field(default_factory=Texts)
    now: int = START
    callers: list[Caller] = field(default_factory=list)
    pauses: list[tuple[int, int]] = field(default_factory=list)
    _events: list[tuple[int, int, Caller | Question]] = field(default_factory=list)
    _came: int = 0

    @classmethod
    def of(cls, *limits: tuple[float, float], now: int = START) -> World:
        terms = [Terms(*limit) for limit in limits]
        return cls([Limit(b"%d" % n, each) for n, each in enumerate(terms)], now=now)

    def ask(
        self,
        operation: str,
        costs: dict[int, int],
        longest: int = 0,
        *,
        claim: bool = False,
        place: Place = NOWHERE,
    ) -> Answer:
        """Put a question to the store, about tokens of some buckets."""
        if operation == "pause":
            self.pauses.append((self.now, self.now + longest))
        question = Question(operation, self._charges(costs), longest, claim, place)
        return self.store.ask(question, self.now)

    def _charges(self, costs: dict[int, int]) -> list[tuple[Limit, int]]:
        return [(self.limits[n], self.limits[n].terms.unit * tokens) for n, tokens in costs.items()]

    def advance(self, microseconds: int) -> None:
        """Let time pass: who has been told leaves, who has to renews."""
        end = self.now + microseconds
        while self._events and self._events[0][0] <= end:
            self.now, _, due = heapq.heappop(self._events)
            if isinstance(due, Caller):
                self._act(due)
            else:
                self.store.ask(due, self.now)
        self.now = end

    def _next(self) -> int:
        """Return the number of who comes next."""
        self._came += 1
        return self._came

    def allow(self, costs: dict[int, int]) -> bool:
        """Take tokens now, or none."""
        caller = Caller(self._next(), costs, self.now, 0)
        replied = self.ask("take", costs)
        if replied.wait == 0:
            caller.left = self.now
            self.callers.append(caller)
        return replied.wait == 0

    def wait(
        self,
        costs: dict[int, int],
        latency: int | None = 0,
        longest: int = FOREVER,
        lost: tuple[int, ...] = (),
        *,
        claim: bool = False,
    ) -> Caller:
        """Wait for tokens, for as long as it takes."""
        caller = Caller(self._next(), costs, self.now, latency, lost)
        self.callers.append(caller)
        self._answer(caller, self.ask("take", costs, longest, claim=claim))
        return caller

    def cancel(self, caller: Caller) -> None:
        """Give up, unless it has left, or its process is stopped."""
        if self._waits(caller):
            caller.gone = True
            if caller.place.number:
                self.ask("cancel", caller.costs, place=caller.place)

    def interrupt(self, caller: Caller, delay: int) -> None:
        """Give up amid a renewal, whose answer has the same given back once more."""
        if self._waits(caller) and caller.told is None:
            charges = self._charges(caller.costs)
            renewal = Question("renew", charges, FOREVER, place=caller.place)
            undo = undoing(renewal, self.store.ask(renewal, self.now))
            if undo is not None:
                heapq.heappush(self._events, (self.now + delay, self._next(), undo))
        self.cancel(caller)

    def stop(self, caller: Caller, length: int) -> None:
        """Stop its process for a while."""
        caller.stopped = self.now + length

    def _waits(self, caller: Caller) -> bool:
        return caller.left is None and not caller.gone and caller.stopped <= self.now

    def _act(self, caller: Caller) -> None:
        if caller.left is not None or caller.gone:
            return
        if caller.stopped > self.now:
            self._at(caller.stopped, caller)
        elif caller.told is None or self.now - caller.told > LIFE:
            self._renew(caller)
        else:
            caller.left = caller.told

    def _renew(self, caller: Caller) -> None:
        """Ask again; whoever is far too late for its time gives it back by that."""
        place = caller.place
        if place.due:
            caller.place, caller.told, caller.moved = NOWHERE, None, True
        self._answer(caller, self.ask("renew", caller.costs, FOREVER, place=place))

    def _answer(self, caller: Caller, replied: Answer) -> None:
        """Answer a question of a caller, unless the answer is lost."""
        caller.asked += 1
        if caller.asked - 1 not in caller.lost:
            self._heard(caller, replied)
        elif caller.heard is None or self.now - caller.heard > LIFE:
            self.cancel(caller)  # it has failed
        else:
            self._at(self.now + RENEWAL, caller)

    def _heard(self, caller: Caller, replied: Answer) -> None:
        unheard = any(0 < number < caller.asked for number in caller.lost)
        caller.moved |= unheard and caller.place.number != replied.place.number
        caller.place, caller.heard = replied.place, self.now
        if replied.wait == 0:
            caller.left = self.now
        elif not replied.place.number:
            caller.gone = True
        elif caller.latency is None:
            caller.gone = True  # it dies
        elif replied.place.due:
            caller.told = replied.place.due
            assert caller.told == self.now + replied.wait
            self._at(caller.told, caller)
        else:
            self._at(self.now + RENEWAL + caller.latency, caller)

    def _at(self, instant: int, caller: Caller) -> None:
        heapq.heappush(self._events, (instant, caller.order, caller))
