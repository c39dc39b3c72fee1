"""What those who carry on find: one gate, one version, pinned actions, a changelog."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

import rate_limiter
from pages import PAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REFERENCE = sorted((ROOT / "docs" / "api").glob("*.md"))
PUBLIC = {  # what users import from
    "rate_limiter",
    "rate_limiter.http",
    "rate_limiter.http.aiohttp",
    "rate_limiter.http.asgi",
    "rate_limiter.http.fastapi",
    "rate_limiter.http.httpx",
    "rate_limiter.http.httpx2",
    "rate_limiter.http.requests",
    "rate_limiter.http.wsgi",
    "rate_limiter.instrumentation",
    "rate_limiter.redis",
    "rate_limiter.sqlite",
    "rate_limiter.testing",
}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
SESSIONS = {node.name for node in NOXFILE.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_pin_action_by_its_commit(workflow):
    """Each action is pinned by a whole commit, with its version beside it."""
    uses = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+)+", action), action


def test_run_sessions_that_are_there():
    """The gate and the workflows run sessions of the noxfile, which runs every check."""
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    called = {"check", "docs", "servers"}
    assert set(re.findall(r'" session (\w+) ', gate)) == called <= SESSIONS
    assert set(re.search(r"session: \[(.*)\]", workflow)[1].split(", ")) == called
    assert "tests" in SESSIONS


def test_say_version_once():
    """The package says its version, and the changelog what is in it."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "version" in PROJECT["dynamic"]
    assert f"\n## {rate_limiter.__version__} " in changes


def test_support_the_same_versions_everywhere():
    """Classifiers, workflows and the noxfile name the same versions of Python."""
    named = {
        words[-1]
        for words in (line.split(" :: ") for line in PROJECT["classifiers"])
        if re.fullmatch(r"3\.\d+", words[-1])
    }
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for text, pattern in ((workflow, r"python: \[(.*)\]"), (noxfile, r"VERSIONS = \[(.*)\]")):
        assert set(re.search(pattern, text)[1].replace('"', "").split(", ")) == named


def test_document_every_public_module():
    """The reference has each module that users import from, once."""
    documented = [
        module
        for page in REFERENCE
        for module in re.findall(
            r"^\.\. automodule:: (\S+)$", page.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert sorted(documented) == sorted(PUBLIC)


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_lead_to_every_page(page):
    """Each page of the site stands in a list of contents, once."""
    folder = ROOT / "docs"
    contents = [
        (index.parent / line).resolve()
        for index in folder.rglob("index.md")
        for tree in re.findall(r"```{toctree}\n(.*?)```", index.read_text("utf-8"), re.DOTALL)
        for line in tree.splitlines()
        if line and not line.startswith(":")
    ]
    contents.append(folder / "index")
    assert contents.count((ROOT / page).with_suffix("").resolve()) == 1
