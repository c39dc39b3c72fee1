"""The documents name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMISES = re.findall(
    r"^\*\*(P\d+)\. .*?^Tested in (.*?)\.$",
    (ROOT / "docs" / "promises.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_follow_link_finds_its_file(document):
    """A link within the repository leads to a file, and one within a page to a heading."""
    text = document.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (document.parent / target).is_file(), target


@pytest.mark.parametrize(("promise", "files"), PROMISES, ids=[promise for promise, _ in PROMISES])
def test_name_tests_of_a_promise_that_have_its_number(promise, files):
    """Where a promise is said to be tested, a docstring begins with its number."""
    named = re.findall(r"`([\w/]+\.py)`", files)
    assert named
    for name in named:
        text = (ROOT / "tests" / name).read_text(encoding="utf-8")
        assert re.search(rf'"""(P\d+, )*{promise}[:,] ', text), name


def test_read_promises_finds_every_one():
    """Each promise that is kept has its own paragraph; what is not met yet is in a table."""
    assert {promise for promise, _ in PROMISES} == {f"P{number}" for number in range(1, 39)}
