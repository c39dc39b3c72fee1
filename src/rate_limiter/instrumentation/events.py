"""What happens at a limiter, and which hooks hear of it.

A limiter tells hooks of what has been decided, once it has been decided and outside every step, so
that no hook can change it (P45) or run under the package's lock (P38).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from ..admission import Tokens, copied
from ..callables import is_async, name_of
from ..exceptions import Label
from ..memory.transaction import keep_to_steps
from ..rates import shown
from .guard import Guarded, apart, telling

__all__ = ["WATCH", "Event", "Holding", "Hook", "Kind", "makes_hooks", "set_hooks", "tell"]

F = TypeVar("F", bound=Callable[..., Any])

Kind: TypeAlias = Literal[
    "admitted", "outage", "paused", "refused", "waiting", "would_refuse", "would_wait"
]


class Event(NamedTuple):
    """Something that happened at a limiter. It carries no key and no name of a store (P45).

    Attributes:
        kind: What happened.
            `waiting`: a caller is about to wait.
            `refused`: a call was refused.
            `would_refuse`, `would_wait`: the same in a dry run, where the call passed.
            `paused`: a server has asked for a pause, and everybody who shares the bucket waits.
            `outage`: a store is away.
            `admitted`: a call has its tokens; only for hooks that ask for it, see `set_hooks`.
        limiter: The name of the limiter, or of the decorated function; None if there is neither.
        tokens: The cost of the call; None where there is none.
        seconds: How long the wait will be, until a retry can succeed, how long the pause is, or
            for `admitted` how long the call has waited; None if it is not known, or for ever.
        refused_by: The label of the bucket in a group that holds the call up longest, as on
            `RateLimitExceeded`; None if it is alone.
    """

    kind: Kind
    limiter: str | None
    tokens: Tokens | None = None
    seconds: float | None = None
    refused_by: Label = None


Hook: TypeAlias = Callable[[Event], AbstractContextManager[Any] | None]
"""Gets an event; returns None, or a context manager that is held while the caller waits."""


class _Watch:
    """Who is to be told.

    Attributes:
        hooks: Those that are told of everything but admissions.
        admitted: Those that are told of admissions.
    """

    __slots__ = ("admitted", "hooks")

    def __init__(self) -> None:
        self.hooks: tuple[Guarded, ...] = ()
        self.admitted: tuple[Guarded, ...] = ()


WATCH = _Watch()
_makers: list[Any] = []


def set_hooks(hooks: Iterable[Hook]) -> None:
    """Set the hooks that are told of events, in place of all earlier ones; `[]` removes them.

        def show(event):
            print(event.kind, event.limiter, event.seconds)

        set_hooks([show])

    A hook is called in the thread or task of the caller. For a `waiting` event it may return a
    context manager, which is held while the caller waits, in a task around what is awaited; for
    other events it is left at once. A hook that raises is logged once, and changes nothing. What a
    hook does with limiters itself is told to nobody.

    Calls that are admitted are told only to hooks with an attribute `admitted` that is true, as in
    `show.admitted = True`. While there is one, every call takes the slower path that tells it.

    Args:
        hooks: Functions, or other callables, that get an `Event`.

    Raises:
        TypeError: `hooks` is not an iterable of callables, or one is a coroutine function.
    """
    if callable(hooks) or isinstance(hooks, str) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks must be a list of callables, as in [hook], got {shown(hooks)}")
    guarded = [(Guarded(_checked(hook)), bool(getattr(hook, "admitted", False))) for hook in hooks]
    WATCH.hooks = tuple(hook for hook, _ in guarded)
    WATCH.admitted = tuple(hook for hook, admitted in guarded if admitted)
    keep_to_steps(bool(WATCH.admitted))


def makes_hooks(function: F) -> F:
    """Note that a function is no hook itself, but returns one."""
    _makers.append(function)
    return function


def _checked(hook: Any) -> Any:
    if not callable(hook):
        raise TypeError(f"a hook must be callable, got {shown(hook)} ({type(hook).__name__})")
    if any(hook is maker for maker in _makers):
        raise TypeError(f"{hook.__name__} makes a hook: write set_hooks([{hook.__name__}()])")
    if is_async(hook):
        raise TypeError(f"a hook must be a plain function, got the async one {name_of(hook)}")
    return hook


def tell(
    kind: Kind,
    limiter: str | None,
    tokens: Tokens | None = None,
    seconds: float | None = None,
    refused_by: Label = None,
) -> None:
    """Tell the hooks of something that takes no time; see `Event`."""
    if WATCH.admitted if kind == "admitted" else WATCH.hooks:
        with Holding(kind, limiter, tokens, seconds, refused_by):
            pass


def _copy_of(tokens: Tokens | None) -> Tokens | None:
    """Return a cost of its own for an event, as a hook may change what it is given."""
    try:
        return None if tokens is None else copied(tokens)
    except Exception:  # noqa: BLE001 - a mapping of the user's, which had been read before
        return None


class Holding:
    """Tell the hooks of an event, and hold what they return for the length of a with-block."""

    __slots__ = ("_event", "_held")

    def __init__(
        self,
        kind: Kind,
        limiter: str | None,
        tokens: Tokens | None,
        seconds: float | None,
        refused_by: Label,
    ) -> None:
        self._event = Event(kind, limiter, _copy_of(tokens), seconds, refused_by)
        self._held: list[tuple[Guarded, Any]] = []

    def __enter__(self) -> None:
        if telling():
            return
        hooks = WATCH.admitted if self._event.kind == "admitted" else WATCH.hooks
        try:
            for hook in hooks:
                manager = apart(hook.enter, self._event)
                if manager is not None:
                    self._held.append((hook, manager))
        except BaseException as error:  # an interrupt: what is held already is left again
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *exc_info: object) -> None:
        if not self._held:
            return
        hook, manager = self._held.pop()
        try:
            apart(hook.leave, manager, *exc_info)
        finally:
            self.__exit__(*exc_info)  # the others are left whatever interrupts this one
