"""Buckets whose tokens are in this process: wait, reserve, correct, pause."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from sys import modules as _modules
from typing import Any

from ..admission import Admission, Receipt, Tokens, copied
from ..bucket import Bucket, Reservation
from ..clock import Clock, check_clock, nanoseconds, now_of, seconds, timeout_nanoseconds
from ..exceptions import Label
from ..instrumentation.events import WATCH
from ..instrumentation.waits import is_heard, waiting
from ..level import Level, Levels, scarcest
from ..rates import Number
from ..sleeping import (
    TaskSleeper,
    ThreadSleeper,
    checkpoint,
    in_trio_task,
    running_loop,
    task_sleeper,
    warn_of_blocking,
)
from ..source import Source
from .abandoned import drop_abandoned, forget_sleeper, note_sleeper
from .changes import correct, give_back, pause, reprice, reset, resume, settle
from .ledger import Ledger
from .levels import full_in, level_of, unpaused
from .line import Prices, Waiter
from .steps import After, Answer, ask, due_of_waiter, enter, in_turn, leave, look, look_at, take
from .transaction import run

__all__ = ["LocalBucket"]


class LocalBucket(Bucket):
    """A bucket whose tokens and line of callers are in this process."""

    __slots__ = ("_clock",)

    _clock: Clock

    def allow(self, tokens: Tokens = 1) -> bool:
        now = self._now()
        drop_abandoned(now)
        answer: Answer = run(take, self._prices(tokens), (), now)
        return answer.served

    _allow_in_step: Callable[..., bool] = allow  # for those that have a fast path before it

    def wait(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        if timeout is not None:
            timeout_nanoseconds(timeout)
        if not self.allow(tokens):
            self._wait(tokens, timeout)

    async def wait_async(self, tokens: Tokens = 1, timeout: Number | None = None) -> None:
        if timeout is not None:
            timeout_nanoseconds(timeout)
        if "trio" in _modules and in_trio_task():
            await checkpoint()
        if not self.allow(tokens):
            await self._wait_async(tokens, timeout)

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        waiter, tokens = Waiter(), copied(tokens)
        try:
            self._stand_in_line(waiter, tokens, timeout)
        except BaseException:
            self._leave(waiter)
            raise
        return LocalReservation(self, waiter, tokens)

    def refund(self, tokens: Tokens) -> None:
        self._change(correct, [(ledger, -price) for ledger, price in self._prices(tokens)])

    def pause(self, seconds: Number) -> None:
        duration = nanoseconds(seconds)
        self._change(pause, self._ledgers, self._now() + duration)

    def resume(self) -> None:
        self._change(resume, self._ledgers)

    def retry_after(self, tokens: Tokens = 1) -> float:
        prices, now = self._prices(tokens), self._now()
        answer = self._ask(prices, now, at_once=True)
        return math.inf if answer.due is None else seconds(answer.due - now)

    @property
    def available_tokens(self) -> float:
        """What could be taken right now, in tokens; never below zero, not even in debt."""
        return self.level.available_tokens

    @property
    def level(self) -> Level:
        """What the bucket is like right now; of a group, the scarcest of each value."""
        return scarcest(list(self._levels(self._look_at(self._now())).values()))

    @property
    @abstractmethod
    def _ledgers(self) -> Sequence[Ledger]:
        """The ledgers of its buckets."""

    @abstractmethod
    def _twin(self) -> LocalBucket: ...

    @abstractmethod
    def _prices(self, tokens: Tokens) -> Prices:
        """Return the price of a cost in each ledger, or refuse it; a part of 0 is left out."""

    @abstractmethod
    def _uses(self, actual: Tokens, taken: Tokens) -> Prices: ...

    def _check(self, tokens: Tokens) -> None:
        self._prices(tokens)

    def _check_fits(self, tokens: Tokens) -> None:
        prices, now = self._prices(tokens), self._now()
        answer = self._ask(prices, now, at_once=True)
        if answer.due is None:
            raise self._refusal(tokens, prices, answer, now)

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        prices, now = self._prices(tokens), self._now()
        answer = self._take(prices, self._ledgers, now)
        if answer.served:
            return 0.0, self, (now, answer.after)
        if block:
            return self._waited(*self._wait(tokens, timeout, source))
        raise self._refusal(tokens, prices, answer, now)

    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        if "trio" in _modules and in_trio_task():
            await checkpoint()
        at_once = self._at_once(tokens)
        if at_once is not None:
            return 0.0, self, at_once
        prices, now = self._prices(tokens), self._now()
        answer = self._take(prices, self._ledgers, now)
        if answer.served:
            return 0.0, self, (now, answer.after)
        if block:
            return self._waited(*await self._wait_async(tokens, timeout, source))
        raise self._refusal(tokens, prices, answer, now)

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        take = self._take_quickly
        return take if tokens == 1 else partial(take, tokens)

    def _take_quickly(self, tokens: Tokens = 1) -> bool:
        """Take tokens if they are there; not if a hook is to be told of it, which a limiter does.

        False says only that the caller must take the slow path; see `BaseBucket._taker`.
        """
        if WATCH.admitted:
            return False
        now = self._now()
        drop_abandoned(now)
        answer: Answer = run(take, self._prices(tokens), (), now)
        return answer.served

    def _wait(
        self, tokens: Tokens, timeout: Number | None, source: Source | None = None
    ) -> tuple[int, After]:
        """Take tokens as `wait` does.

        Returns:
            When they were asked for, in nanoseconds, and what the bucket was like once it had them.
        """
        if running_loop():
            self._warn_of_blocking(tokens, timeout)
        sleeper = ThreadSleeper()
        waiter = Waiter(sleeper)
        try:
            asked, prices, answer = self._stand_in_line(waiter, tokens, timeout)
            if answer.served:
                after: After = asked, answer.after
            elif is_heard(source, waiter.alarm - asked):
                label = self._held_up_by(prices, answer)
                with waiting(source, tokens, waiter.alarm, asked, label):
                    after = self._sleep(waiter, sleeper)
            else:
                after = self._sleep(waiter, sleeper)
        except BaseException:
            self._leave(waiter)
            raise
        # The places refer to the waiter as well, so only the garbage collector would free them.
        # No step reads those of a sleeper that was served.
        waiter.places = ()
        return asked, after

    async def _wait_async(
        self, tokens: Tokens, timeout: Number | None, source: Source | None = None
    ) -> tuple[int, After]:
        """Do as `_wait` from within a task."""
        sleeper = task_sleeper()
        waiter = Waiter(sleeper)
        try:
            note_sleeper(sleeper.loop, waiter)
            asked, prices, answer = self._stand_in_line(waiter, tokens, timeout)
            if answer.served:
                after: After = asked, answer.after
            elif is_heard(source, waiter.alarm - asked):
                label = self._held_up_by(prices, answer)
                with waiting(source, tokens, waiter.alarm, asked, label):
                    after = await self._sleep_async(waiter, sleeper)
            else:
                after = await self._sleep_async(waiter, sleeper)
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            forget_sleeper(sleeper.loop, waiter)
        waiter.places = ()  # as in `_wait`
        return asked, after

    def _sleep(self, waiter: Waiter, sleeper: ThreadSleeper) -> After:
        """Sleep until a waiter in line is served.

        One that leaves does so before anything else, such as what a hook wants to do (P11).
        """
        try:
            while True:
                self._clock.sleep(sleeper, waiter.alarm)
                after = self._look(waiter)
                if after is not None:
                    return after
        except BaseException:
            self._leave(waiter)
            raise

    async def _sleep_async(self, waiter: Waiter, sleeper: TaskSleeper) -> After:
        """Do as `_sleep` from within a task."""
        try:
            while True:
                await self._clock.sleep_async(sleeper, waiter.alarm)
                after = self._look(waiter)
                if after is not None:
                    return after
        except BaseException:
            self._leave(waiter)
            raise

    def _held_up_by(self, prices: Prices, answer: Answer) -> Label:
        """Return the label of the bucket that holds a caller up longest."""
        return self._labels[self._ledgers.index(prices[answer.slowest][0])]

    def _stand_in_line(
        self, waiter: Waiter, tokens: Tokens, timeout: Number | None
    ) -> tuple[int, Prices, Answer]:
        """Take tokens that are there now, or stand in line for them, or refuse."""
        longest, prices, now = timeout_nanoseconds(timeout), self._prices(tokens), self._now()
        drop_abandoned(now)
        answer: Answer = run(enter, waiter, prices, self._ledgers, longest, now)
        if not (answer.served or answer.waits):
            raise self._refusal(tokens, prices, answer, now, timeout)
        return now, prices, answer

    def _look(self, waiter: Waiter) -> After | None:
        now = self._now()
        drop_abandoned(now)
        after: After | None = run(look, waiter, self._ledgers, now)
        return after

    def _leave(self, waiter: Waiter) -> None:
        run(leave, waiter, self._now())

    def _waited(self, asked: int, after: After) -> Admission:
        return seconds(max(after[0] - asked, 0)), self, after

    def _take(self, prices: Prices, members: Sequence[Ledger], now: int) -> Answer:
        """Take tokens that are there now, or none."""
        drop_abandoned(now)
        answer: Answer = run(take, prices, members, now)
        return answer

    def _ask(self, prices: Prices, now: int, *, at_once: bool) -> Answer:
        drop_abandoned(now)
        answer: Answer = run(in_turn, ask, self._ledgers, now, prices, self._ledgers, at_once)
        return answer

    def _look_at(self, now: int) -> After:
        drop_abandoned(now)
        after: After = run(in_turn, look_at, self._ledgers, now, self._ledgers)
        return after

    def _change(self, act: Callable[..., Any], *args: Any) -> Any:
        """Run a step that may touch all its ledgers."""
        now = self._now()
        drop_abandoned(now)
        return run(in_turn, act, self._ledgers, now, *args)

    def _refusal(
        self,
        tokens: Tokens,
        prices: Prices,
        answer: Answer,
        now: int,
        timeout: Number | None = None,
    ) -> Exception:
        """Return the error for a cost that was refused, made of the answer alone."""
        label, levels = self._held_up_by(prices, answer), partial(self._levels, (now, answer.after))
        if answer.due is None:
            limit = answer.after[self._labels.index(label)].limit
            return self._never(tokens, limit.capacity, label, levels, strict=limit.strict)
        return self._not_yet(tokens, seconds(answer.due - now), label, levels, timeout)

    def _warn_of_blocking(self, tokens: Tokens, timeout: Number | None) -> None:
        """Warn that the wait will block an event loop, before anything is taken."""
        now, longest = self._now(), timeout_nanoseconds(timeout)
        delay = (self._ask(self._prices(tokens), now, at_once=False).due or now) - now
        if delay and (longest is None or delay <= longest):
            warn_of_blocking(seconds(delay))

    def _levels(self, after: After) -> Levels:
        now, *rest = after
        shots = rest[0] if len(rest) == 1 else [unpaused(*rest)]
        levels = [level_of(shot, now) for shot in shots]
        return dict(zip(self._labels, levels, strict=True))

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        used = self._uses(actual, receipt._tokens)
        now, taken = self._now(), self._prices(receipt._tokens)
        drop_abandoned(now)
        done: bool = run(settle, receipt, taken, used, now)
        return done

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        return self._settle(receipt, actual)

    def _give_back(self, receipt: Receipt) -> None:
        now, taken = self._now(), self._prices(receipt._tokens)
        drop_abandoned(now)
        run(give_back, receipt, taken, now)

    async def _give_back_async(self, receipt: Receipt) -> None:
        self._give_back(receipt)

    @abstractmethod
    def _placed(self) -> Any:
        """Return where it is now, for `_move_back`: its clock, and what it counts with."""

    def _use_clock(self, clock: Clock) -> None:
        self._clock = check_clock(clock)
        self._now = now_of(clock)

    def _reset(self) -> None:
        while not self._change(reset, self._ledgers):
            pass

    def _full_in(self) -> int:
        now, shots = self._look_at(self._now())
        return max(full_in(shot, now) for shot in shots)


class LocalReservation(Reservation):
    """Tokens of a local bucket taken now for a use later."""

    __slots__ = ("_bucket", "_tokens", "_waiter")

    def __init__(self, bucket: LocalBucket, waiter: Waiter, tokens: Tokens) -> None:
        self._bucket = bucket
        self._waiter = waiter
        self._tokens = tokens

    @property
    def delay(self) -> float:
        now = self._bucket._now()
        drop_abandoned(now)
        ledgers = [place.ledger for place in self._waiter.places]
        due: int = run(in_turn, due_of_waiter, ledgers, now, self._waiter)
        return seconds(max(due - now, 0))

    def cancel(self) -> None:
        self._bucket._leave(self._waiter)

    def settle(self, actual: Tokens) -> None:
        used = self._bucket._uses(actual, self._tokens)
        if not self._bucket._change(reprice, self._waiter, used):
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")

    def __repr__(self) -> str:
        state = "cancelled" if self._waiter.left else f"delay={self.delay:g}"
        return f"Reservation({state})"
