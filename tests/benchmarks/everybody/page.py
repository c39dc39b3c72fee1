"""Put what was measured into pages, between the marks that wait for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["check", "write"]

MARKS = r"(<!-- {}\b[^>]*-->\n).*?(<!-- end of {} -->)"


def check(page: Path, names: Sequence[str]) -> None:
    """Raise ValueError unless the page has `<!-- name: why -->` and `<!-- end of name -->`."""
    text = page.read_text(encoding="utf-8")
    if not any(re.search(MARKS.format(name, name), text, re.DOTALL) for name in names):
        raise ValueError(f"{page} has no marks for {' or '.join(names)}")


def write(page: Path, sections: dict[str, str]) -> None:
    """Replace what stands between the marks of each section that the page has."""
    text = page.read_text(encoding="utf-8")
    for name, section in sections.items():
        marks = re.compile(MARKS.format(name, name), re.DOTALL)
        text = marks.sub(lambda mark, new=section: f"{mark[1]}{new}\n{mark[2]}", text)
    page.write_text(text, encoding="utf-8")
