"""Write counts, durations, instants, keys and little pictures for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ..clock import NANO
from .times import EPOCH_SINCE

__all__ = [
    "aligned",
    "can_draw",
    "shown_count",
    "shown_duration",
    "shown_key",
    "shown_number",
    "shown_share",
    "shown_time",
    "sparkline",
]

_BLOCKS, _PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_PARTS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_KEY_WIDTH = 48
_LARGE = 100


def shown_count(count: int) -> str:
    """Write a count with its thousands apart."""
    return f"{count:,}"


def shown_number(number: float) -> str:
    """Write a number with three figures, or all those before its point."""
    if number == int(number) or number >= _LARGE:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def shown_share(share: float) -> str:
    """Write a part of a whole, from 0 to 1, in per cent; no part is shown as 0, nor as 100."""
    text = f"{100 * share:.1f}"
    if share and text == "0.0":
        return "< 0.1 %"
    return "> 99.9 %" if share < 1 and text == "100.0" else f"{text} %"


def shown_duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    if seconds < 60:  # noqa: PLR2004
        return (
            f"{shown_number(seconds)} s" if seconds >= 1 or not seconds else _below_second(seconds)
        )
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, length in _PARTS:
        count, rest = divmod(rest, length)
        parts.append((count, unit))
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count:,} {unit}" for count, unit in parts[first : first + 2] if count)


def _below_second(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.01 else f"{seconds * 1e3:.2g} ms"  # noqa: PLR2004


def shown_time(nanoseconds: int) -> str:
    """Write an instant: as a date in UTC, or as the seconds since a log's own zero."""
    if nanoseconds < EPOCH_SINCE:
        return f"{shown_number(nanoseconds / NANO)} s"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1_000)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def shown_key(key: str, width: int = _KEY_WIDTH) -> str:
    """Write a key of a log on a terminal: what would move its cursor is escaped, and it is cut."""
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in key
    )
    return text if len(text) <= width else f"{text[: width - 3]}..."


def can_draw(encoding: str | None) -> bool:
    """Tell whether an encoding has the characters of pictures."""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(values: Sequence[float], top: float, *, blocks: bool = True) -> str:
    """Draw values as columns from 0 to `top`; only 0 is drawn as nothing."""
    ramp = _BLOCKS if blocks else _PLAIN
    most = len(ramp) - 1
    return "".join(ramp[min(math.ceil(value / top * most), most) if top else 0] for value in values)


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lay out rows in columns: the first `left` of them to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
