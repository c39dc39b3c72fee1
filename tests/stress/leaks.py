"""Make calls of the compiled core again and again, and count what they leave behind (P46).

    python tests/stress/leaks.py
    python tests/stress/leaks.py --python /usr/bin/python3.11-dbg --tests tests/core

A debug build of Python counts all references. Where there is one, the core is built for it in an
environment of its own, and the calls are made there, in rounds that are all the same: after some to
warm up, neither references nor allocated blocks may grow from round to round. Its assertions are
made as well, also over the tests that `--tests` names. Without one the blocks alone are counted, in
this interpreter, which shows lost objects, but no reference lost to an object that stays. With
--valgrind it looks for memory that is lost, or used once freed, by what the core does.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from array import array
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

from figures import finish

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["src", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"]
TEST_LIBRARIES = ["hypothesis", "pytest", "pytest-cov", "pytest-timeout", "pytest-xdist"]
SUPPRESSIONS = Path("/usr/lib/valgrind/python3.supp")  # CPython's, as Debian installs them
COUNTED = "import sys; sys.gettotalrefcount(); sys.exit(sys.version_info < (3, 11))"
CLEAR = "_clear_internal_caches" if sys.version_info >= (3, 13) else "_clear_type_cache"
clear_caches: Callable[[], None] = getattr(sys, CLEAR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="that are counted")
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before those")
    parser.add_argument("--steps", type=int, default=2_000, help="generated operations in a round")
    parser.add_argument("--only", nargs="+", help="parts of the calls; all of them if not named")
    parser.add_argument("--python", help="a debug build of Python; looked for if not named")
    parser.add_argument("--here", action="store_true", help="count in this interpreter")
    parser.add_argument("--tests", nargs="+", help="files and folders to run instead of the rounds")
    parser.add_argument("--valgrind", action="store_true", help="make few of the calls under it")
    sizes = parser.parse_args()
    if sizes.here:
        count_here(sizes)
    python = sizes.python or find_debug_build()
    if python is None:
        print("there is no debug build of Python: blocks are counted, and no references")  # noqa: T201
        count_here(sizes)
        return
    with tempfile.TemporaryDirectory() as folder:
        own = build(python, Path(folder), TEST_LIBRARIES if sizes.tests else [])
        if sizes.valgrind:
            look_with_valgrind(own, Path(folder, "valgrind.xml"), sizes)
        command = [own, __file__, "--here", *options(sizes)]
        if sizes.tests:
            command = [own, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *sizes.tests]
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode)  # noqa: S603 - own


def look_with_valgrind(own: str, report: Path, sizes: argparse.Namespace) -> None:
    """Make the calls some times under valgrind, and finish with what it says of the core.

    Python itself reads some memory before it is written, which its suppressions do not all name.
    """
    few = argparse.Namespace(**vars(sizes) | {"rounds": 1, "warm_up": 1, "steps": 400})
    suppressed = [f"--suppressions={SUPPRESSIONS}"] if SUPPRESSIONS.exists() else []
    kept = ["--leak-check=full", "--show-leak-kinds=definite", "--num-callers=40", *suppressed]
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        finish(["there is no valgrind"])
    called = [own, __file__, "--here", *options(few)]
    run = subprocess.run(  # noqa: S603 - own
        [str(valgrind), "--xml=yes", f"--xml-file={report}", *kept, *called],
        env=environment() | {"PYTHONMALLOC": "malloc"},  # so that each block is watched
        check=False,
    )
    errors = list(ET.parse(report).iter("error"))  # noqa: S314 - of valgrind
    failures = [told(error) for error in errors if is_of_core(error)]
    failures += [f"the run ended with {run.returncode}"] if run.returncode else []
    finish(failures, errors=len(errors), of_the_core=len(failures))


def is_of_core(error: ET.Element) -> bool:
    """Tell whether the core has a part in it, or freed memory is used, wherever that is."""
    places = [frame.findtext("obj", "") for frame in error.iter("frame")]
    return error.findtext("kind", "").startswith("Invalid") or any(
        "/_core." in one for one in places
    )


def told(error: ET.Element) -> str:
    names = [frame.findtext("fn", "?") for frame in error.iter("frame")]
    return f"{error.findtext('kind')}: {' < '.join(names[:12])}"


def options(sizes: argparse.Namespace) -> list[str]:
    """Return the options that a run in another interpreter is given."""
    given = ("rounds", sizes.rounds), ("warm-up", sizes.warm_up), ("steps", sizes.steps)
    only = ["--only", *sizes.only] if sizes.only else []
    return [*(f"--{name}={value}" for name, value in given), *only]


def environment() -> dict[str, str]:
    """Return the variables for a debug build, whose package is its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RATE_LIMITER_PURE")}
    return kept | {"RATE_LIMITER_CORE": "required"}


