"""The process in which points are tried, for some may hang it: it is told, and tells, in lines."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import warnings

from .outcome import HungError
from .scenarios import Scenario, scenarios
from .share import points

__all__ = ["ENOUGH", "LEFT", "main"]

LEFT = 7  # the exit code of a worker that has said why it ends
ALONE = 120  # seconds after which a worker that nobody kills ends by itself
ENOUGH = 3  # findings of one injector in one scenario; more of them say nothing new


def main() -> None:
    """Try the points of every scenario that is asked for, until there is nothing to read."""
    warnings.simplefilter("ignore")  # a permit that an interrupt caught half way says so, rightly
    sys.unraisablehook = int
    sys.setswitchinterval(1)  # a thread runs until it sleeps, so that each run is like the last
    gc.disable()
    gc.freeze()
    everything = scenarios()
    for line in sys.stdin:
        asked = json.loads(line)
        scenario = everything[asked["scenario"]]
        try_points(scenario, asked)
        say(done=asked["scenario"])
        gc.collect()


def try_points(scenario: Scenario, asked: dict) -> None:
    """Try the points of one scenario, each told before it begins."""
    after = tuple(asked["after"])
    found = dict.fromkeys(range(len(scenario.injectors)), 0)
    for number, line in points(scenario, asked["scenario"], asked["share"], after):
        if found[number] >= ENOUGH:
            continue
        injector = scenario.injectors[number]
        signal.alarm(ALONE)
        say(at=(number, line), what=f"{scenario} | {injector}")
        try:
            wrong = scenario.try_point(injector, line, lambda where: say(where=where))
        except HungError as hung:
            say(found=str(hung))
            os._exit(LEFT)  # with whatever it holds
        if wrong:
            found[number] += 1
            say(found="; ".join(wrong))


def say(**what: object) -> None:
    """Tell the pool."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
