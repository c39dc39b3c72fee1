"""Do some work before each call of a function of any kind, when the function begins to run."""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from sys import modules as _modules
from typing import Any, Protocol, TypeAlias

from .callables import function_of, innermost, is_async, returns_awaitable
from .sleeping import in_trio_task

__all__ = [
    "Arguments",
    "Before",
    "ByKey",
    "Call",
    "Keywords",
    "MakeCall",
    "OtherArguments",
    "Wait",
    "call_maker",
    "in_parts",
    "named_as",
    "never",
]

Arguments: TypeAlias = tuple[Any, ...]
Keywords: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[..., Any]
Wait: TypeAlias = Callable[[], Awaitable[object]]
"""A function that returns something to await."""
ByKey: TypeAlias = tuple[Callable[..., Any], Any, Any, Callable[[Any, bool, bool], None]]
"""How a call pays for its key: what gets the call's arguments and returns the key, the limiters of
all keys, the tokens, and the slow path, `pay(key, at_rest, asked)`. It is told whether to try the
key at rest, and whether its bucket has been asked already and did not have the tokens."""


class Before(Protocol):
    """Work that is done before each call; the call goes on once it is done."""

    @property
    def limiter(self) -> Any:
        """What the wrapped callable shows as its `.limiter`."""
        ...

    @property
    def quick(self) -> Callable[[], bool]:
        """Return a function that does the work if it can at once, and tells whether it did."""
        ...

    @property
    def by_key(self) -> ByKey | None:
        """How `run` does the work, if it is a matter of a key; for the compiled core."""
        ...

    def run(self, args: Arguments, kwargs: Keywords) -> None:
        """Do the work, or raise."""
        ...

    async def run_async(self, args: Arguments, kwargs: Keywords) -> None:
        """Do as `run`, from within a task."""
        ...

    def run_or_wait(self, args: Arguments, kwargs: Keywords) -> Wait | None:
        """Do as `run`, unless that would block a running event loop.

        Returns:
            A function to call and await instead; None if the work is done.
        """
        ...


def never() -> bool:
    """Stand in as the `quick` of work that needs the call's arguments, or a server."""
    return False


class OtherArguments:
    """Do the same work with other arguments than those of the call."""

    def __init__(self, before: Before, change: Callable[[Arguments], Arguments]) -> None:
        self.limiter = before.limiter
        self.quick = before.quick
        self.by_key = None  # it would be told by other arguments
        self._before = before
        self._change = change

    def run(self, args: Arguments, kwargs: Keywords) -> None:
        """Do the work, or raise."""
        self._before.run(self._change(args), kwargs)

    async def run_async(self, args: Arguments, kwargs: Keywords) -> None:
        """Do as `run`, from within a task."""
        await self._before.run_async(self._change(args), kwargs)

    def run_or_wait(self, args: Arguments, kwargs: Keywords) -> Wait | None:
        """Do as `run`, unless that would block a running event loop."""
        return self._before.run_or_wait(self._change(args), kwargs)


MakeCall: TypeAlias = Callable[[Any, Before], Call]
"""Gets a callable and the work before it, and returns a function that does both."""


def call_maker(func: Any) -> MakeCall:
    """Return what makes the limited call of `func`, and of what binding `func` gives."""
    import inspect

    function = function_of(func)
    if is_async(func):
        return _awaiting
    if inspect.isgeneratorfunction(function):
        flags = function.__code__.co_flags  # with which @types.coroutine marks generators
        return _awaiting_generator if flags & inspect.CO_ITERABLE_COROUTINE else _iterating
    if inspect.isasyncgenfunction(function):
        return _iterating_async
    hands_on = is_async(innermost(func)) or returns_awaitable(func)
    return _calling_or_waiting if hands_on and not isinstance(function, type) else _calling


def named_as(func: Any, call: Call) -> Call:
    """Give a call the names of `func`, which tasks and generators show in their repr."""
    for name in ("__name__", "__qualname__"):
        shown = getattr(func, name, None)
        if isinstance(shown, str):
            setattr(call, name, shown)
    return call


def in_parts(
    func: Any, before: Before, make_call: MakeCall
) -> tuple[Call, Callable[[], bool] | None, *tuple[ByKey, ...]]:
    """Return the call of a wrapped function as the compiled core takes it.

    Returns:
        What to call where nothing else pays; what pays at once, and then the function itself is
        called; and how a key pays, if one does.
    """
    if make_call is not _calling:
        return named_as(func, make_call(func, before)), None
    slow = named_as(func, _calling_slowly(func, before.run))
    if before.quick is not never:
        return slow, before.quick
    return (slow, None) if before.by_key is None else (slow, None, before.by_key)


# Each calls `quick` itself: a helper would take as long as all the rest. A task of trio does not
# ask, for to it every await is a checkpoint, which `run_async` is.


def _calling(func: Any, before: Before) -> Call:
    quick, run = before.quick, before.run
    if quick is never:
        return _calling_slowly(func, run)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not quick():
            run(args, kwargs)
        return func(*args, **kwargs)

    return call


def _calling_slowly(func: Any, run: Callable[[Arguments, Keywords], None]) -> Call:
    def call(*args: Any, **kwargs: Any) -> Any:
        run(args, kwargs)
        return func(*args, **kwargs)

    return call


def _awaiting(func: Any, before: Before) -> Call:
    quick, run_async = before.quick, before.run_async

    async def call(*args: Any, **kwargs: Any) -> Any:
        if ("trio" in _modules and in_trio_task()) or not quick():
            await run_async(args, kwargs)
        return await func(*args, **kwargs)

    return call


def _awaiting_generator(func: Any, before: Before) -> Call:
    @types.coroutine
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        yield from before.run_async(args, kwargs).__await__()
        inner: Generator[Any, Any, Any] = func(*args, **kwargs)
        return (yield from inner)

    return call


def _calling_or_waiting(func: Any, before: Before) -> Call:
    """Return the call of a plain function that returns what a coroutine function returns.

    The function may do more than that, so it is called at once wherever the tokens are there.
    """
    quick, run_or_wait = before.quick, before.run_or_wait

    def call(*args: Any, **kwargs: Any) -> Any:
        wait = None if quick() else run_or_wait(args, kwargs)
        return func(*args, **kwargs) if wait is None else call_later(wait, args, kwargs)

    async def call_later(wait: Wait, args: Arguments, kwargs: Keywords) -> Any:
        from inspect import isawaitable

        await wait()
        result = func(*args, **kwargs)
        return await result if isawaitable(result) else result

    call_later = named_as(func, call_later)
    return call


def _iterating(func: Any, before: Before) -> Call:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if not before.quick():
            before.run(args, kwargs)
        inner: Generator[Any, Any, Any] = func(*args, **kwargs)
        return (yield from inner)

    return call


def _iterating_async(func: Any, before: Before) -> Call:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        if ("trio" in _modules and in_trio_task()) or not before.quick():
            await before.run_async(args, kwargs)
        inner: AsyncGenerator[Any, Any] = func(*args, **kwargs)
        step = inner.asend(None)
        # Async generators have no `yield from`; this does the same.
        while True:
            try:
                value = await step
            except StopAsyncIteration:
                return
            try:
                step = inner.asend((yield value))
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the caller, passed on
                step = inner.athrow(error)

    return call
