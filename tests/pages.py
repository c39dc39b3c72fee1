"""The code on the pages of the documentation, and how it is run.

- A block of `python` runs as it stands and alone, unless `<!-- continues -->` stands above it: then
  it goes on with the names of the block before. A block of `text` right below it is what it prints.
- A block of `console` is commands (`$ ...`) with what they print: `cat` gives a file its content,
  and `rate-limiter` runs in this process, on those files.
- A block of `bash` is for a shell of the reader's. It is not run, but what it names is there.
- A table whose last column is `here` has code in that column: it runs after the page's first block.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "PAGES",
    "ROOT",
    "Block",
    "blocks_of",
    "commands_of",
    "namespace_of",
    "rows_of",
    "run_row",
    "words_of",
]

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
CONTINUES = "<!-- continues -->"
_PARTS = re.compile(
    r"^#+ (?P<heading>.*)$|^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>(?s:.*?))^ *```$|"
    rf"^(?P<mark>{CONTINUES})$|^(?P<prose>\S.*)$",
    re.MULTILINE,
)


@dataclass
class Block:
    """A block of a page.

    Args:
        page: Where it is.
        heading: What it stands below.
        language: What stands behind its fence.
        text: What is in it.
        before: The block that it goes on with, if any.
        printed: What it prints, if the page shows that.
    """

    page: str
    heading: str
    language: str
    text: str
    before: Block | None = None
    printed: str | None = None

    def __str__(self) -> str:
        return f"{self.page}, {self.heading}"

    @property
    def needs_server(self) -> bool:
        return "REDIS_URL" in self.text


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in order; what Python prints is a part of its block."""
    blocks: list[Block] = []
    heading, continues, last = "", False, None
    for part in _PARTS.finditer((ROOT / page).read_text(encoding="utf-8")):
        if part["heading"]:
            heading = part["heading"]
        elif part["mark"]:
            continues = True
        elif part["text"] is None:  # prose
            last = None
        elif part["language"] == "text" and last is not None:
            last.printed = part["text"]
        else:
            block = Block(page, heading, part["language"], part["text"])
            if continues:
                block.before = next(b for b in reversed(blocks) if b.language == "python")
            blocks.append(block)
            continues, last = False, block if block.language == "python" else None
    return blocks


def namespace_of(block: Block, quiet: Any = None) -> dict[str, Any]:
    """Run a block of Python, after those it goes on with; return its names.

    Args:
        block: The block.
        quiet: Called before the block itself runs, to forget what the others have printed.
    """
    namespace = {"__name__": "page"} if block.before is None else namespace_of(block.before)
    if quiet is not None:
        quiet()
    exec(compile(block.text, str(block), "exec"), namespace)  # noqa: S102 - our own page
    return namespace


def commands_of(page: str) -> list[tuple[str, str]]:
    """Return the commands of the `console` blocks of a page, with what each prints."""
    text = "".join(block.text for block in blocks_of(page) if block.language == "console")
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


def rows_of(page: str) -> list[tuple[str, str]]:
    """Return the rows of the tables that end in a column `here`: the first cell, and that one."""
    rows, inside = [], False
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        inside = bool(cells) and (inside or cells[-1] == "here")
        if inside and cells[-1] != "here" and set(cells[-1]) - set("-: "):
            rows.append((cells[0], cells[-1]))
    return rows


def run_row(cell: str, namespace: dict[str, Any]) -> None:
    """Run the code of a cell: of a decorator a call, of `with` the block, of `except` its error."""
    for code in re.findall(r"`([^`]+)`", cell.replace(r"\|", "|")):
        _run_snippet(code, namespace)


def _run_snippet(code: str, namespace: dict[str, Any]) -> None:
    if code.startswith("except "):
        code = f"try: raise error\n{code}"
    if code.startswith("@"):
        code += "\ndef call(*args, **kwargs): return args\ncall('ann')"
    elif code.endswith(":"):
        code += " pass"
    if re.search(r"\b(await|async with)\b", code):
        body = "".join(f"    {line}\n" for line in code.splitlines())
        exec(compile(f"async def row():\n{body}", code, "exec"), namespace)  # noqa: S102
        asyncio.run(namespace["row"]())
    else:
        exec(compile(code, code, "exec"), namespace)  # noqa: S102 - our own page


def words_of(text: str) -> list[str]:
    """Return the words of the commands of a `bash` block."""
    return [word for line in text.splitlines() for word in shlex.split(line, comments=True)]
