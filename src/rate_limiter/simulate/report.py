"""Say what a limit would have done: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..clock import NANO
from .levels import LevelTrace
from .limits import Limit
from .tally import Tally
from .words import (
    aligned,
    shown_count,
    shown_duration,
    shown_key,
    shown_share,
    shown_time,
    sparkline,
)

__all__ = ["Outcome", "as_json", "as_text", "title_of"]

_WORST_SHOWN, _WORST_LISTED = 5, 100
_COLUMNS = 60  # of a sparkline
_LONGEST_REASON = 200  # characters


class Outcome(NamedTuple):
    """What a simulation found.

    Attributes:
        limit: What was tried.
        wait: Whether requests waited.
        only: The key that was looked at alone, or None.
        tally: What was counted.
        trace: The levels of that key's buckets; None if they were not followed.
        unreadable: How many lines could not be read.
        first_problem: Why the first of them could not.
    """

    limit: Limit
    wait: bool
    only: str | None
    tally: Tally
    trace: LevelTrace | None = None
    unreadable: int = 0
    first_problem: str | None = None


def as_json(outcome: Outcome) -> str:
    """Return the counts as one JSON object; its fields are described in docs/simulate.md."""
    tally, hit = outcome.tally, "waited" if outcome.wait else "refused"
    fields: dict[str, Any] = {
        "rates": list(outcome.limit.rates),
        "requests": tally.requests,
        "admitted": tally.requests - tally.refused,
        "refused": tally.refused,
        "refused_by": dict(tally.refused_by.most_common()),
        "never_admitted": tally.never,
        "share": tally.share,
        "unreadable": outcome.unreadable,
        "out_of_order": tally.late,
        "keys": tally.keys,
        "keys_hit": tally.keys_hit,
        "worst_keys": [
            {"key": worst.key, "requests": worst.requests, hit: worst.hit}
            for worst in tally.worst(_WORST_LISTED)
        ],
        "first": tally.first / NANO,
        "last": tally.last / NANO,
    }
    if outcome.wait:
        fields |= {"waited": tally.waited, "longest_wait": tally.longest}
    else:
        fields |= {"longest_retry_after": tally.longest}
    return json.dumps(fields, indent=2)


def title_of(outcome: Outcome) -> str:
    """Return one line that says what was tried."""
    limit = outcome.limit
    strict = ", strict" if limit.strict else ""
    capacity = "" if limit.capacity is None else f", capacity {limit.capacity}"
    whose = "together" if limit.together else "for each key"
    if outcome.only is not None:
        whose = f"for {shown_key(outcome.only)}"
    return f"{' and '.join(limit.rates)}{strict}{capacity} {whose}"


def as_text(outcome: Outcome, *, blocks: bool = True) -> str:
    """Return the tables and the pictures of a terminal.

    Args:
        outcome: What was found.
        blocks: Whether the terminal has block characters.
    """
    parts = [_head(outcome), _table(outcome), _sparks(outcome, blocks=blocks)]
    parts += [_worst(outcome), _by_rate(outcome), _notes(outcome)]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _head(outcome: Outcome) -> Iterator[str]:
    tally = outcome.tally
    yield title_of(outcome)
    span = shown_duration((tally.last - tally.first) / NANO)
    yield f"from {shown_time(tally.first)} to {shown_time(tally.last)} ({span})"


def _table(outcome: Outcome) -> list[str]:
    tally = outcome.tally
    heads = ["requests", "refused", "share", "keys hit"]
    cells = [shown_count(tally.requests), shown_count(tally.refused), shown_share(tally.share)]
    cells += [f"{shown_count(tally.keys_hit)} of {shown_count(tally.keys)}"]
    if outcome.wait:
        heads.insert(1, "waited")
        cells.insert(1, shown_count(tally.waited))
    heads.append("longest wait" if outcome.wait else "longest Retry-After")
    cells.append(shown_duration(tally.longest))
    return aligned([heads, cells], left=0)


def _sparks(outcome: Outcome, *, blocks: bool) -> Iterator[str]:
    series = outcome.tally.series(_COLUMNS)
    intervals = [interval for _, interval in series]
    rows = {
        "asked": [interval.asked for interval in intervals],
        "admitted": [interval.admitted for interval in intervals],
        "refused": [interval.refused for interval in intervals],
    }
    if not outcome.tally.refused:
        del rows["refused"]
    width, top = shown_duration(series.width / NANO), max(map(max, rows.values()))
    for name, values in rows.items():
        line = sparkline(values, top, blocks=blocks)
        yield f"{name:<8}  {line}  at most {shown_count(max(values))} in {width}"


def _worst(outcome: Outcome) -> list[str]:
    worst = outcome.tally.worst(_WORST_SHOWN)
    if not worst or outcome.only is not None:
        return []
    hit = "waited" if outcome.wait else "refused"
    rows = [["worst keys", "requests", hit, "share"]]
    rows += [
        [shown_key(key), shown_count(requests), shown_count(hits), shown_share(hits / requests)]
        for key, requests, hits in worst
    ]
    return aligned(rows)


def _by_rate(outcome: Outcome) -> list[str]:
    refused_by = outcome.tally.refused_by.most_common()
    rows = [["refused by", "requests"], *([rate, shown_count(hits)] for rate, hits in refused_by)]
    return aligned(rows) if refused_by else []


def _notes(outcome: Outcome) -> Iterator[str]:
    """Give what a reader of the figures should know about the log."""
    tally = outcome.tally
    if outcome.unreadable:
        why = shown_key(outcome.first_problem or "", _LONGEST_REASON)
        yield f"{_lines(outcome.unreadable)} could not be read; {why}"
    if tally.late:
        by = shown_duration(tally.latest_by / NANO)
        yield (
            f"{_lines(tally.late)} came out of order, by up to {by}; each counts at the latest "
            "time before it, so sort the log first if that is much"
        )
    if tally.never:
        yield (
            f"{_lines(tally.never)} cost more than the limit ever admits; raise the capacity, or "
            "lower the cost"
        )


def _lines(count: int) -> str:
    return f"{shown_count(count)} line{'' if count == 1 else 's'}"
