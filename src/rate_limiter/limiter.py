"""What to do when the tokens run short: wait or refuse, around a block or a call."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, Self, overload

from .bucket import Acquired, AsyncBucket, BaseBucket, Bucket, Paid, Payer, Tokens
from .charges import Cost, charging
from .clock import Clock, timeout_nanoseconds
from .rates import Number, shown

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # whose default type checkers know; 3.13 has it in typing

    B_co = TypeVar("B_co", bound=BaseBucket, default=Bucket, covariant=True)
else:
    from typing import TypeVar

    B_co = TypeVar("B_co", bound=BaseBucket, covariant=True)

__all__ = ["AsyncPermit", "B_co", "BasePermit", "Permit", "RateLimiter", "check_policy"]

F = TypeVar("F")
_ONE = 1
_NEW = "not entered"
_ENTERED = "entered"
_REFUSED = "refused"
_REFUNDED = "refunded"


class RateLimiter(Generic[B_co]):
    """Say what happens when a bucket runs short: wait for the tokens, or refuse.

        limiter = RateLimiter(TokenBucket(capacity=10, tokens_per_second=5))

        with limiter.acquire(3):  # threads
            ...
        async with limiter.acquire(3):  # tasks
            ...
        with limiter:  # one token
            ...
        @limiter  # one token per call
        def fetch(): ...
        @limiter.cost(lambda ids: len(ids))  # from the call's own arguments
        def fetch_all(ids): ...

    Several limiters may share a bucket, for instance one that waits and one that refuses.

    Args:
        bucket: What holds the tokens.
        block: Whether to wait for missing tokens; if not, `RateLimitExceeded` is raised.
        timeout: The most seconds to wait; None waits as long as it takes.

    Raises:
        TypeError: `bucket` is no bucket, `block` no bool, or `timeout` no real number.
        ValueError: `timeout` is negative or NaN, or given together with `block=False`.
    """

    __slots__ = ("__weakref__", "_block", "_bucket", "_timeout")

    def __init__(self, bucket: B_co, *, block: bool = True, timeout: Number | None = None) -> None:
        if not isinstance(bucket, BaseBucket):
            raise TypeError(
                f"bucket must be a TokenBucket or BucketGroup, "
                f"got {shown(bucket)} ({type(bucket).__name__})"
            )
        check_policy(block, timeout)
        self._bucket = bucket
        self._block = block
        self._timeout = timeout

    @property
    def bucket(self) -> B_co:
        """What holds the tokens."""
        return self._bucket

    @property
    def block(self) -> bool:
        """Whether missing tokens are waited for."""
        return self._block

    @property
    def timeout(self) -> Number | None:
        """The most seconds to wait, or None for no limit."""
        return self._timeout

    @overload
    def acquire(
        self: RateLimiter[Bucket],
        tokens: Tokens = 1,
        *,
        block: bool | None = None,
        timeout: Number | None = None,
    ) -> Permit: ...

    @overload
    def acquire(
        self: RateLimiter[AsyncBucket],
        tokens: Tokens = 1,
        *,
        block: bool | None = None,
        timeout: Number | None = None,
    ) -> AsyncPermit: ...

    def acquire(
        self, tokens: Tokens = 1, *, block: bool | None = None, timeout: Number | None = None
    ) -> Permit | AsyncPermit:
        """Prepare to take tokens; they are taken on entering `with`, `async with` or `await`.

        Args:
            tokens: How many to take.
            block: Whether to wait for missing ones; the limiter's own setting if None.
            timeout: The most seconds to wait; the limiter's own setting if None. Infinity waits
                as long as it takes.

        Returns:
            A permit, to be entered once.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: `tokens` is not positive and finite, or `timeout` is negative, NaN, or given
                for a call that does not wait.
        """
        if tokens is not _ONE:
            self._bucket._check(tokens)
        limiter = self if block is None and timeout is None else self._with(block, timeout)
        return (AsyncPermit if self._bucket._awaited else Permit)(limiter, tokens)

    def cost(self, tokens: Cost) -> Callable[[F], F]:
        """Make a decorator that charges each call this many tokens.

        Args:
            tokens: A number, or a callable that gets the call's arguments (`self` included) and
                returns one.

        Raises:
            CostExceedsCapacity: A number above the capacity, on a limiter that does not wait.
            TypeError: Neither a real number nor a callable.
            ValueError: A number that is not positive and finite.
        """
        return charging(self, tokens)

    def __call__(self, func: F) -> F:
        """Decorate `func`: one token per call."""
        return charging(self)(func)

    def __enter__(self: RateLimiter[Bucket]) -> Permit:
        return self.acquire().__enter__()

    def __exit__(self, *exc_info: object) -> None:
        pass

    @overload
    async def __aenter__(self: RateLimiter[Bucket]) -> Permit: ...

    @overload
    async def __aenter__(self: RateLimiter[AsyncBucket]) -> AsyncPermit: ...

    async def __aenter__(self) -> Permit | AsyncPermit:
        return await (AsyncPermit if self._bucket._awaited else Permit)(self, 1)

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    def _move_to(self, clock: Clock) -> Any:
        return self._bucket._move_to(clock)

    def _move_back(self, state: Any) -> None:
        self._bucket._move_back(state)

    def __repr__(self) -> str:
        policy = f"timeout={self._timeout}" if self._block else "block=False"
        return f"{type(self).__name__}({self._bucket!r}, {policy})"

    def _check_payable(self, tokens: Tokens) -> None:
        """Refuse a cost that no call could ever pay."""
        self._bucket._check(tokens)
        if not self._block and not self._bucket._fits(tokens):
            raise self._bucket._refusal(tokens, math.inf)

    def _with(self, block: bool | None, timeout: Number | None) -> RateLimiter[B_co]:
        """Return a limiter over the same bucket with another policy."""
        block = self._block if block is None else block
        if timeout is None and block is True:
            timeout = self._timeout
        return RateLimiter(self._bucket, block=block, timeout=timeout)

    def _take(self, tokens: Tokens) -> Acquired:
        """Take tokens as the policy says."""
        return self._bucket._acquire(tokens, self._block, self._timeout)

    async def _take_async(self, tokens: Tokens) -> Acquired:
        return await self._bucket._acquire_async(tokens, self._block, self._timeout)


def check_policy(block: bool, timeout: Number | None) -> None:
    """Refuse what does not say whether, and how long, to wait; see `RateLimiter`."""
    if not isinstance(block, bool):
        raise TypeError(f"block must be True or False, got {shown(block)}")
    timeout_nanoseconds(timeout)
    if timeout is not None and not block:
        raise ValueError(
            f"timeout={shown(timeout)} needs block=True; a call that refuses does not wait"
        )


class BasePermit:
    """Tokens for one piece of work, taken on entering `with`, `async with` or `await`.

    Made by `RateLimiter.acquire`. Leaving the block, even by an exception, changes nothing.
    A permit that is dropped without having been entered emits a RuntimeWarning, because the code
    it was meant for has not been limited.
    """

    __slots__ = ("_limiter", "_paid", "_payer", "_state", "_tokens", "_waited")

    def __init__(self, limiter: RateLimiter[BaseBucket], tokens: Tokens) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._waited = 0.0
        self._payer: Payer  # known once it has been entered
        self._paid: Paid | None = None  # what it has paid, once that is corrected
        self._state = _NEW

    @property
    def tokens(self) -> Tokens:
        """How many tokens the permit is for."""
        return self._tokens

    @property
    def waited(self) -> float:
        """How long its tokens were waited for, in seconds."""
        return self._waited

    def __enter__(self) -> Self:
        self._enter_once()
        try:
            limiter = self._limiter
            self._waited, self._payer = limiter._bucket._acquire(
                self._tokens, limiter._block, limiter._timeout
            )
        except BaseException:
            self._state = _REFUSED
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        self._enter_once()
        try:
            self._waited, self._payer = await self._limiter._take_async(self._tokens)
        except BaseException:
            self._state = _REFUSED
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    def _enter_once(self) -> None:
        if self._state is not _NEW:
            raise RuntimeError("a permit is entered once; call acquire() again for more tokens")
        self._state = _ENTERED

    def _paid_so_far(self, action: str) -> Paid:
        if self._state is not _ENTERED:
            raise RuntimeError(f"cannot {action} a permit that is {self._state}")
        if self._paid is None:
            self._paid = self._payer._paid(self._tokens)
        return self._paid

    def _all_back(self) -> tuple[Paid, Paid]:
        """Return what it has paid, and nothing, to be paid instead."""
        paid = self._paid_so_far("refund")
        self._state = _REFUNDED
        return paid, dict.fromkeys(paid, Fraction(0))

    def __del__(self) -> None:
        if getattr(self, "_state", None) is _NEW:  # an interrupt may leave a permit half made
            warnings.warn(
                f"acquire({self._tokens}) was never entered and limited nothing; use "
                f"'with limiter.acquire({self._tokens}):', or 'async with', or 'await'",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        state = f"waited={self._waited:g}" if self._state is _ENTERED else self._state
        return f"{type(self).__name__}(tokens={self._tokens}, {state})"


class Permit(BasePermit):
    """Tokens for one piece of work, taken on entering `with`, `async with` or `await`.

        with limiter.acquire(estimate) as permit:
            reply = call()
            permit.settle(reply.used)

    Made by `RateLimiter.acquire`. Leaving the block, even by an exception, changes nothing.
    A permit that is dropped without having been entered emits a RuntimeWarning, because the code
    it was meant for has not been limited.
    """

    __slots__ = ()

    def settle(self, actual: Tokens) -> None:
        """Say what the work really cost: the rest is given back, or the excess charged.

        Charging may leave the bucket in debt, which those who come later wait out. It may be
        called again when more is known.

        Args:
            actual: How many tokens were used; 0 or more. For a group, a mapping may name some of
                its buckets; the others stay as they are.

        Raises:
            RuntimeError: The permit has not been entered, was refused, or has been refunded.
            TypeError: `actual` is not a real number, or a mapping for a single bucket.
            ValueError: `actual` is negative, NaN or infinite, or names an unknown bucket.
        """
        paid = self._paid_so_far("settle")
        self._payer._correct(paid, self._payer._paid(actual))

    def refund(self) -> None:
        """Give all tokens back, because the work never happened. A second call does nothing.

        Raises:
            RuntimeError: The permit has not been entered, or was refused.
        """
        if self._state is not _REFUNDED:
            paid, nothing = self._all_back()
            try:
                self._payer._correct(paid, nothing)
            except BaseException:
                self._state = _ENTERED  # it may be tried again
                raise


class AsyncPermit(BasePermit):
    """A permit of a bucket that is asked over an event loop: as `Permit`, with calls to await.

    async with limiter.acquire(estimate) as permit:
        reply = await call()
        await permit.settle(reply.used)
    """

    __slots__ = ()

    async def settle(self, actual: Tokens) -> None:
        """Say what the work really cost; see `Permit.settle`."""
        paid = self._paid_so_far("settle")
        await self._payer._correct_async(paid, self._payer._paid(actual))

    async def refund(self) -> None:
        """Give all tokens back, because the work never happened; see `Permit.refund`."""
        if self._state is not _REFUNDED:
            paid, nothing = self._all_back()
            try:
                await self._payer._correct_async(paid, nothing)
            except BaseException:
                self._state = _ENTERED  # it may be tried again
                raise
