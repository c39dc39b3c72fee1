"""What the command line takes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .formats import FORMATS
from .numbers import Cost, Unreadable, read_number

__all__ = ["read_options"]

_SIMULATE = """\
Formats, found out by the first line that can be read:
  json      one JSON object a line; --time, --key and --cost name its fields
  access    common or combined log format; --key and --cost name one of ip, user, method, path,
            status, agent, referer, host, request, bytes, protocol, ident
  columns   seconds key [cost]

Examples:
  rate-limiter simulate access.log --key ip --rate 100/minute
  rate-limiter simulate access.log --key user --rate 10/second --rate 1000/hour --json
  rate-limiter simulate calls.jsonl --time at --key user --cost tokens --rate 90000/minute --wait
  zcat -f access.log.2.gz access.log.1 access.log | rate-limiter simulate - --rate 100/minute

Exit status: 0 done, 1 not one line could be read, 2 wrong use.
"""
_EXPLAIN = """\
Examples:
  rate-limiter explain 100/minute
  rate-limiter explain 10/second 1000/hour
  rate-limiter explain 60/minute --strict --plot limit.png
"""


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments of the command line, those of the process if None.

    Raises:
        SystemExit: They are wrong, or ask for help.
    """
    parser = argparse.ArgumentParser(
        prog="rate-limiter", description="See what a rate limit does before it is switched on."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="simulate | explain")
    _add_simulate(
        _command(commands, "simulate", "say what a limit would have done to a log", _SIMULATE)
    )
    _add_explain(_command(commands, "explain", "say what a limit means", _EXPLAIN))
    options = parser.parse_args(arguments)
    parts = [part.strip() for rate in options.rate for part in rate.split(";")]
    options.rate = tuple(part for part in parts if part)
    return options


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    does: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("log", help="a file, also one compressed by gzip; - reads standard input")
    add(
        "--rate",
        action="append",
        required=True,
        help="such as 100/minute; given several times, all of them hold together",
    )
    _add_limit(parser)
    add(
        "--key",
        metavar="NAME",
        help="the field whose values each have a limit of their own; "
        "ip in access logs (an IPv6 address counts as its /64), key in JSON lines, if it is left "
        "out",
    )
    add(
        "--time",
        metavar="NAME",
        help="the field of the time, in JSON lines; time, timestamp, ts "
        "or @timestamp if it is left out",
    )
    add(
        "--cost",
        metavar="NAME",
        help="the field of how many tokens a request takes; each takes one if it is left out",
    )
    add(
        "--format",
        choices=sorted(kind.name for kind in FORMATS),
        help="the format, where the first line misleads",
    )
    add("--together", action="store_true", help="one limit for all keys together")
    add(
        "--only",
        metavar="KEY",
        help="look at this key alone; a plot then shows the level of its bucket",
    )
    add(
        "--wait",
        action="store_true",
        help="let requests wait for their tokens instead of refusing them",
    )
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--csv", metavar="FILE", help="write what became of each request")
    _add_plot(parser, "draw demand, admitted and refused over time")


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rate", nargs="+", help="such as 100/minute; several hold together")
    _add_limit(parser)
    _add_plot(parser, "draw what it does in a busy spell")


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--capacity",
        type=_number,
        metavar="TOKENS",
        help="how many are there at once; the count of the rate if it is left out",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="never more than the count in any span of the rate's length",
    )


def _add_plot(parser: argparse.ArgumentParser, does: str) -> None:
    parser.add_argument(
        "--plot", metavar="FILE", help=f"{does}: out.png, .svg or .pdf; needs matplotlib"
    )


def _number(text: str) -> Cost:
    try:
        number = read_number(text)
    except Unreadable as error:
        raise argparse.ArgumentTypeError(f"{error}; write it as 10 or 2.5") from None
    return int(number) if number == number.to_integral_value() else number