def find_debug_build() -> str | None:
    """Return a Python that counts references: this one, one on the PATH, or one of pyenv's."""
    versions = [f"3.{minor}" for minor in (sys.version_info.minor, *range(11, 20))]
    names = [name for version in versions for name in (f"python{version}d", f"python{version}-dbg")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [sys.executable, *map(shutil.which, names), *pyenv.glob("*debug*/bin/python")]
    return next((str(one) for one in found if one and counts_references(str(one))), None)


def counts_references(python: str) -> bool:
    run = subprocess.run([python, "-c", COUNTED], capture_output=True, check=False)  # noqa: S603
    return run.returncode == 0


def build(python: str, folder: Path, more: list[str]) -> str:
    """Make an environment of a debug build, with the package; return its Python.

    Its wrapt is built there as well, for one built otherwise counts none of its references.
    """
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, sources / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, sources)
    own = str(folder / "python" / "bin" / "python")
    _run(python, "-m", "venv", str(folder / "python"))
    _run(own, "-m", "pip", "install", "-q", "--no-binary", "wrapt", str(sources), *more)
    return own


def _run(*command: str) -> None:
    run = subprocess.run(  # noqa: S603 - own
        command, env=environment(), capture_output=True, text=True, check=False
    )
    if run.returncode:
        sys.exit(f"{' '.join(command)}:\n{run.stderr}")


def count_here(sizes: argparse.Namespace) -> None:
    """Count what each kind of calls leaves behind in this interpreter, and finish."""
    sys.path.insert(0, str(ROOT / "tests" / "core"))
    import core_calls

    if core_calls.CORE is None:
        finish(["there is no compiled core to count in"])
    parts = {"generated": partial(core_calls.generated, sizes.steps)} | core_calls.PARTS
    failures: list[str] = []
    for name in sizes.only or parts:
        grown = count(parts[name], sizes.warm_up, sizes.rounds)
        shown = "  ".join(f"{what} {' '.join(map(str, deltas))}" for what, deltas in grown.items())
        print(f"{name}: {shown}", flush=True)  # noqa: T201 - a script's output
        # A leak is in every round, for all are the same; caches grow in some, and shrink in others.
        failures += [
            f"{name}: {what} grow by {deltas}" for what, deltas in grown.items() if min(deltas) > 0
        ]
    finish(failures, core=core_calls.CORE.__file__, rounds=sizes.rounds)


def count(part: Callable[[], None], warm_up: int, rounds: int) -> dict[str, list[int]]:
    """Return by how much references, if they are counted, and blocks grew in each round."""
    from both_cores import allocated_blocks

    total = getattr(sys, "gettotalrefcount", None)
    references, blocks = (array("q", bytes(8 * (rounds + 1))) for _ in "rb")
    for number in range(-warm_up, rounds + 1):
        gc.disable()  # so that all rounds are the same
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of permits that are dropped
            part()
            gc.enable()
            gc.collect()
        clear_caches()
        blocks[max(number, 0)] = allocated_blocks()
        references[max(number, 0)] = total() if total else 0
    counted = {"references": references} if total else {}
    return {
        what: [after - before for before, after in pairwise(counts)]
        for what, counts in (counted | {"blocks": blocks}).items()
    }


if __name__ == "__main__":
    main()
