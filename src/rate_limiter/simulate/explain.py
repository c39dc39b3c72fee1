"""Say what a limit means: in figures, in headers, and in a picture of a busy spell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

from ..exceptions import Label
from ..http.headers.writing import rate_limit, rate_limit_policy, whole_seconds
from ..level import Level
from .formats import Request
from .levels import exact_rate
from .limits import Limit
from .run import Simulation
from .spell import BusySpell
from .words import aligned, shown_duration, shown_number, sparkline

__all__ = ["explained"]

_SPANS = (("a second", 1), ("a minute", 60), ("an hour", 3_600), ("a day", 86_400))
_KEY = ""


def explained(limit: Limit, spell: BusySpell, *, blocks: bool = True) -> str:
    """Return what a limit means, for a terminal.

    Args:
        limit: The limit.
        spell: A busy spell under it.
        blocks: Whether the terminal has block characters.
    """
    full = Simulation(limit).levels(_KEY)
    parts = [_head(limit, full), _spans(list(full.values()))]
    if _smallest(full) >= 1:
        parts += [_answers(limit, full), _picture(spell, blocks=blocks)]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts))


def _head(limit: Limit, full: Mapping[str, Level]) -> Iterator[str]:
    for words, level in full.items():
        capacity, every = level.capacity, 1 / level.tokens_per_second
        yield (
            f"{words}: {shown_number(capacity)} at once from a full bucket, then one every "
            f"{shown_duration(every)}; from empty to full in {shown_duration(capacity * every)}"
        )
    if limit.strict:
        yield "strict: no span of the rate's own length ever has more than its count"
    if _smallest(full) < 1:
        yield "The capacity is below 1: a request that costs one token is never admitted at once."


def _smallest(levels: Mapping[str, Level]) -> float:
    return min(level.capacity for level in levels.values())


def _spans(full: list[Level]) -> list[str]:
    """Return the table of what is admitted in how long."""
    rows = [["at most in", "the first, from full", "in the long run"]]
    for name, length in _SPANS:
        rows.append([name, f"{_at_most(full, length):,}", _sustained(full, length)])
    return aligned(rows)


def _at_most(full: list[Level], length: int) -> int:
    """Return how many are admitted in the first seconds, when callers ask all the time."""
    return min(math.floor(Fraction(level.capacity) + exact_rate(level) * length) for level in full)


def _sustained(full: list[Level], length: int) -> str:
    return shown_number(float(min(exact_rate(level) for level in full) * length))


def _answers(limit: Limit, full: Mapping[str, Level]) -> Iterator[str]:
    """Give what a service answers to a first request, and to one when nothing is left."""
    simulation, request = Simulation(limit), Request(0, _KEY, 1)
    simulation.decide(request)
    yield "The first request may be answered with"
    yield from _headers(simulation.levels(_KEY))
    simulation.decide(request._replace(cost=math.floor(_smallest(full)) - 1))
    _, wait, refused_by = simulation.decide(request)
    retry_after = whole_seconds(wait)
    yield f"and the first that is refused, {shown_duration(wait or 0.0)} too early, with"
    yield f"  Retry-After: {retry_after}"
    yield from _headers(simulation.levels(_KEY), refused_by, retry_after)


def _headers(
    levels: Mapping[str, Level], refused_by: Label = None, retry_after: int | None = None
) -> Iterator[str]:
    """Give the header fields as services write them."""
    alone = len(levels) == 1
    labelled: dict[Label, Level] = {
        None if alone else words: level for words, level in levels.items()
    }
    told = rate_limit(labelled, refused_by=refused_by, retry_after=retry_after)
    yield f"  RateLimit: {told}"
    yield f"  RateLimit-Policy: {rate_limit_policy(labelled)}"


def _picture(spell: BusySpell, *, blocks: bool) -> Iterator[str]:
    if spell.too_long:
        yield "No picture of a busy spell: it would take too many requests to empty the largest"
        yield "bucket by what the smallest lets through. Explain them one by one."
        return
    each = "" if spell.cost == 1 else f", {spell.cost:,} tokens a request"
    yield f"Callers ask for half the rate, then for three times as much, then for half again{each}:"
    yield ""
    asked, admitted = spell.asked, spell.admitted
    refused = [came - left for came, left in zip(asked, admitted, strict=True)]
    for name, values in (("asked", asked), ("admitted", admitted), ("refused", refused)):
        yield f"{name:<8}  {sparkline(values, max(asked), blocks=blocks)}"
    yield f"{'tokens':<8}  {sparkline(spell.levels, 1.0, blocks=blocks)}"
    end = shown_duration(spell.seconds)
    yield f"{'':<8}  0 s{end:>{len(asked) - 3}}"
