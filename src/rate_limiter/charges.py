"""What a call of a limited callable pays, and to which limiter."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from decimal import Decimal
from functools import partial
from numbers import Real
from sys import modules as _modules
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from .admission import Tokens
from .base_bucket import BaseBucket
from .callables import is_async, is_iterated, name_of
from .calls import Arguments, ByKey, Keywords, Wait, never
from .sleeping import in_trio_task, running_loop
from .source import Source

__all__ = ["CallCharge", "Cost", "FixedCharge", "charging"]

F = TypeVar("F")
_AT_HAND = {str, int, float, tuple, bytes}  # types that need no look at their attributes
_GENERATORS = (GeneratorType, AsyncGeneratorType)  # each is a new one, so no key either
Cost: TypeAlias = Tokens | Callable[..., Tokens]
"""Tokens, or a callable that gets a call's arguments and returns them."""


class Limiter(Protocol):
    """What a charge asks of a limiter."""

    @property
    def bucket(self) -> BaseBucket: ...
    @property
    def block(self) -> bool: ...
    @property
    def _fast(self) -> Any: ...
    def _check_payable(self, tokens: Tokens) -> None: ...
    def _taker(self, tokens: Tokens) -> Callable[[], bool]: ...
    @property
    def name(self) -> str | None: ...
    def _admit(self, tokens: Tokens, source: Source | None) -> object: ...
    async def _admit_async(self, tokens: Tokens, source: Source | None) -> object: ...
    def _admit_at_once(self, tokens: Tokens, source: Source | None) -> bool: ...


