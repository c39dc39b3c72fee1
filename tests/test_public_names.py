"""The public names, and what importing them takes."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import rate_limiter
from each import each

PACKAGE = Path(rate_limiter.__file__).parent
MODULES = sorted(
    module.name.removeprefix("rate_limiter.")
    for module in pkgutil.walk_packages(rate_limiter.__path__, "rate_limiter.")
    if module.name != "rate_limiter._core"  # compiled, it has no text to be read
)

ROOMS = (
    "http",
    "http.headers",
    "instrumentation",
    "memory",
    "redis",
    "shared",
    "simulate",
    "sqlite",
)  # folders of the package


@cache
def parse(module):
    return ast.parse(Path(importlib.import_module(full_name(module)).__file__).read_text())


def full_name(module):
    return "rate_limiter" if module == "__init__" else f"rate_limiter.{module}"


def names_from_package(node, module):
    """Return the modules of the package that an import takes names from."""
    if isinstance(node, ast.ImportFrom) and node.level:
        rooms = module.split(".") if module in ROOMS else module.split(".")[:-1]
        inside = "".join(f"{room}." for room in rooms[: len(rooms) + 1 - node.level])
        return [f"{inside}{name}" for name in [node.module] if name] or [
            alias.name for alias in node.names if alias.name in MODULES
        ]
    return []


def defined_in(module):
    """Return the public names that a module binds to something of its own."""
    pending = list(parse(module).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If):
            pending += node.body
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (name.id for name in getattr(target, "elts", [target]))


def test_list_public_names_of_package():
    """`__all__` is sorted and is what the package offers, submodules aside."""
    public = {name for name in vars(rate_limiter) if not name.startswith("_")}
    assert public - set(MODULES) == set(rate_limiter.__all__) - {"__version__"}
    assert rate_limiter.__all__ == sorted(rate_limiter.__all__)
    assert len(set(rate_limiter.__all__)) == len(rate_limiter.__all__)


def test_list_promised_names():
    """What users import is there."""
    assert set(rate_limiter.__all__) >= {
        "AsyncBucket",
        "AsyncPermit",
        "AsyncReservation",
        "BackendError",
        "Bucket",
        "BucketGroup",
        "Clock",
        "CostExceedsCapacity",
        "KeyedRateLimiter",
        "Level",
        "Permit",
        "RateLimitExceeded",
        "RateLimiter",
        "TokenBucket",
        "Tokens",
        "__version__",
        "per_instance",
        "rate_limited",
    }


@each("name", MODULES)
def test_list_names_of_module(name):
    """Every module has a sorted `__all__` of names that are its own."""
    module = importlib.import_module(f"rate_limiter.{name}")
    assert list(module.__all__) == sorted(module.__all__, key=all_order)
    handed_on = {  # the way by which users import them
        "limiter": {"AsyncPermit", "Permit"},
        "http.asgi": {"client_ip"},
        "http.fastapi": {"client_ip"},
        "http.wsgi": {"remote_addr"},
    }
    own = set(module.__all__) - handed_on.get(name, set())
    assert own <= set(defined_in(name)) or name in ROOMS  # which only gather


def all_order(name):
    """Order names as isort does: constants, classes, and the rest."""
    return (not name.isupper(), not name[0].isupper(), name)


@each("name", ["__init__", *MODULES])
def test_import_only_names_that_are_offered(name):
    """What modules import from each other, the others list in `__all__`."""
    for node in ast.walk(parse(name)):
        for source in names_from_package(node, name):
            offered = importlib.import_module(f"rate_limiter.{source}").__all__
            assert {alias.name for alias in node.names} <= set(offered)


@each("name", ["__init__", *MODULES])
def test_import_package_only_relatively(name):
    """The package calls itself by no name, so that it works wherever it is put."""
    named = [
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(parse(name))
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for alias in node.names
    ]
    assert not [module for module in named if module.split(".")[0] in {"rate_limiter", "src"}]


@each("module", ["rate_limiter", "rate_limiter.instrumentation", "rate_limiter.testing"])
def test_import_package_leaves_heavy_modules_out(module):
    """Who only imports the package pays for no event loop, no wrapper, and no store."""
    heavy = ["asyncio", "opentelemetry", "prometheus_client", "redis", "trio", "wrapt"]
    heavy += ["dataclasses", "inspect", "pathlib"]
    script = f"import sys; before = {{*sys.modules}}; import {module}; after = {{*sys.modules}}; "
    script += f"print([name for name in {heavy} if name in after - before])"
    run = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603 - own code
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_ship_types():
    """The package says that it is typed."""
    assert (PACKAGE / "py.typed").exists()
