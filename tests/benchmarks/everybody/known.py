"""Everybody, and which of them are there."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from everybody import hosts, local_peers, shared_peers
from everybody.contender import Contender
from everybody.ours import ByHand, This

__all__ = ["BY_HAND", "CONTENDERS", "THIS", "found", "version_of"]

THIS, BY_HAND = This(), ByHand()
CONTENDERS: list[Contender] = [
    THIS,
    BY_HAND,
    shared_peers.Limits(),
    shared_peers.PyrateLimiter(),
    shared_peers.Throttled(),
    local_peers.AIOLimiter(),
    local_peers.Limiter(),
    local_peers.TokenBucket(),
    local_peers.RateLimit(),
    local_peers.RustPy(),
    shared_peers.Steindamm(),
    hosts.RequestsRateLimiter(),
    hosts.SlowAPI(),
    hosts.FlaskLimiter(),
    hosts.FastAPILimiter(),
]


def found() -> tuple[list[Contender], list[str]]:
    """Return who can be imported, and why each of the others cannot."""
    there, skipped = [], []
    for contender in CONTENDERS:
        try:
            import_module(contender.module)
        except ImportError as error:
            skipped.append(f"{contender.name} {wanted(contender.name)}: {error}")
        else:
            there.append(contender)
    return there, skipped


def wanted(name: str) -> str:
    """Return the version that the extra `bench` asks for, as pip reads it."""
    project = Path(__file__).parents[3] / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return next(each.removeprefix(name) for each in extras["bench"] if each.startswith(f"{name}>"))


def version_of(name: str) -> str:
    """Return the version that is installed; nothing for what was never packaged."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
