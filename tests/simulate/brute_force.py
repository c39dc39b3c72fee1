"""A bucket in twenty lines, to compare with: exact, slow, and by another way of counting."""

from __future__ import annotations

from fractions import Fraction


def decide(requests, capacity, rate, *, wait=False):
    """Give the delay of each request in seconds, exactly; None for one that is refused.

    Requests are (seconds, key, cost), where time does not go back.
    """
    levels, now, decisions = {}, None, []
    for time, key, cost in requests:
        now = time if now is None else max(now, time)
        level, then = levels.get(key, (Fraction(capacity), now))
        level = min(Fraction(capacity), level + rate * (now - then))
        delay = max(Fraction(cost) - level, Fraction(0)) / rate
        taken = wait or not delay
        levels[key] = level - cost * taken, now
        decisions.append(delay if taken else None)
    return decisions
