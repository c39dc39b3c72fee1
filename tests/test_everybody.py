"""The comparison with other libraries runs, whoever is installed. Figures are never tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "bench.py"
OTHERS = [
    "aiolimiter",
    "fastapi_limiter",
    "flask_limiter",
    "limiter",
    "limits",
    "pyrate_limiter",
    "ratelimit",
    "requests_ratelimiter",
    "rust_py_rate_limit",
    "slowapi",
    "steindamm",
    "throttled",
    "token_bucket",
]
A_PEER = """
class RateLimitException(Exception):
    pass

def limits(calls, period):
    left = [calls]
    def decorate(func):
        def limited(*args):
            left[0] -= 1
            if left[0] < 0:
                raise RateLimitException
            return func(*args)
        return limited
    return decorate
"""
PAGE = "before\n<!-- everybody: why -->\nold\n<!-- end of everybody -->\nafter\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Say which libraries there are, whatever there really is: none, until a module is written."""
    for name in OTHERS:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return tmp_path


def compare(*options):
    """Run the command for the calls, once round."""
    command = [sys.executable, "-W", "error", SCRIPT, "--everybody", "--part", "calls"]
    return subprocess.run(  # noqa: S603 - our own code
        [*command, "--rounds", "1", *map(str, options)],
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )


def rows_of(printed):
    """Return the cells of the table that is printed."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_compare_with_nobody_names_who_is_skipped(installed):
    """Without another library there is a table all the same, and each one is named."""
    run = compare()
    assert (run.returncode, run.stderr) == (0, "")
    heading, rule, *rows = rows_of(run.stdout)
    assert heading == ["calls", "this", "by hand"]
    assert rule == ["---", "--:", "--:"]
    assert len(rows) == 13
    assert all(len(row) == 3 and row[1].startswith("**") for row in rows)
    assert "None is ahead." in run.stdout
    skipped = run.stdout.partition("Skipped, for they cannot be imported:")[2].splitlines()
    assert len([line for line in skipped if line.endswith(": not here")]) == len(OTHERS)
    assert "- pyrate-limiter >=4.5: not here" in skipped


def test_compare_with_a_peer_writes_the_page(installed):
    """A library that is there has a column, with dashes where it has no such thing."""
    (installed / "ratelimit.py").write_text(A_PEER)
    page = installed / "page.md"
    page.write_text(PAGE)
    run = compare("--write", page)
    assert (run.returncode, run.stderr) == (0, "")
    heading, _, *rows = rows_of(run.stdout)
    assert heading == ["calls", "this", "by hand", "ratelimit"]
    dashes = [row[0] for row in rows if row[3] == "-"]
    assert "a check, cost 2 (ns)" in dashes
    assert "a check, allowed (ns)" not in dashes
    assert page.read_text() == PAGE.replace("old\n", f"\n{run.stdout}")


def test_compare_refuses_a_peer_that_did_not_allow(installed):
    """A quick refusal is no quick check: nothing is measured that was not admitted."""
    (installed / "ratelimit.py").write_text(A_PEER.replace("[calls]", "[0]"))
    run = compare()
    assert run.returncode == 1
    assert "AssertionError: 'answer = f()' has answered False" in run.stderr


def test_compare_asks_for_marks_in_a_page(installed):
    """A page without the marks is an error, not a page that stays as it was."""
    page = installed / "page.md"
    page.write_text("no marks")
    run = compare("--write", page)
    assert run.returncode == 1
    assert f"ValueError: {page} has no marks for everybody or headlines" in run.stderr


def test_compare_knows_its_parts(installed):
    """The parts of one command are not those of the other."""
    run = compare("--part", "simulating")
    assert run.returncode == 2
    assert "a part is one of calls, waits, sizes, stores, HTTP" in run.stderr
