"""What is run in a world: every call of the public interface that changes something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket

from .clockwork import OPERATION
from .worlds import Actor, World

__all__ = ["GUESTS", "OPERATIONS", "Operation", "attempt"]


@dataclass(frozen=True)
class Operation:
    """One call, and what has to be there before it."""

    name: str
    run: Callable[[World, Actor], object]
    prepare: Callable[[World, Actor], object] = lambda world, actor: None  # before the line forms
    late: Callable[[World, Actor], object] = lambda world, actor: None  # at the end of the line
    awaits: bool = False
    keyed: bool = False

    def fits(self, kind: str) -> bool:
        """Tell whether it can be run in a world of this kind."""
        there = hasattr(TokenBucket, "resume") or self.name != "resume"
        return there and self.keyed == (kind in ("keyed", "resting"))


def attempt(run: Callable[[], object]) -> object:
    """Return what a call answers, errors included, so that answers can be compared."""
    try:
        answer = run()
    except RateLimitExceeded as error:
        delay = getattr(error, "retry_after", None)
        return f"{type(error).__name__} {round(delay, 6) if delay is not None else None}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return type(error).__name__
    return answer if answer is None or isinstance(answer, bool | float | str) else "made"


def _wait_async(world: World, actor: Actor) -> None:
    loop = world.event_loop()
    call = actor.bucket.wait_async(actor.cost, actor.timeout)
    loop.run_until_complete(loop.create_task(call, name=OPERATION))


def _acquire(world: World, actor: Actor) -> None:
    with RateLimiter(actor.bucket, timeout=actor.timeout).acquire(actor.cost):
        pass


def _acquire_or_refuse(world: World, actor: Actor) -> None:
    with RateLimiter(actor.bucket, block=False).acquire(actor.cost):
        pass


def _reserve(world: World, actor: Actor) -> None:
    actor.held = actor.bucket.reserve(actor.cost)


def _enter(world: World, actor: Actor) -> None:
    actor.held = RateLimiter(actor.bucket).acquire(actor.cost).__enter__()


def _reconfigure(world: World, actor: Actor) -> None:
    leaf = world.leaves[0]
    leaf.configure(tokens_per_second=2 if actor is world.caller else 1.5)


def _widen(world: World, actor: Actor) -> None:
    world.leaves[0].configure(capacity=200 if actor is world.caller else 150)


def _several(world: World, actor: Actor) -> bool:
    attempt(lambda: actor.bucket.reserve(1).cancel())
    taken = actor.bucket.allow(actor.cost)
    actor.bucket.refund(1)
    attempt(lambda: actor.bucket.wait(1, timeout=0))
    return taken


def _pause(world: World, actor: Actor) -> None:
    actor.bucket.pause(actor.cost)


def _use_key(world: World, actor: Actor) -> bool:
    return world.keyed["new" if actor is world.caller else 5].bucket.allow(actor.cost)


def _hold_key(world: World, actor: Actor) -> None:
    actor.held = world.keyed[5]


def _use_held_key(world: World, actor: Actor) -> bool:
    return actor.held.bucket.allow(actor.cost)


def _pay_for_key(world: World, actor: Actor) -> bool:
    """Pay as a decorated call does, which takes at rest if it can."""
    key = "new" if actor is world.caller else 5
    paid = world.keyed._take_at_rest(key, actor.cost)
    return paid or world.keyed[key].bucket.allow(actor.cost)


def _reset_key(world: World, actor: Actor) -> None:
    world.keyed.reset(5)


def _lay_to_rest(world: World, actor: Actor) -> None:
    world.keyed[5].bucket.allow(actor.cost)
    for _ in range(3):
        world.keyed._sweep()


def _drop_keys(world: World, actor: Actor) -> None:
    for number in range(3):  # each looks at several others, and drops those that are full
        world.keyed[f"new {number}"]


def _fill_keys(world: World, actor: Actor) -> None:
    for number in range(10, 19):
        world.keyed[number]


def _call(name: str, *args: object) -> Callable[[World, Actor], object]:
    """Return what calls a method of the bucket with the cost."""
    return lambda world, actor: getattr(actor.bucket, name)(actor.cost, *args)


def _call_held(name: str, *args: object) -> Callable[[World, Actor], object]:
    """Return what calls a method of the reservation or permit made in advance."""
    return lambda world, actor: getattr(actor.held, name)(*args)


def _wait(world: World, actor: Actor) -> None:
    actor.bucket.wait(actor.cost, actor.timeout)


def _wait_too_short(world: World, actor: Actor) -> None:
    # Whoever comes in between never sleeps: no time passes within what it came in between of.
    actor.bucket.wait(actor.cost, 1 if actor is world.caller else 0.25)


_keyed = partial(Operation, keyed=True)
OPERATIONS = (
    Operation("allow", _call("allow")),
    Operation("wait", _wait),
    Operation("wait too short", _wait_too_short),
    Operation("wait_async", _wait_async, awaits=True),
    Operation("acquire", _acquire),
    Operation("acquire block=False", _acquire_or_refuse),
    Operation("reserve", _reserve),
    Operation("cancel first", _call_held("cancel"), prepare=_reserve),
    Operation("cancel last", _call_held("cancel"), late=_reserve),
    Operation("reservation.settle less", _call_held("settle", 1), late=_reserve),
    Operation("reservation.settle more", _call_held("settle", 6), prepare=_reserve),
    Operation("permit.settle less", _call_held("settle", 1), prepare=_enter),
    Operation("permit.settle more", _call_held("settle", 6), prepare=_enter),
    Operation("permit.refund", _call_held("refund"), prepare=_enter),
    Operation("bucket.refund", _call("refund")),
    Operation("pause", _pause),
    Operation("resume", lambda world, actor: actor.bucket.resume(), late=_pause),
    Operation("configure rate", _reconfigure),
    Operation("configure capacity", _widen),
    _keyed("keyed access", _use_key),
    _keyed("keyed access, crowded", _use_key, prepare=_fill_keys),
    _keyed("keyed call", _pay_for_key),
    _keyed("keyed reset", _reset_key),
    _keyed("keyed drop", _drop_keys),
    _keyed("keyed rest", _lay_to_rest),
    _keyed("keyed held", _use_held_key, prepare=_hold_key),
)
# What comes in between runs in the same thread, at times within a running loop: it never awaits.
GUESTS = (
    *(operation for operation in OPERATIONS if not operation.awaits),
    Operation("several", _several),
    _keyed("several", _several),
)
