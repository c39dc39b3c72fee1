"""The benchmarks run. What they measure is never tested: that is the machine's business as well."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "benchmarks" / "bench.py"


def measured(*parts: str, options: tuple[str, ...] = ()) -> str:
    """Return what one round of these parts prints, once it has ended well."""
    run = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, *options, SCRIPT, "--part", *parts, "--rounds", "1"],
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_run_benchmarks_prints_a_table_and_ends_well() -> None:
    """Every row has a figure, and a target that is missed is no error."""
    _, title, rule, *rows, _, summary = measured("calls", options=("-W", "error")).splitlines()
    assert title.startswith("| calls, Python 3.")
    assert rule == "|---|--:|--:|---|---|"
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert len(cells) == 17
    assert all(float(ratio.replace(",", "")) > 0 for _, ratio, *_ in cells)
    assert all((target == "") == (met == "") for _, _, target, met, _ in cells)
    assert {met for _, _, _, met, _ in cells} <= {"", "yes", "MISSED"}
    assert summary.endswith(" of 14 targets are met.")


def test_run_benchmarks_of_services_ends_well() -> None:
    """What a limit adds to a request is measured, with or without others to compare it with."""
    told = measured("services")
    assert "| us over a bare ASGI application" in told
    assert "| us over a bare WSGI application" in told


def test_run_benchmarks_of_threads_and_floors_ends_well() -> None:
    """What has no counterpart by hand is measured as well."""
    told = measured("threads", "floors")
    assert "| 8 threads at once" in told
    assert "| processor of the import / of what it imports" in told
