"""What was measured, as rows of a Markdown table."""

from __future__ import annotations

from dataclasses import dataclass

from rate_limiter import compiled

ROW = "| {:58} | {:>9} | {:>8} | {:6} | {:28} |"


@dataclass
class Figure:
    """One thing that was measured.

    Args:
        label: What it is, with its unit unless it is a ratio.
        value: The measured figure.
        target: The figure to reach; None if it is for information only.
        detail: What the figure comes from.
        more: Whether more is better; otherwise less is.
    """

    label: str
    value: float
    target: float | None = None
    detail: str = ""
    more: bool = False

    @property
    def met(self) -> str:
        """Say whether the target is met; nothing without one."""
        if self.target is None:
            return ""
        better = self.value >= self.target if self.more else self.value <= self.target
        return "yes" if better else "MISSED"

    def print(self) -> None:
        target = "" if self.target is None else f"{self.target:g}"
        _print(self.label, amount(self.value), target, self.met, self.detail)


def aim(with_core: float, in_python: float) -> float:
    """Return the target for the core that serves."""
    return with_core if compiled else in_python


def amount(value: float) -> str:
    """Show three digits, or all before the decimal point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def heading(title: str) -> None:
    _print(title, "measured", "target", "met", "from")
    print("|---|--:|--:|---|---|")  # noqa: T201 - a script's output


def _print(*cells: str) -> None:
    print(ROW.format(*cells), flush=True)  # noqa: T201 - a script's output