class FixedCharge:
    """Every call pays the same number of tokens to the same limiter.

    Raises:
        CostExceedsCapacity: No call could ever pay that much, and the limiter does not wait.
        TypeError: `tokens` is not a real number.
        ValueError: `tokens` is not positive and finite.
    """

    by_key = None

    def __init__(self, limiter: Limiter, tokens: Tokens, source: Source | None = None) -> None:
        limiter._check_payable(tokens)
        self.limiter: Any = limiter
        self.quick = limiter._taker(tokens)
        self._tokens = tokens
        self._source = source

    def of(self, func: Any) -> FixedCharge:
        """Return what calls of `func` pay; its name is in their events if the limiter has none."""
        return FixedCharge(self.limiter, self._tokens, _source_of(func, self.limiter))

    def run(self, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens, or wait for them, or raise."""
        self.limiter._admit(self._tokens, self._source)

    async def run_async(self, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens as `run` does, from within a task."""
        await self.limiter._admit_async(self._tokens, self._source)

    def run_or_wait(self, args: Arguments, kwargs: Keywords) -> Wait | None:
        """Take the tokens as `run` does, or return a function that waits for them when awaited."""
        return _take_or_wait(self.limiter, self._tokens, self._source)


class CallCharge:
    """Every call pays what its arguments say, to the limiter that they say.

    Args:
        limiter: The limiter to pay; with a key, a mapping to look it up in.
        cost: Tokens, or a callable that gets the call's arguments, `self` included.
        key: A callable that gets the same arguments and returns what to look `limiter` up by.
        source: Whose events calls cause; the limiter's own if None.
    """

    def __init__(
        self,
        limiter: Any,
        cost: Cost,
        key: Callable[..., Hashable] | None,
        source: Source | None = None,
    ) -> None:
        for name, function in (("cost", cost), ("key", key)):
            if callable(function) and is_async(function):
                raise TypeError(f"{name} must be a plain function; a coroutine is no {name}")
            if callable(function) and is_iterated(function):
                raise TypeError(f"{name} must be a plain function; a generator is no {name}")
        self.limiter = limiter
        self.quick = never
        self._cost: Any = cost
        self._key: Any = key
        self._source = source
        self.by_key: ByKey | None = None
        if key is not None and not callable(cost):
            self.run = self._run_at_fixed_cost  # type: ignore[method-assign]
            self.by_key = key, limiter, cost, self._run_for_key

    def of(self, func: Any) -> CallCharge:
        """Return what calls of `func` pay; see `FixedCharge.of`."""
        return CallCharge(self.limiter, self._cost, self._key, _source_of(func, self.limiter))

    def _run_at_fixed_cost(self, args: Arguments, kwargs: Keywords) -> None:
        """Do as `run`, in less time."""
        key, tokens = self._key(*args, **kwargs), self._cost
        if key.__class__ not in _AT_HAND:
            key = _at_hand("key", key)
        limiters = self.limiter
        if limiters._take_at_rest(key, tokens):
            return
        limiter = limiters[key]
        if limiter._fast._at_once(tokens) is None:
            limiter._admit(tokens, self._source)

    def _run_for_key(self, key: Any, at_rest: bool, asked: bool = False) -> None:
        """Do the rest of `_run_at_fixed_cost` for a key that is known.

        Args:
            key: The key.
            at_rest: Whether to try it at rest, which has not been done yet.
            asked: Whether its bucket has been asked, and has not had the tokens.
        """
        limiters, key, tokens = self.limiter, _at_hand("key", key), self._cost
        if at_rest and limiters._take_at_rest(key, tokens):
            return
        limiter = limiters[key]
        if asked or limiter._fast._at_once(tokens) is None:
            limiter._admit(tokens, self._source)

    def run(self, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens of this call, or wait for them, or raise."""
        limiter, tokens = self._bill(args, kwargs)
        if limiter is not None and limiter._fast._at_once(tokens) is None:
            limiter._admit(tokens, self._source)

    async def run_async(self, args: Arguments, kwargs: Keywords) -> None:
        """Take the tokens of this call as `run` does, from within a task."""
        in_trio = "trio" in _modules and in_trio_task()  # to which every await is a checkpoint
        limiter, tokens = self._bill(args, kwargs, at_rest=not in_trio)
        if limiter is None:
            return
        if in_trio or limiter._fast._at_once(tokens) is None:
            await limiter._admit_async(tokens, self._source)

    def run_or_wait(self, args: Arguments, kwargs: Keywords) -> Wait | None:
        """Take the tokens of this call as `run` does, or return a function that waits for them."""
        limiter, tokens = self._bill(args, kwargs)
        return None if limiter is None else _take_or_wait(limiter, tokens, self._source)

    def _bill(
        self, args: Arguments, kwargs: Keywords, *, at_rest: bool = True
    ) -> tuple[Limiter | None, Tokens]:
        """Return the limiter to pay (None if the call is free, or paid already) and the cost.

        Args:
            args: The call's arguments.
            kwargs: The same, by name.
            at_rest: Whether to pay at once where that takes no limiter.
        """
        cost = self._cost
        if callable(cost):
            cost = _at_hand("cost", cost(*args, **kwargs))
            if _is_zero(cost):
                return None, cost
        if self._key is None:
            return self.limiter, cost
        key = _at_hand("key", self._key(*args, **kwargs))
        if at_rest and self.limiter._take_at_rest(key, cost):
            return None, cost
        return self.limiter[key], cost


def _at_hand(name: str, result: Any) -> Any:
    """Return the result of a cost or key function; refuse what is to be awaited or iterated."""
    kind = result.__class__
    if kind in _AT_HAND:
        return result
    if isinstance(result, _GENERATORS):
        raise TypeError(f"{name} must be a plain function; this one returned a {kind.__name__}")
    if not hasattr(kind, "__await__"):
        return result
    if kind is CoroutineType:
        result.close()  # or Python would warn that it was never awaited
    raise TypeError(
        f"{name} must be a plain function; this one returned a {kind.__name__} to await"
    )


def _is_zero(tokens: Any) -> bool:
    """Tell whether a cost is the number 0, which False is not."""
    if isinstance(tokens, bool) or not isinstance(tokens, Real | Decimal):
        return False
    return not tokens


def _source_of(func: Any, limiter: Any) -> Source | None:
    """Return whose events calls of a function cause; None for those of a limiter with a name."""
    return Source(name_of(func)) if limiter.name is None else None


def _take_or_wait(limiter: Limiter, tokens: Tokens, source: Source | None) -> Wait | None:
    """Take tokens as the limiter says, or return a function that waits, for use in a loop."""
    if not limiter.bucket._core._awaited:
        if not limiter.block or not running_loop():
            limiter._admit(tokens, source)
            return None
        if limiter._admit_at_once(tokens, source):
            return None
    return partial(limiter._admit_async, tokens, source)


Charge: TypeAlias = FixedCharge | CallCharge


def _is_argument(charge: Charge, given: Any) -> bool:
    """Tell whether `given` is a call's argument, for a decorator that was called like a function.

    `limiter.cost(function)` takes the function for one that computes the cost, so what is called
    next is a decorator.
    """
    decorated = callable(given) or hasattr(given, "__get__")
    return isinstance(charge, CallCharge) and not decorated


def charging(
    limiter: Any,
    cost: Cost = 1,
    key: Callable[..., Hashable] | None = None,
    check: Callable[[Any], None] | None = None,
) -> Callable[[F], F]:
    """Make a decorator that charges each call.

    Args:
        limiter: The limiter to pay; with a key, a mapping to look it up in.
        cost: A number of tokens, or a callable that gets the call's arguments and returns one.
        key: A callable that gets the call's arguments and returns what to look `limiter` up by.
        check: Gets the callable to decorate, and raises if the key does not suit it.

    Raises:
        CostExceedsCapacity: No call could ever pay this number, and the limiter does not wait.
        TypeError: `cost` is neither a real number nor a callable, or it or `key` is asynchronous.
        ValueError: `cost` is a number that is not positive and finite.
    """
    charge: Charge
    if key is None and not callable(cost):
        charge = FixedCharge(limiter, cost)
    else:
        charge = CallCharge(limiter, cost, key)
    return cast(Callable[[F], F], partial(_decorate, charge, check))


def _decorate(
    charge: Charge, check: Callable[[Any], None] | None, *given: Any, **named: Any
) -> Any:
    from .wrapping import wrap  # wrapt imports asyncio, which takes time

    if len(given) != 1 or named or _is_argument(charge, given[0]):
        raise TypeError(
            "a decorator is given one callable: write @limiter, @limiter.cost(2) or "
            "@limiter.cost(lambda ids: len(ids)) above a function, or limiter.cost(2)(function); "
            "limiter.cost(function) takes the function for what computes the cost"
        )
    if check is not None:
        check(given[0])
    return wrap(given[0], charge.of(given[0]))
