"""Whether what is left is what may be left: a rule a function, that says what is wrong or None."""

from __future__ import annotations

from collections.abc import Sequence

from .outcome import CUT_SHORT, Outcome
from .waiters import SERVED

__all__ = ["RULES", "judge"]


def members_agree(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """Each bucket is as it may be, but they are not so together."""
    if _minted(outcome, allowed) or _lost(outcome, allowed):
        return None  # another rule says it
    torn = outcome.end not in [one.end for one in allowed]
    return "the buckets disagree" if torn else None


def nothing_minted(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """No bucket holds more than if the call had not happened."""
    tokens = _minted(outcome, allowed)
    return f"{tokens:g} tokens minted" if tokens else None


def no_more_lost(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """No bucket holds less than if the call had happened."""
    tokens = _lost(outcome, allowed)
    return f"{tokens:g} tokens lost" if tokens else None


def everybody_served(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """Whoever stands in line is served when its time has come, and hears of nothing else."""
    others = sorted({str(fate) for fate in outcome.fates if fate != SERVED})
    return f"those who waited: {', '.join(others)}" if others else None


def limit_works(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """A full bucket admits its capacity, and then at its rate."""
    return "; ".join(outcome.complaints) or None


def refusal_helps(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """Whoever is refused is told when to come again, which is not now (P37)."""
    told = [str(answer) for answer in (outcome.answer, outcome.guest)]
    zero = any(answer.startswith("RateLimitExceeded 0.0") for answer in told)
    return "refused, and told to come again in 0 s" if zero else None


def looks_whole_at_once(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """Levels, delays and keys are those of one whole state before any time has passed."""
    if outcome.now is None or outcome.now in [one.now for one in allowed if one.now]:
        return None
    due = next((one.now for one in allowed if one.now), None)
    return f"at once: {_shortly(outcome.now)}, not {_shortly(due)}"


def answers_true(outcome: Outcome, allowed: Sequence[Outcome]) -> str | None:
    """What was answered is what happened."""
    for one in allowed:
        same = outcome.answer in (CUT_SHORT, one.answer) and outcome.guest == one.guest
        if same and outcome.end == one.end:
            return None
    return f"answers {outcome.answer}, {outcome.guest} do not go with {outcome.end}"


RULES = (
    nothing_minted,
    no_more_lost,
    members_agree,
    everybody_served,
    limit_works,
    refusal_helps,
    looks_whole_at_once,
    answers_true,
)


def judge(outcome: Outcome, allowed: Sequence[Outcome]) -> list[str]:
    """Return what is wrong with an outcome.

    Args:
        outcome: What was seen.
        allowed: What may be seen: of an operation that was cut short, how it is without and with
            it; of one that something came in between, how it is with one after the other.
    """
    return [wrong for rule in RULES if (wrong := rule(outcome, allowed))]


def _minted(outcome: Outcome, allowed: Sequence[Outcome]) -> float:
    """Return how far the worst bucket is above what it may hold."""
    above = [
        level - max(one.end[leaf] for one in allowed) for leaf, level in enumerate(outcome.end)
    ]
    return max(*above, 0)


def _lost(outcome: Outcome, allowed: Sequence[Outcome]) -> float:
    """Return how far the worst bucket is below what it may hold."""
    below = [
        min(one.end[leaf] for one in allowed) - level for leaf, level in enumerate(outcome.end)
    ]
    return max(*below, 0)


def _shortly(now: tuple | None) -> str:
    return "later" if now is None else " ".join(str(part) for part in now if part)
