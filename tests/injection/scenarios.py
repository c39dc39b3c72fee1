"""One operation in one world: the points at which something can come in between, and what then."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from .clockwork import OPERATION, remove_mem_hooks
from .injectors import HOME, Injector, Moment, act_of, injectors, put_right
from .judge import judge
from .operations import GUESTS, OPERATIONS, Operation, attempt
from .outcome import CUT_SHORT, Outcome, observe
from .worlds import KINDS, LINES, World, make_world

__all__ = ["Scenario", "scenarios"]

NOTHING = Operation("nothing", lambda world, actor: CUT_SHORT)


@dataclass
class Scenario:
    """An operation in a world."""

    operation: Operation
    kind: str
    line: str
    home: str = HOME
    make: Callable[[str], World] = make_world
    _known: tuple[Operation | None, list[Outcome]] | None = None  # what the last guest may leave

    def __str__(self) -> str:
        return f"{self.operation.name} | {self.kind} | {self.line}"

    @cached_property
    def lines(self) -> int:
        """How many lines of the package the operation passes."""
        moment = Moment(wanted=lambda: self._is_under_way(world), home=self.home)
        world = self._ready(NOTHING)
        with moment.watching():
            answer = self._answer(world)
        self._observe(world, answer, [])
        return moment.passed

    @cached_property
    def injectors(self) -> list[Injector]:
        """What can come in between."""
        guests = [guest for guest in GUESTS if guest.fits(self.kind)]
        return list(injectors(guests, loops=self.operation.awaits or self.line == "tasks"))

    def try_point(
        self, injector: Injector, number: int, tell: Callable[[str], object] = str
    ) -> list[str]:
        """Let something in at the n-th line; return what is wrong then.

        Args:
            injector: What comes in.
            number: At which line of all that the operation passes.
            tell: Is told which line that is, before anything comes in.

        Raises:
            HungError: Another thread could not act any more.
        """
        allowed = self._allowed(injector.guest)
        world, answers = self._ready(injector.guest or NOTHING), []
        run_guest = partial(self._run_guest, injector.guest, world, answers)
        act = act_of(injector, run_guest)
        moment = Moment(number, act, lambda: self._is_under_way(world), self.home, tell)
        with put_right(), moment.watching():
            answer = self._answer(world)
        if injector.kind == "allocation" and str(answer).endswith("Error"):
            answer = CUT_SHORT  # what runs out of memory amid one error may report another
        outcome = self._observe(world, answer, answers)
        return judge(outcome, allowed) if moment.where else []

    def _allowed(self, guest: Operation | None) -> list[Outcome]:
        """Return what may be left: the operation and the guest, each whole, in any order."""
        if self._known is None or self._known[0] is not guest:
            self._known = guest, list(self._histories(guest))
        return self._known[1]

    def _histories(self, guest: Operation | None) -> Iterator[Outcome]:
        if guest is None:
            world = self._ready(NOTHING)
            yield self._observe(world, CUT_SHORT, [])
        world, answers = self._ready(guest or NOTHING), []
        answer = self._answer(world)
        sleeps = world.clock.sleeps
        self._run_guest(guest, world, answers)
        yield self._observe(world, answer, answers)
        for sleep in range(sleeps + 1) if guest else ():
            world, answers = self._ready(guest), []
            run_guest = partial(self._run_guest, guest, world, answers)
            if sleep:
                world.clock.on_sleep = lambda n, at=sleep, run=run_guest: n == at and run()
            else:
                run_guest()
            answer = self._answer(world)
            yield self._observe(world, answer, answers)

    def _ready(self, guest: Operation) -> World:
        """Make a world in which the operation and the guest can be run."""
        world = self.make(self.kind)
        self.operation.prepare(world, world.caller)
        guest.prepare(world, world.guest)
        world.form(self.line)
        self.operation.late(world, world.caller)
        guest.late(world, world.guest)
        return world

    def _answer(self, world: World) -> object:
        def run() -> object:
            try:
                return self.operation.run(world, world.caller)
            finally:
                sys.settrace(None)  # first of all: what follows is not the operation's
                remove_mem_hooks()

        try:
            answer = attempt(run)
        except KeyboardInterrupt:
            return CUT_SHORT
        return CUT_SHORT if answer == "MemoryError" else answer

    def _run_guest(self, guest: Operation | None, world: World, answers: list) -> None:
        if guest is not None:
            answers.append(attempt(lambda: guest.run(world, world.guest)))

    def _observe(self, world: World, answer: object, answers: list) -> Outcome:
        outcome = observe(world, answer, answers[0] if answers else None)
        world.close()
        return outcome

    def _is_under_way(self, world: World) -> bool:
        """Tell whether a line that runs in this thread is one of the operation."""
        if world.clock.passing or not self.operation.awaits:
            return not world.clock.passing
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return False
        return task is not None and task.get_name() == OPERATION


def scenarios() -> list[Scenario]:
    """Return every operation in every world, always in the same order."""
    return [
        Scenario(operation, kind, line)
        for operation in OPERATIONS
        for kind in KINDS
        if operation.fits(kind)
        for line in (LINES[:1] if operation.keyed else LINES)
    ]
