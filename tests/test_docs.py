"""The documents name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import PAGES

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / page for page in PAGES]
PROMISES = re.findall(
    r"^\*\*(P\d+)\. .*?^Tested in (.*?)\.$",
    (ROOT / "docs" / "promises.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=PAGES)
def test_follow_link_finds_its_file(document):
    """A link within the repository leads to a file, and one within a page to a heading."""
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        there = document.parent / path if path else document
        assert there.is_file(), target
        assert not heading or heading in headings(there), target


def headings(document):
    text = document.read_text(encoding="utf-8")
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


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
    kept = range(1, 47)
    assert {promise for promise, _ in PROMISES} == {f"P{number}" for number in kept}
