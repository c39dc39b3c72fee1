"""Every page does what it says: its code runs, and prints what stands there."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest
from servers import Server

from pages import (
    PAGES,
    ROOT,
    blocks_of,
    commands_of,
    namespace_of,
    rows_of,
    run_row,
    words_of,
)
from rate_limiter import TokenBucket, instrumentation, rate_limited, token_bucket
from rate_limiter.simulate import main
from rate_limiter.testing import ManualClock

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONSOLE = [page for page in PAGES if commands_of(page)]
ROWS = [(page, first, cell) for page in PAGES for first, cell in rows_of(page)]
SHOWN = {"", "text"}  # diagrams, and what is printed
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]

# What blocks print where the page does not show it, since their comments or the text around do.
PRINTS = {
    "README.md, rate-limiter-toolkit": "user 1\n",
    "README.md, Waiting or refusing": (
        "3 tokens after 0.0 s\nnot within 2 s: it would take 4.8 s\n"
    ),
    "README.md, Async": "15 fetched\n",
    "README.md, Costs": "77\n",
    "README.md, Several limits at once": "59 88688\n",
    "README.md, Many processes, many machines": "results for shoes\n",
    "docs/guide.md, Refusing": "429, Retry-After: 1\n",
    "docs/guide.md, Which limit, and what is left": (
        "{'10/second': 2.0, '1000/hour': 992.0}\nrefused by 10/second for 0.6 s\n"
    ),
    "docs/guide.md, Reservations and pauses": "[0, 10, 20, 30]\n[60, 70]\n",
    "docs/guide.md, Limits per user": "[True, True, False] True\n2.0\n",
    "docs/stores.md, Leases": "Lease(tokens=50, seconds=0.5)\n",
}


@pytest.fixture(autouse=True)
def page_world(tmp_path, monkeypatch):
    """Let sleeping move the clock, files be temporary, and hooks end with the block."""
    monkeypatch.setattr(token_bucket, "SYSTEM_CLOCK", ManualClock(auto_advance=True))
    monkeypatch.chdir(tmp_path)
    yield
    instrumentation.set_hooks([])


@pytest.mark.parametrize("block", [b for b in PYTHON if not b.needs_server], ids=str)
def test_run_block_prints_what_the_page_says(block, capsys):
    """A block of Python runs as it stands, and prints what the page shows."""
    namespace_of(block, quiet=capsys.readouterr)
    expected = PRINTS.get(str(block), "") if block.printed is None else block.printed
    assert capsys.readouterr().out == expected


@pytest.mark.server
@pytest.mark.parametrize("block", [b for b in PYTHON if b.needs_server], ids=str)
def test_run_block_on_a_server_prints_what_the_page_says(block, capsys, monkeypatch):
    """So does one that finds a server where it expects one."""
    with Server() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        namespace_of(block)["client"].close()
    expected = PRINTS.get(str(block), "") if block.printed is None else block.printed
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("page", CONSOLE)
def test_run_commands_print_what_the_page_says(page, tmp_path, capsys):
    """Each command runs on the files of the page, and prints what stands below it."""
    for command, printed in commands_of(page):
        words = shlex.split(command)
        if words[0] == "cat":
            (tmp_path / words[1]).write_text(printed, encoding="utf-8")
            continue
        assert words[0] == "rate-limiter"
        assert main(words[1:]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "".join(f"{line.rstrip()}\n" for line in lines) == printed


@pytest.mark.parametrize(("page", "first", "cell"), ROWS, ids=[first for _, first, _ in ROWS])
def test_run_row_of_a_table(page, first, cell):
    """What stands in the column `here` runs, after the first block of its page."""
    namespace = namespace_of(next(b for b in blocks_of(page) if b.language == "python"))
    run_row(cell, namespace)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "bash"], ids=str)
def test_name_in_commands_what_is_there(block):
    """What a block for the reader's shell names is there: files, tests, extras."""
    for word in words_of(block.text):
        for extras in re.findall(r"\[([a-z0-9,]+)\]", word):
            assert set(extras.split(",")) <= set(EXTRAS)
        if re.match(r"(tests|examples|docs|src|\.ci)/", word):
            assert (ROOT / word.split("::")[0]).exists()


def test_know_every_block():
    """No block is of a kind that nobody looks at, and nothing is expected of no block."""
    kinds = {block.language for block in BLOCKS if not block.language.startswith("{")}
    assert kinds <= SHOWN | {"python", "console", "bash"}
    assert set(PRINTS) <= {str(block) for block in PYTHON}


def test_read_every_fence():
    """Every fence of every page opens or closes a block."""
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        shown = sum(block.printed is not None for block in blocks_of(page))
        assert text.count("```") == 2 * (len(blocks_of(page)) + shown), page


def test_tell_their_seconds_from_ours():
    """(10, 60) is ten a minute elsewhere and sixty a second here, as the page says."""
    assert TokenBucket(10, 60).tokens_per_second == 60
    limited = rate_limited(10, "10/minute")(len)
    assert limited.limiter.bucket.tokens_per_second == pytest.approx(1 / 6)
