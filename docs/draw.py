"""Draw the picture of a token bucket, by the command that readers have.

    python docs/draw.py [FOLDER]

It is kept beside the pages, so that those can be read without building anything. A test draws it
anew and compares what it says.
"""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib as mpl

from rate_limiter.simulate import main

PICTURES = Path(__file__).parent / "pictures"
RATE = "100/minute"
STYLE = {  # text stays text, and two drawings of one thing are one file
    "svg.fonttype": "none",
    "svg.hashsalt": "rate-limiter",
    "font.family": "sans-serif",
}


def draw(folder: Path) -> Path:
    """Draw the picture into a folder; return the file."""
    path = folder / "token-bucket.svg"
    with mpl.rc_context(STYLE), redirect_stdout(StringIO()):
        main(["explain", RATE, "--plot", str(path)])
    path.write_text(shortened(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def shortened(svg: str) -> str:
    """Leave out the date, and the digits and line breaks that nobody sees."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: '[^;]*sans-serif;", "font-family: sans-serif;", svg)
    svg = re.sub(r"(?<=[ \d])(\d+\.\d)\d+", r"\1", svg)
    return re.sub(r' d="([^"]*)"', lambda path: f' d="{_on_one_line(path[1])}"', svg)


def _on_one_line(path: str) -> str:
    """Join the steps of a path, of equal ones next to each other only the first."""
    steps = [step.strip() for step in path.split("\n") if step.strip()]
    kept = [step for before, step in zip(["", *steps], steps, strict=False) if step != before]
    return " ".join(kept)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else PICTURES)
