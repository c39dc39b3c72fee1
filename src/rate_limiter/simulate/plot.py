"""Draw what happened over time; needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..clock import NANO
from .axis import time_axis
from .levels import LevelTrace
from .series import Series
from .words import shown_duration

__all__ = ["draw", "file_types"]

# Okabe and Ito's colours, which colour-blind people tell apart; dashes and shade differ as well.
_GREY, _BLUE, _VERMILION = "#bbbbbb", "#0072b2", "#d55e00"
_LEVELS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)), "-.")
_DPI = 100
_WIDTH, _PANEL, _TITLE = 8.0, 3.2, 0.6  # inches


def file_types() -> set[str]:
    """Return the endings of the files that can be drawn."""
    return {"png", "svg", "pdf"} & set(FigureCanvasAgg.get_supported_filetypes())


def draw(path: str, title: str, series: Series, trace: LevelTrace | None, what: str) -> None:
    """Draw demand, admitted and refused over time, and the levels of buckets beneath.

    Args:
        path: Where to write it; its ending says as what.
        title: What stands above it.
        series: What happened.
        trace: The levels, if they were followed.
        what: What is counted.

    Raises:
        OSError: The file cannot be written.
    """
    panels = 1 if trace is None else 2
    size = (_WIDTH, _TITLE + _PANEL * panels)
    figure: Any = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title, fontsize=11, parse_math=False)
    _draw_counts(axes[0], series, what)
    if trace is not None:
        _draw_levels(axes[1], trace)
    starts = [start / NANO for start, _ in series]
    _label_time(axes[-1], starts[0], starts[-1] + series.width / NANO)
    figure.savefig(path, format=Path(path).suffix[1:].lower())


def _draw_counts(axes: Any, series: Series, what: str) -> None:
    edges = [start / NANO for start, _ in series]
    edges.append(edges[-1] + series.width / NANO)
    intervals = [interval for _, interval in series]
    demand = [interval.asked for interval in intervals]
    axes.stairs(demand, edges, fill=True, color=_GREY, label="demand")
    for name, color, dashes in (("admitted", _BLUE, "-"), ("refused", _VERMILION, (0, (3, 1)))):
        values = [getattr(interval, name) for interval in intervals]
        if any(values):
            style = {"color": color, "linestyle": dashes, "linewidth": 1.8}
            axes.stairs(values, edges, label=name, **style)
    axes.set_ylabel(f"{what} in {shown_duration(series.width / NANO)}")
    _finish(axes)


def _draw_levels(axes: Any, trace: LevelTrace) -> None:
    alone = len(trace.capacities) == 1
    for place, (label, capacity) in enumerate(trace.capacities.items()):
        curve = trace.curve(label)
        times, scale = [time for time, _ in curve], 1.0 if alone else 100 / capacity
        values = [tokens * scale for _, tokens in curve]
        color, dashes = _LEVELS[place % len(_LEVELS)], _DASHES[place % len(_DASHES)]
        axes.plot(times, values, color=color, linestyle=dashes, linewidth=1.5, label=label)
        if alone:
            axes.fill_between(times, values, color=color, alpha=0.2, linewidth=0)
            axes.axhline(capacity, color="black", linewidth=0.8, linestyle=":", label="capacity")
    axes.set_ylabel("tokens in the bucket" if alone else "tokens, % of each capacity")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=9)


def _label_time(axes: Any, first: float, last: float) -> None:
    axis = time_axis(first, last)
    axes.set_xlim(first, last)
    axes.set_xticks(axis.marks, axis.labels)
    axes.set_xlabel(axis.title)
