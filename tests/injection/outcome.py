"""What can be seen of a world: at once, when the line has gone, and ever after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from rate_limiter import Reservation

from .operations import attempt
from .worlds import Actor, World

__all__ = ["CUT_SHORT", "HungError", "Outcome", "elsewhere", "observe"]

CUT_SHORT = "cut short"  # in place of the answer of an operation that did not come to its end
LATER = 40  # seconds within which everybody in line is served, and no bucket is full
FOREVER = 1_000
PATIENCE = 2.0  # seconds for another thread to do what takes microseconds
TINY = 0.001


class HungError(Exception):
    """Another thread did not get in: nothing more can be tried in this process."""


@dataclass(frozen=True)
class Outcome:
    """What an operation, and what came in between, have left behind."""

    answer: object
    guest: object  # the answer of what came in between, if anything did
    now: tuple | None  # the levels, then everybody's delays; None if time has passed
    end: tuple  # the levels when the line has gone
    fates: tuple = ()  # of those who waited
    complaints: tuple = ()  # what is wrong whatever has happened


class _Elsewhere:
    """A thread that waits for something to do: to start one at each point would take most time."""

    def __init__(self) -> None:
        self._asked: SimpleQueue = SimpleQueue()
        self._answers: SimpleQueue = SimpleQueue()
        self._thread: Thread | None = None

    def __call__(self, run: Callable[[], object]) -> object:
        """Run in another thread and return the answer.

        Raises:
            HungError: It did not come back.
        """
        if self._thread is None:
            self._thread = Thread(target=self._serve, daemon=True)
            self._thread.start()
        self._asked.put(run)
        try:
            return self._answers.get(timeout=PATIENCE)
        except Empty:
            self.__init__()  # the thread is lost
            raise HungError("another thread cannot act") from None

    def _serve(self) -> None:
        asked, answers = self._asked, self._answers
        while True:
            try:
                answers.put(asked.get()())
            except Exception as error:  # noqa: BLE001 - the judge says what it thinks
                answers.put((f"{type(error).__name__}: {error}",))


elsewhere = _Elsewhere()


def observe(world: World, answer: object, guest: object) -> Outcome:
    """Look at a world, let time pass, and look again.

    Raises:
        HungError: Another thread could not act.
    """
    seen = elsewhere(lambda: _look(world))
    if world.clock.elapsed == 0:
        answer, guest = _with_delay(answer, world.caller), _with_delay(guest, world.guest)
    now = seen if world.clock.elapsed == 0 else None
    pass_time(world)
    end = levels(world)
    complaints = elsewhere(lambda: _complaints_of_limit(world))
    return Outcome(answer, guest, now, end, tuple(world.line.fates), tuple(complaints))


def levels(world: World) -> tuple:
    """Return what is in each bucket, as far as it can be seen."""
    return tuple(round(leaf.available_tokens, 6) for leaf in world.leaves)


def _look(world: World) -> tuple:
    refused = world.root.allow(60)  # a refusal changes nothing, but has to get in
    waits = [round(leaf.retry_after(60), 6) for leaf in world.leaves]
    limits = [(leaf.capacity, leaf.tokens_per_second) for leaf in world.leaves]
    held = getattr(world.line, "reservations", ())
    delays = [attempt(lambda one=one: one.delay) for one in held]
    return (levels(world), waits, delays, _keys(world), limits, refused)


def _with_delay(answer: object, actor: Actor) -> object:
    """Return an answer together with the delay of the reservation that there is since."""
    if answer == CUT_SHORT or not isinstance(actor.held, Reservation):
        return answer
    return f"{answer} in {attempt(lambda: actor.held.delay)} s"


def _keys(world: World) -> list:
    """Return what is in the buckets of some keys: in use, perhaps dropped, and new."""
    keyed = world.keyed
    if keyed is None:
        return []
    keys = ("victim", 5, "new")
    return [attempt(lambda key=key: keyed[key].bucket.available_tokens) for key in keys] + [
        attempt(lambda: keyed["victim"] is keyed["victim"])
    ]


def pass_time(world: World) -> None:
    """Let everybody's time come."""
    clock = world.clock
    asleep = clock.sleepers > 0
    world.let_others_run()
    while clock.elapsed < LATER:
        rest = LATER - clock.elapsed
        clock.advance(min(4, rest) if asleep else rest)
        world.let_others_run()
    world.line.end()


def _complaints_of_limit(world: World) -> list[str]:
    """Return in what the limit no longer works, once every bucket has had time to fill."""
    world.clock.advance(FOREVER)
    complaints = [
        f"a bucket of {leaf.capacity:g} fills to {leaf.available_tokens:g}"
        for leaf in world.leaves
        if abs(leaf.available_tokens - leaf.capacity) > TINY / 2
    ]
    world.root.reserve(2).cancel()
    world.other.reserve(1).cancel()
    most = min(leaf.capacity for leaf in world.inside)
    if not world.root.allow(most):
        complaints.append(f"a full bucket refuses {most:g}")
    for leaf in world.leaves:
        rest = leaf.capacity - (most if leaf in world.inside else 0)
        if (rest > 0 and not leaf.allow(rest)) or leaf.allow(TINY):
            complaints.append("the limit is not what it says")
    world.clock.advance(1 / min(leaf.tokens_per_second for leaf in world.inside))
    if not world.root.allow() or world.root.allow(1):
        complaints.append("tokens do not come back at the rate")
    return complaints + ["somebody still sleeps"] * (world.clock.sleepers > 0)
