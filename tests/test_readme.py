"""The README leads to what there is; test_pages.py runs its code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_list_every_example_in_readme():
    """Each example is linked from the README, and each link leads to a file."""
    linked = set(re.findall(r"\((?:https://\S+/)?(examples/\w+\.py)\)", README))
    assert linked == {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")}


def test_keep_readme_short():
    """The README stays under 260 lines."""
    assert len(README.splitlines()) < 260
