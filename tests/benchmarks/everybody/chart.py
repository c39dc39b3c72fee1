"""The headlines as a picture: bars for each contender, the shorter the better."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from everybody.known import BY_HAND, THIS
from everybody.tables import Measured, figure

__all__ = ["draw"]

ACROSS = 2
COLOURS = {THIS.name: "#1f77b4", BY_HAND.name: "#2ca02c"}


def draw(path: Path, measured: Sequence[Measured]) -> None:
    """Draw the headlines into an SVG file, small enough to be kept beside the pages."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    sys.path.append(str(Path(__file__).parents[3] / "docs"))
    from draw import STYLE, shortened

    shown = [each for each in measured if each.row.headline]
    with mpl.rc_context(STYLE):
        picture = Figure(figsize=(10, 2.3 * ceil(len(shown) / ACROSS)), layout="constrained")
        for place, each in enumerate(shown, 1):
            bars(picture.add_subplot(ceil(len(shown) / ACROSS), ACROSS, place), each)
        picture.savefig(path, format="svg")
    path.write_text(shortened(path.read_text(encoding="utf-8")), encoding="utf-8")


def bars(axes, measured: Measured) -> None:
    """Draw a row; its scale is logarithmic, for others take up to a hundred times as long."""
    names = sorted(measured.figures, key=measured.median, reverse=True)
    values = [measured.median(name) for name in names]
    drawn = axes.barh(names, values, color=[COLOURS.get(name, "#bbbbbb") for name in names])
    axes.bar_label(drawn, [figure(measured, name) for name in names], padding=3)
    axes.set(xscale="log", xlim=(min(values) / 2, max(values) * 3), title=measured.label)
    axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
