"""How the package's files depend on each other: arrows go one way only, without a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rate_limiter
from each import each

PACKAGE = Path(rate_limiter.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    "_core",
    "core",
    "absent",
    "exceptions",
    "rates",
    "source",
    "sleeping",
    "clock",
    "units",
    "level",
    "admission",
    "base_bucket",
    "bucket",
    "uncounted",
    "members",
    "callables",
    "memory",
    "memory.transaction",
    "instrumentation.guard",
    "instrumentation.events",
    "instrumentation.decisions",
    "instrumentation.waits",
    "instrumentation.reports",
    "instrumentation.logs",
    "instrumentation.metrics",
    "instrumentation.prometheus_metrics",
    "instrumentation.opentelemetry_metrics",
    "instrumentation",
    "calls",
    "classes",
    "wrapping",
    "charges",
    "permit",
    "dry_run",
    "limiter",
    "memory.draft",
    "memory.sums",
    "memory.ledger",
    "memory.line",
    "memory.planning",
    "memory.levels",
    "memory.serving",
    "memory.steps",
    "memory.changes",
    "memory.at_rest",
    "memory.abandoned",
    "memory.bucket",
    "memory.group",
    "token_bucket",
    "bucket_group",
    "many_limiters",
    "entries",
    "key_table",
    "idle_keys",
    "keyed",
    "instances",
    "decorators",
    "testing",
    "shared",
    "shared.awaited",
    "shared.background",
    "shared.failures",
    "shared.outage",
    "shared.fallback",
    "shared.terms",
    "shared.state",
    "shared.store",
    "shared.line",
    "shared.renewing",
    "shared.acts",
    "shared.algorithm",
    "shared.limits",
    "shared.lease",
    "shared.holding",
    "shared.bucket_view",
    "shared.returning",
    "shared.payment",
    "shared.running",
    "shared.taken",
    "shared.waiter",
    "shared.leasing",
    "shared.flows",
    "shared.corrections",
    "shared.base",
    "shared.named_bucket",
    "shared.reservation",
    "shared.awaiting",
    "shared.blocking",
    "shared.group",
    "sqlite.mounts",
    "sqlite.clock",
    "sqlite.line",
    "sqlite.failures",
    "sqlite.database",
    "sqlite.decisions",
    "sqlite.patience",
    "sqlite.store",
    "sqlite.patient",
    "sqlite.opened",
    "sqlite.tasks",
    "sqlite.token_bucket",
    "sqlite",
    "redis.script",
    "redis.failures",
    "redis.client",
    "redis.keys",
    "redis.turns",
    "redis.asking",
    "redis.blocking",
    "redis.awaiting",
    "redis.token_bucket",
    "redis.async_token_bucket",
    "redis",
    "http.headers",
    "http.headers.dates",
    "http.headers.fields",
    "http.headers.reading",
    "http.decoding",
    "http.tail",
    "http.records",
    "http.usage",
    "http",
    "http.away",
    "http.functions",
    "http.costs",
    "http.plan",
    "http.pausing",
    "http.waiting",
    "http.settlement",
    "http.exchange",
    "http.transports",
    "http.httpx",
    "http.httpx2",
    "http.bodies",
    "http.requests",
    "http.aiohttp",
    "http.headers.writing",
    "http.addresses",
    "http.problems",
    "http.given",
    "http.refunds",
    "http.service",
    "http.asgi",
    "http.wsgi",
    "http.fastapi",
    "simulate.numbers",
    "simulate.times",
    "simulate.formats",
    "simulate.reading",
    "simulate.lines",
    "simulate.progress",
    "simulate.limits",
    "simulate.run",
    "simulate.series",
    "simulate.tally",
    "simulate.levels",
    "simulate.words",
    "simulate.decisions",
    "simulate.report",
    "simulate.spell",
    "simulate.explain",
    "simulate.axis",
    "simulate.plot",
    "simulate.options",
    "simulate.command",
    "simulate",
    "__main__",
]


def name_of(path):
    """Return the name of a file's module within the package, which itself is `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


# What is compiled has a stub, which says no more than that it imports nothing of the package.
FILES = {
    name_of(path): path for path in sorted(PACKAGE.rglob("*.py*")) if path.suffix in {".py", ".pyi"}
}


def imports_of(module):
    """Return the modules that a file imports: in functions and under TYPE_CHECKING as well."""
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    named = [name for node in ast.walk(tree) for name in named_in(node, FILES[module])]
    return {name for name in map(module_within, named) if name is not None}


def named_in(node, file):
    """Return the full names that an import names, relative ones resolved; none for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    folder = ["rate_limiter", *file.relative_to(PACKAGE).parent.parts]
    start = folder[: len(folder) + 1 - node.level] if node.level else []
    source = ".".join([*start, *filter(None, [node.module])])
    return [f"{source}.{alias.name}" for alias in node.names]


def module_within(name):
    """Return the module that a full name is, or is found in; None outside the package."""
    first, *rest = name.split(".")
    if first != "rate_limiter":
        return None
    while rest and ".".join(rest) not in FILES:
        rest.pop()
    return ".".join(rest) or "__init__"


def test_list_every_module_in_order():
    """Every module has its place in the order of layers."""
    assert sorted([*LAYERS, "__init__"]) == sorted(FILES)


@each("module", LAYERS)
def test_import_only_from_earlier_layers(module):
    """Each file imports only from those before it, so that each can be read in that order."""
    assert imports_of(module) <= set(LAYERS[: LAYERS.index(module)])


def test_import_in_no_circle():
    """No file imports, by whatever way, from one that imports from it."""
    graph = TopologicalSorter({module: imports_of(module) for module in FILES})
    try:
        graph.prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}", pytrace=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import rate_limiter", {"__init__"}),
        ("import rate_limiter.clock", {"clock"}),
        ("from rate_limiter.redis.keys import name", {"redis.keys"}),
        ("from .. import clock", {"clock"}),
        ("from .. import __version__", {"__init__"}),
        ("from ..clock import Clock", {"clock"}),
        ("from . import keys, turns", {"redis.keys", "redis.turns"}),
        ("from .keys import name", {"redis.keys"}),
        ("import asyncio, redis.asyncio", set()),
        ("from redis.client import Redis", set()),
        ("def late():\n    from .keys import name", {"redis.keys"}),
        ("if TYPE_CHECKING:\n    from .keys import name", {"redis.keys"}),
    ],
)
def test_read_import_finds_its_module(text, found, tmp_path, monkeypatch):
    """What is read is every form of an import, here as if written in a file of `redis`."""
    file = tmp_path / "redis" / "written.py"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    monkeypatch.setitem(FILES, "redis.written", file)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert imports_of("redis.written") == found


def test_import_every_module_from_the_repository_root():
    """All of it works as `src.rate_limiter` in a process that never sees it as `rate_limiter`."""
    importable = set(FILES) - (set() if rate_limiter.compiled else {"_core"})
    names = [f"src.rate_limiter.{name}".removesuffix(".__init__") for name in sorted(importable)]
    script = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'rate_limiter'])"
    )
    run = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(  # noqa: S603 - our own code
        run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
