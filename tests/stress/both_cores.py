"""Drive the compiled and the Python core side by side over generated operations (P46).

    python tests/stress/both_cores.py --steps 1000000
    python tests/stress/both_cores.py --steps 100000 --sanitized

Every answer, error, message and integer of the one is compared with the other's. Memory is looked
at as well: the blocks that the interpreter has allocated must not grow with the steps. With
--sanitized the core is built anew, with the address and the undefined behaviour sanitizer of GCC,
and the run is made with that.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "core"))

from both import compare  # noqa: E402 - the path comes first
from figures import finish  # noqa: E402
from second_copy import load_copy  # noqa: E402

import rate_limiter  # noqa: E402

LENGTH = 1_000  # operations on one pair of worlds
CHECKED = 200_000  # operations between two looks at the memory
SPARE = 2_000  # blocks by which the memory may grow: caches, and what Python keeps for itself


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first of the runs")
    parser.add_argument("--sanitized", action="store_true")
    sizes = parser.parse_args()
    if sizes.sanitized:
        sys.exit(run_sanitized(["--steps", str(sizes.steps), "--seed", str(sizes.seed)]))
    if not rate_limiter.compiled:
        finish(["there is no compiled core to compare"])
    pure = load_copy("pure_rate_limiter", pure=True)
    failures, blocks = drive(pure, range(sizes.seed, sizes.seed + -(-sizes.steps // LENGTH)))
    finish(failures, steps=sizes.steps, core=rate_limiter.core.load().__file__, blocks=blocks)


def drive(pure, seeds):
    """Compare runs of these seeds; return what differs, and the blocks allocated in between."""
    failures, blocks = [], []
    for number, seed in enumerate(seeds):
        difference = compare(rate_limiter, pure, seed, LENGTH)
        if difference is not None:
            failures.append(f"seed {seed}: {difference}")
        if (number + 1) * LENGTH % CHECKED == 0:
            blocks.append(allocated_blocks())
    if len(blocks) > 2 and blocks[-1] - blocks[1] > SPARE:  # the first looks find caches growing
        failures.append(f"allocated blocks grow: {blocks}")
    return failures[:5], blocks


def allocated_blocks() -> int:
    """Return how many blocks are allocated, without garbage and without what caches hold."""
    gc.collect()
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):
            one.cache_clear()
    return sys.getallocatedblocks()


def run_sanitized(arguments) -> int:
    """Build the core with sanitizers in a folder of its own, and run this script with it."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "rate_limiter"
        ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
        shutil.copytree(ROOT / "src" / "rate_limiter", package, ignore=ignored)
        built = package / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
        _run(
            *("gcc", "-O1", "-g", "-fPIC", "-shared", "-DSOURCE=0", "-fno-omit-frame-pointer"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
            *("-I", sysconfig.get_path("include"), str(package / "_core.c"), "-o", str(built)),
        )
        libraries = [
            _run("gcc", f"-print-file-name={name}") for name in ("libasan.so", "libubsan.so")
        ]
        environment = os.environ | {
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python itself keeps much until the end
            "PYTHONMALLOC": "malloc",  # so that each block is watched
            "PYTHONPATH": folder,
        }
        command = [sys.executable, __file__, *arguments]
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603


def _run(*command: str) -> str:
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - own
    return run.stdout.strip()


if __name__ == "__main__":
    main()
