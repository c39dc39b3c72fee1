"""Something comes in between at every line of every call: nothing may be torn (P19)."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the package of that name, not this script

from figures import finish

from injection.injectors import HOOKED
from injection.pool import Pool
from injection.scenarios import scenarios


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script's output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=1, help="try one point in this many")
    parser.add_argument("--seconds", type=float, help="begin nothing new after these")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--skip", type=int, default=0, help="the first of them, done before")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--patience", type=float, default=5.0, help="seconds for a point to end")
    sizes = parser.parse_args()
    until = None if sizes.seconds is None else time.monotonic() + sizes.seconds
    numbers = [at for at, one in enumerate(scenarios()) if sizes.only in f"{one} |"]
    numbers = numbers[sizes.skip :]
    pool = Pool(sizes.share, sizes.patience, until, say=say)
    done = pool.run(numbers, sizes.workers)
    if not HOOKED:
        say("skipped: this interpreter has no _testcapi, so no allocation was made to fail")
    by_injector = Counter(finding.split(" | ")[3].split(":")[0] for finding in pool.findings)
    failures = [f"{count} times by {kind}" for kind, count in sorted(by_injector.items())]
    finish(failures, scenarios=f"{done}/{len(numbers)}", points=pool.points, **pool.by_kind)


if __name__ == "__main__":
    main()
