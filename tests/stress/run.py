"""Run every torture run at full size, of `injection.py` a part; exit non-zero if one fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUNS = [
    "memory.py --threads 8 --calls 100000 --cancelled 1000",
    "memory.py --threads 32 --calls 1000000 --loops 4 --tasks 5000 --cancelled 100000",
    "barrier.py --rounds 1000 --threads 32 --capacity 5",
    "storm.py --seconds 30 --share 0",
    "storm.py --seconds 60 --share 0.3",
    "injection.py --share 29",
    "both_cores.py --steps 1000000",
    "both_cores.py --steps 200000 --sanitized",
    "leaks.py",
    "fork.py --forks 500 --threads 4",
    "key_flood.py --keys 5000000 --per-second 50000",
    "sqlite_kills.py --seconds 300 --processes 8",
    "redis_faults.py --seconds 300 --kill 20 --flush 200 --end 500 --lost 500 --stop 50 --die 20",
]


def main() -> None:
    """Run them one after the other, so that none takes another's processor."""
    failed = []
    for run in RUNS:
        print(f"\n{run}", flush=True)  # noqa: T201 - a script's output
        script, *sizes = run.split()
        command = [sys.executable, Path(__file__).with_name(script), *sizes]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - the scripts beside this
            failed.append(run)
    sys.exit(f"\nfailed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
