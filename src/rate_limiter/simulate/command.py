"""The command line: `rate-limiter simulate` and `rate-limiter explain`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .decisions import CannotWrite, DecisionsFile
from .explain import explained
from .formats import Fields, WrongField
from .levels import LevelTrace
from .limits import Limit
from .lines import CannotRead, LogFile
from .options import read_options
from .progress import watched
from .reading import Reader
from .report import Outcome, as_json, as_text, title_of
from .run import Simulation
from .spell import BusySpell
from .tally import Tally
from .words import can_draw, shown_key

__all__ = ["main"]

_INTERVALS = 200  # of a picture
_DONE, _NOTHING_READ, _WRONG_USE, _INTERRUPTED = 0, 1, 2, 130


class _WrongUse(Exception):
    """The command cannot do what it is asked for; its text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = read_options(arguments)
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - it was closed
        print("rate-limiter: error: there is no standard output to print to", file=sys.stderr)
        return _WRONG_USE
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")  # keys have any characters
    try:
        status = _simulate(options) if options.command == "simulate" else _explain(options)
        sys.stdout.flush()
    except (_WrongUse, WrongField, CannotRead, CannotWrite) as error:
        print(f"rate-limiter {options.command}: error: {error}", file=sys.stderr)
        return _WRONG_USE
    except BrokenPipeError:  # the reader of the output has seen enough
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _DONE
    except OSError as error:  # files say so by errors of their own
        print(f"rate-limiter: cannot write the output: {error.strerror}", file=sys.stderr)
        return _WRONG_USE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _explain(options: Namespace) -> int:
    limit, draw = _limit(options), _drawing(options.plot)
    _simulation(limit)
    spell = BusySpell(limit)
    print(explained(limit, spell, blocks=can_draw(sys.stdout.encoding)))
    if spell.too_long:
        if options.plot is not None:
            raise _WrongUse("--plot has no picture of these rates together; draw them one by one")
        return _DONE
    what = "requests" if spell.cost == 1 else f"requests of {spell.cost:,} tokens"
    draw(f"{limit.words}, in a busy spell", spell.tally.series(_INTERVALS), spell.trace, what)
    return _DONE


def _simulate(options: Namespace) -> int:
    if options.together and options.only is not None:
        raise _WrongUse(
            "--only looks at the limit of one key, and --together leaves none; drop one"
        )
    simulation, draw = _simulation(_limit(options), wait=options.wait), _drawing(options.plot)
    reader = Reader(Fields(options.time, options.key, options.cost), options.format)
    with LogFile(options.log) as log:
        _spare(options.log, options.csv, options.plot)
        tally, trace = _run(options, simulation, reader, log)
    outcome = Outcome(
        _limit(options),
        options.wait,
        None if options.only is None else reader.key_of(options.only),
        tally,
        trace,
        reader.unreadable,
        reader.first_problem,
    )
    if options.json:
        print(as_json(outcome))
    if not tally.requests:
        return _nothing(options, reader)
    if not options.json:
        print(as_text(outcome, blocks=can_draw(sys.stdout.encoding)))
    draw(title_of(outcome), tally.series(_INTERVALS), trace, "requests")
    return _DONE


def _run(
    options: Namespace, simulation: Simulation, reader: Reader, log: LogFile
) -> tuple[Tally, LevelTrace | None]:
    """Decide every request of a log; follow the levels if one key is to be drawn."""
    tally = Tally(waits=options.wait)
    only: str | None = options.only
    trace = LevelTrace() if options.plot and only is not None else None
    with DecisionsFile(options.csv) as decisions:
        for request in reader.requests(watched(log, sys.stderr)):
            if only is not None and request.key != reader.key_of(only):
                simulation.decide(request._replace(cost=0))  # its time counts
                continue
            if trace is not None:
                simulation.decide(request._replace(cost=0))  # the clock moves, nothing is taken
                trace.add(simulation.now, simulation.levels(request.key))
            decision = simulation.decide(request)
            tally.add(request, decision)
            decisions.add(request, decision)
            if trace is not None:
                trace.add(simulation.now, simulation.levels(request.key))
    return tally, trace


def _nothing(options: Namespace, reader: Reader) -> int:
    """Say that there was no request, and why."""
    if reader.readable:
        print(f"no line of {options.log} has the key {shown_key(options.only)}", file=sys.stderr)
    elif reader.first_problem is None:
        print(f"{options.log} has no lines", file=sys.stderr)
    else:
        why = shown_key(reader.first_problem, 300)
        print(f"no line of {options.log} could be read; {why}", file=sys.stderr)
    return _NOTHING_READ


def _limit(options: Namespace) -> Limit:
    together = options.command == "simulate" and options.together
    return Limit(options.rate, options.capacity, options.strict, together)


def _simulation(limit: Limit, *, wait: bool = False) -> Simulation:
    try:
        return Simulation(limit, wait=wait)
    except (TypeError, ValueError) as error:
        raise _WrongUse(str(error)) from None


def _spare(log: str, *outputs: str | None) -> None:
    """Refuse to write over the log that is read, or into what looks like the standard output."""
    given = [output for output in outputs if output is not None]
    if len(given) != len(set(given)):
        raise _WrongUse(f"--csv and --plot write to the same file, {given[0]}; name two")
    for output in given:
        if output == "-":
            raise _WrongUse("- is no file to write to; name one, or /dev/stdout")
        if _is_same(Path(log), Path(output)):
            raise _WrongUse(f"{output} is the log that is read; write to another file")


def _is_same(log: Path, output: Path) -> bool:
    if not output.exists():
        return False
    if str(log) == "-":
        return os.path.samestat(os.fstat(0), output.stat())
    return log.exists() and log.samefile(output)


def _drawing(path: str | None) -> Callable[..., None]:
    """Return what draws into a file, or does nothing without one.

    Raises:
        _WrongUse: There is no matplotlib, or it draws no such file.
    """
    if path is None:
        return lambda *_: None
    try:
        from .plot import draw, file_types
    except ModuleNotFoundError as error:
        raise _WrongUse(
            f"--plot needs matplotlib ({error}); install it with pip install matplotlib"
        ) from None
    ending = Path(path).suffix[1:].lower()
    if ending not in file_types():
        raise _WrongUse(f"--plot draws .png, .svg or .pdf, got {path}")

    def write(*what: Any) -> None:
        try:
            draw(path, *what)
        except OSError as error:
            raise _WrongUse(f"cannot write {path}: {error.strerror}") from None

    return write
