"""A call that is repeated, timed, and asked whether it was admitted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import repeat
from textwrap import indent
from time import perf_counter
from typing import Any

from measuring import Sample, repetitions

from everybody.contender import Call

__all__ = ["Timed", "calls"]

RUN = """
{kind} run(keys):
    answer = None
    began = clock()
    for key in keys:
{body}
    return clock() - began, answer
"""
REFUSED = """
try:
{body}
except Refusal:
    answer = False
"""


class Timed:
    """A call that can be measured as `measuring.Measure` says.

    Args:
        call: The call.
        loop: What runs it, if it awaits.
    """

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        body = call.text
        if call.refusal is not None:
            body = REFUSED.format(body=indent(body, " " * 4))
        kind = "async def" if "await " in body or "async with" in body else "def"
        names: dict[str, Any] = {**call.names, "Refusal": call.refusal, "clock": perf_counter}
        exec(RUN.format(kind=kind, body=indent(body, " " * 8)), names)  # noqa: S102 - our own text
        self.start = names["run"]  # what it returns gives the seconds and the last answer
        self._call, self._loop, self._awaits = call, loop, kind != "def"
        self._answer: Any = None

    def __call__(self, number: int) -> float:
        return self.run(repeat(None, number))

    def run(self, keys: Iterable[object]) -> float:
        """Repeat the call for each key; return the seconds, and keep the last answer."""
        done = self.start(keys)
        took, self._answer = self._loop.run_until_complete(done) if self._awaits else done
        return took

    def check(self, *, admitted: bool = True) -> None:
        """Raise unless the last call was admitted, or refused, as it should have been."""
        self.check_answer(self._answer, admitted=admitted)

    def check_answer(self, answer: object, *, admitted: bool = True) -> None:
        """Raise unless an answer says that the call was admitted, or refused."""
        if self._call.admitted(answer) is not admitted:
            raise AssertionError(f"{self._call.text!r} has answered {answer!r}")


def calls(timed: Timed, *, admitted: bool = True) -> Sample:
    """Measure a call, of which each time the last is checked."""
    if not admitted:
        timed(1)  # the only one that is admitted
        timed.check()
    timed(1)
    timed.check(admitted=admitted)
    number = repetitions(timed)

    def sample() -> float:
        took = timed(number)
        timed.check(admitted=admitted)
        return took / number

    return sample
