"""How the documentation is built: `python -m sphinx -W -b html docs build/docs`."""

from __future__ import annotations

import re

import rate_limiter

# Pages that are kept outside this folder, where readers of the repository look for them.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "tests/stress/README.md": "stress.md",
}

project = "rate-limiter-toolkit"
author = "the maintainers of rate-limiter-toolkit"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = rate_limiter.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["draw.py"]
html_theme = "furo"
html_title = f"{project} {release}"
myst_heading_anchors = 4  # links lead to headings, as they do on the repository's own pages
myst_enable_extensions = ["smartquotes"]

default_role = "code"  # `name` in a docstring is code, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures would be longer than what they explain
autodoc_default_options = {
    "members": True,  # and what they have from classes of the package, but not from these:
    "inherited-members": (
        "ABC, AsyncBaseTransport, BaseException, BaseTransport, Exception, Generic, HTTPAdapter, "
        "Protocol, object, tuple"
    ),
}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def code_as_code(_app, _what, _name, _obj, _options, lines):
    """Mark the indented examples of a docstring as what they are."""
    marked, section = [], False
    for position, line in enumerate(lines):
        before = lines[position - 1] if position else "x"
        if re.fullmatch(r"[A-Z]\w+:", line):
            section = True
        indented = line.startswith("    ") and not before.strip()
        if indented and not section and _outer(lines[:position]):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def leave_fields_out(_app, _what, _name, obj, _skip, _options):
    """Leave out the fields of a named tuple, which the docstring of the class has as attributes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def _outer(lines):
    """Tell whether the last line that is not blank is not indented."""
    told = [line for line in lines if line.strip()]
    return not told or not told[-1].startswith(" ")


def link_within(_app, _name, content):
    """Let links to pages outside this folder lead to their place on the site."""
    for page, here in OUTSIDE.items():
        content[0] = content[0].replace(f"](../{page}", f"]({here}")


def setup(app):
    """Mark examples before Napoleon reads the sections, and mend links before they are followed."""
    app.connect("source-read", link_within)
    app.connect("autodoc-process-docstring", code_as_code, priority=400)
    app.connect("autodoc-skip-member", leave_fields_out)
