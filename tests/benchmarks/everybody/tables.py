"""What was measured, as Markdown: all of it, the headlines, and who is ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from table import amount

from everybody.known import BY_HAND, THIS
from everybody.row import Row

__all__ = ["Measured", "ahead", "headlines", "table"]


@dataclass
class Measured:
    """A row, and each contender's figures in the row's unit, one for each round."""

    row: Row
    figures: dict[str, list[float]]

    @property
    def label(self) -> str:
        return f"{self.row.label} ({self.row.unit})"

    @property
    def libraries(self) -> list[str]:
        """Return who has figures, the best first; what is written by hand is no library."""
        names = [name for name in self.figures if name != BY_HAND.name]
        return sorted(names, key=self.distance)

    def distance(self, name: str) -> float:
        return self.row.distance(self.median(name))

    def median(self, name: str) -> float:
        return median(self.figures[name])

    def cell(self, name: str) -> str:
        """Show a contender's median, and half of what the middle half of its figures spans."""
        if name not in self.figures:
            return "-"
        text, found = amount(self.median(name)), self.figures[name]
        if len(found) > 1:
            low, _, high = quantiles(found, method="inclusive")
            text += f" ±{amount(float(f'{(high - low) / 2:.1g}'))}"
        return f"**{text}**" if self.distance(name) == self.distance(self.libraries[0]) else text


def table(part: str, measured: Sequence[Measured]) -> str:
    """Show every row, with a column for each contender that has a figure in one."""
    names = list(dict.fromkeys(name for each in measured for name in each.figures))
    names.sort(key=[THIS.name, BY_HAND.name].__contains__, reverse=True)
    rows = [[each.label, *map(each.cell, names)] for each in measured]
    return grid([part, *("this" if name == THIS.name else name for name in names)], rows)


def headlines(measured: Sequence[Measured]) -> str:
    """Show the rows that matter most, as columns: this, what is written by hand, the best other."""
    shown = [each for each in measured if each.row.headline]
    rows = [[name, *(figure(each, name) for each in shown)] for name in (THIS.name, BY_HAND.name)]
    rows.append(["the best of the others", *map(best_other, shown)])
    return grid(["", *(each.label for each in shown)], rows)


def best_other(measured: Measured) -> str:
    others = [name for name in measured.libraries if name != THIS.name]
    return f"{figure(measured, others[0])}, {others[0]}" if others else "-"


def figure(measured: Measured, name: str) -> str:
    return amount(measured.median(name)) if name in measured.figures else "-"


def ahead(measured: Sequence[Measured]) -> list[str]:
    """Tell the rows in which other libraries are ahead of this one, and what both have."""
    told = []
    for each in measured:
        better = [name for name in each.libraries if each.distance(name) < each.distance(THIS.name)]
        if better:
            others = ", ".join(f"{name} {figure(each, name)}" for name in better)
            told.append(f"{each.label}: {others}; this {figure(each, THIS.name)}")
    return told


def grid(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heading, rule, *rows])
