"""The pictures of the documentation are what the command draws."""

from __future__ import annotations

import re
import runpy
import sys

import pytest

from pages import ROOT


@pytest.fixture(scope="module")
def script():
    """What the script defines, which imports what draws."""
    return runpy.run_path(str(ROOT / "docs" / "draw.py"))


def words(path):
    """Return what is written in a picture: title, axes, labels."""
    return re.findall(r"<text[^>]*>([^<]*)", path.read_text(encoding="utf-8"))


def test_draw_picture_says_what_the_page_shows(script, tmp_path):
    """The picture of the pages has the words of one that is drawn now, and is small."""
    kept = ROOT / "docs" / "pictures" / "token-bucket.svg"
    assert words(script["draw"](tmp_path)) == words(kept)
    assert kept.stat().st_size < 80_000


def test_shorten_picture_leaves_out_what_nobody_sees(script):
    """Dates, digits and repeated steps go; the words stay."""
    drawn = (
        '<metadata>2026</metadata><path d="M 1.234567 2 \nL 3 4 \nL 3 4 \n"/><text x="1">a</text>'
    )
    assert script["shortened"](drawn) == '<path d="M 1.2 2 L 3 4"/><text x="1">a</text>'


def test_draw_everybody_has_a_bar_for_each_contender(tmp_path, monkeypatch):
    """The chart of the comparison shows the headlines, with the figure of each contender."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "benchmarks"), *sys.path])
    from everybody.chart import draw
    from everybody.row import Row
    from everybody.tables import Measured

    names = ["slow", "by hand", "rate-limiter-toolkit"]  # from the lowest bar up
    figures = {"by hand": [250.0], "rate-limiter-toolkit": [34.0, 36.0], "slow": [4321.0]}
    shown = Measured(Row("a check", "ns", lambda *_: None, headline=True), figures)
    draw(tmp_path / "chart.svg", [shown, Measured(Row("a block", "ns", lambda *_: None), figures)])
    assert words(tmp_path / "chart.svg") == [*names, "4,321", "250", "35", "a check (ns)"]
