"""Plots show what was counted, with axes and units."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rate_limiter.simulate import main

LOG = "".join(f"{1_700_000_000 + second} a{second % 2}\n" * (second % 7) for second in range(60))


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures that are written."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig

    def saved(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return figures


@pytest.fixture
def draw(tmp_path, drawn):
    """Simulate the log and return the axes of its plot."""

    def simulate(*options, log=LOG, name="out.png"):
        path = tmp_path / "log"
        path.write_text(log)
        out = tmp_path / name
        arguments = ["simulate", str(path), "--rate", "1/second", *options, "--plot", str(out)]
        assert main(arguments) == 0
        assert out.stat().st_size > 1_000
        return drawn[-1].axes

    return simulate


def labels_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_plot_demand_admitted_and_refused_over_time(draw, tmp_path):
    """The picture is 800 pixels wide, and its axes, units and lines are named."""
    (axes,) = draw()
    assert labels_of(axes) == ["demand", "admitted", "refused"]
    assert axes.get_ylabel() == "requests in 1 s"
    assert axes.get_xlabel() == "time (UTC), 14 Nov 2023"
    assert axes.figure.get_suptitle() == "1/second for each key"
    demand, admitted, refused = (patch.get_data().values for patch in axes.patches)
    assert list(demand) == [second % 7 for second in range(1, 60)]
    assert list(admitted + refused) == list(demand)
    header = (tmp_path / "out.png").read_bytes()[16:24]
    assert struct.unpack(">II", header)[0] == 800


def test_plot_level_of_one_key(draw):
    """With --only the level of the key's bucket is drawn beneath, up to its capacity."""
    counts, levels = draw("--only", "a1", "--capacity", "5")
    assert labels_of(levels) == ["1/second", "capacity"]
    assert levels.get_ylabel() == "tokens in the bucket"
    assert 4.9 < max(levels.lines[0].get_ydata()) <= 5
    assert counts.get_xlim() == levels.get_xlim()


def test_plot_levels_of_several_rates_as_shares(draw):
    """Several buckets are drawn in per cent, each with a line of its own."""
    _, levels = draw("--only", "a1", "--rate", "20/minute")
    assert labels_of(levels) == ["1/second", "20/minute"]
    assert levels.get_ylabel() == "tokens, % of each capacity"
    assert max(levels.lines[1].get_ydata()) <= 100


def test_plot_waits_without_a_line_of_nothing(draw):
    """Where nothing is refused, nothing is drawn for it."""
    (axes,) = draw("--wait")
    assert labels_of(axes) == ["demand", "admitted"]


def test_plot_key_that_looks_like_mathematics(draw):
    """A key is written as it is."""
    axes, _ = draw("--only", "$x_1", log="0 $x_1\n5 $x_1\n", name="out.SVG")
    assert axes.figure.get_suptitle().endswith("$x_1")


def test_explain_plots_a_busy_spell(drawn, tmp_path, capsys):
    """The picture of an explanation has the demand and the level."""
    out = tmp_path / "limit.pdf"
    assert main(["explain", "90000/minute", "--plot", str(out)]) == 0
    assert Path(out).read_bytes().startswith(b"%PDF")
    counts, levels = drawn[-1].axes
    assert counts.get_ylabel() == "requests of 300 tokens in 5 s"
    assert levels.get_xlabel() == "time in minutes"
