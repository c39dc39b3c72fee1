"""The README does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from servers import Server

from rate_limiter import token_bucket
from rate_limiter.testing import ManualClock

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = {
    heading: block
    for section in re.split(r"^#+ ", README, flags=re.MULTILINE)
    for heading in [section.split("\n", 1)[0]]
    for block in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
}
PRINTS = {
    "rate-limiter-toolkit": "user 1\n",
    "Waiting": "3 tokens after 0.0 s\nnot within 2 s: it would take 4.8 s\n",
    "Refusing": "429, Retry-After: 1\n",
    "Async": "15 fetched\n",
    "Costs": "77\n",
    "Several limits at once": "59 88688\n",
    "Which limit, and what is left": (
        "{'10/second': 2.0, '1000/hour': 992.0}\nrefused by 10/second for 0.6 s\n"
    ),
    "Reservations and pauses": "[0, 10, 20, 30]\n[60, 70]\n",
    "Limits per user": "[True, True, False] True\n2.0\n",
    "Many machines": "results for shoes\n",
    "Testing": "",
}
ON_SERVER = "Many machines"


@pytest.mark.parametrize("heading", sorted({*BLOCKS, *PRINTS} - {ON_SERVER}))
def test_run_block_prints_what_it_says(heading, capsys, monkeypatch):
    """Each Python block of the README runs as it stands and prints what is expected of it."""
    run(heading, monkeypatch)
    assert capsys.readouterr().out == PRINTS[heading]


@pytest.mark.server
def test_run_block_on_a_server_prints_what_it_says(capsys, monkeypatch):
    """The block about several machines does so too, with a server where it expects one."""
    with Server() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        run(ON_SERVER, monkeypatch)["client"].close()
    assert capsys.readouterr().out == PRINTS[ON_SERVER]


def run(heading, monkeypatch):
    """Run a block on a clock that sleeping moves; return its names."""
    monkeypatch.setattr(token_bucket, "SYSTEM_CLOCK", ManualClock(auto_advance=True))
    namespace = {}
    exec(compile(BLOCKS[heading], f"README.md, {heading}", "exec"), namespace)  # noqa: S102
    return namespace


def test_list_every_example_in_readme():
    """Each example is linked from the README, and each link leads to a file."""
    linked = set(re.findall(r"\((examples/\w+\.py)\)", README))
    assert linked == {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")}


def test_keep_readme_short():
    """The README stays under 330 lines."""
    assert len(README.splitlines()) < 330
