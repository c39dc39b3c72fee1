"""What a question does to the states of shared buckets: one function for each operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .line import FIRM, advance, charge, crowded, cut, end_pause, gather, place_of, tail_of
from .renewing import Act, keep_place, run_of, spot_of
from .state import State
from .store import Place, Question

__all__ = ["ACTS"]


def _take(question: Question, states: Sequence[State], now: int) -> Act:
    tails = [tail_of(state, now) for state in states]
    costs = [cost for _, cost in question.charges]
    dues = [tail.due(cost) for tail, cost in zip(tails, costs, strict=True)]
    due = max(dues)
    wait, slowest = due - now, dues.index(due)
    if question.longest < 0 or (wait > 0 and wait > question.longest):
        return Act(wait, slowest, changed=False)
    if wait == 0:
        for state, tail, cost in zip(states, tails, costs, strict=True):
            state.full_at = tail.base + cost
        return Act(0, slowest)
    number = max(now, 1, *(waiting.last + 1 for state in states for waiting in state.line))
    firm = question.claim or wait <= FIRM or any(map(crowded, states))
    for state, tail, cost in zip(states, tails, costs, strict=True):
        place = place_of(number, cost, due, firm, tail, len(states), now)
        state.line.append(place)
        gather(state)
    return Act(wait, slowest, Place(number, due if firm else 0))


def _lease(question: Question, states: Sequence[State], now: int) -> Act:
    """Take the charge of one bucket if it is there, and more as far as that is."""
    act = _take(question, states, now)
    if act.wait or not act.changed:
        return act
    state = states[0]
    room = state.terms.span - max(state.full_at - now * state.terms.scale, 0)
    spare = max(min(question.spare, room), 0)
    state.full_at += spare
    return act._replace(spare=spare)


def _renew(question: Question, states: Sequence[State], now: int) -> Act:
    spots = [spot_of(state, question.place.number) for state in states]
    found = [spot for spot in spots if spot is not None]
    if len(found) < len(states):  # it has left unused, or was given back, or the store has lost it
        for state, (_, cost) in zip(states, question.charges, strict=True):
            _return(state, question.place, cost, now)
        act = _take(question, states, now)
    else:
        act = keep_place(question, states, found, now)
    if not act.place.number:
        for state, spot in zip(states, spots, strict=True):
            if spot == 0:
                cut(state, now)
    for state in states:
        advance(state, now)
    return act._replace(changed=True)


def _cancel(question: Question, states: Sequence[State], now: int) -> Act:
    for state, (_, cost) in zip(states, question.charges, strict=True):
        _leave(state, question.place, cost, now)
    return _CHANGED


def _leave(state: State, place: Place, cost: int, now: int) -> None:
    """Give a place up. What has been corrected since it was taken is in the cost."""
    if not _vacate(state, place, cost, now) and 0 < place.due <= now:
        charge(state, -cost, now)


def _return(state: State, place: Place, cost: int, now: int) -> None:
    """Give a place up that may have left without its caller, which was stopped for long.

    What it paid may have come back since, and cannot be had twice. When it left, the bucket was
    empty, and so it was full no sooner than it can be from there.
    """
    if not _vacate(state, place, cost, now) and 0 < place.due <= now:
        lacks = state.terms.span - (now - place.due) * state.terms.scale
        charge(state, -max(min(cost, lacks), 0), now)


def _vacate(state: State, place: Place, cost: int, now: int) -> bool:
    """Take a place out of the line; tell whether it was there.

    A caller that does not know when it leaves may have been told so by a reply that was lost.
    """
    spot = spot_of(state, place.number)
    if spot is None and place.due:
        spot = run_of(state, place.number)
    if spot is None:
        return False
    waiting = state.line[spot]
    if waiting.count == 1:
        del state.line[spot]
        if spot == 0:
            cut(state, now)
        charge(state, waiting.cost - cost, now)
    else:
        waiting.count -= 1
        waiting.cost = max(waiting.cost - cost, 0)
    return True


def _correct(question: Question, states: Sequence[State], now: int) -> Act:
    for state, (_, units) in zip(states, question.charges, strict=True):
        charge(state, units, now)
    return _CHANGED


def _pause(question: Question, states: Sequence[State], now: int) -> Act:
    if question.longest > 0:
        for state in states:
            state.closed_until = max(state.closed_until or 0, now + question.longest)
    return _CHANGED


def _resume(_: Question, states: Sequence[State], now: int) -> Act:
    for state in states:
        if state.closed_until is not None:
            state.closed_until = now
            end_pause(state, now)
    return _CHANGED


def _reset(_: Question, states: Sequence[State], now: int) -> Act:
    for state in states:
        state.full_at, state.closed_until, state.line = now * state.terms.scale, None, []
    return _CHANGED


def _level(_: Question, __: Sequence[State], ___: int) -> Act:
    return Act(0, 0, changed=False)


_CHANGED = Act(0, 0)
ACTS: dict[str, Callable[[Question, Sequence[State], int], Act]] = {
    "take": _take,
    "lease": _lease,
    "renew": _renew,
    "cancel": _cancel,
    "correct": _correct,
    "pause": _pause,
    "resume": _resume,
    "reset": _reset,
    "level": _level,
}
