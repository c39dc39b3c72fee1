"""One admission: entered once, then settled or refunded."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from .admission import REFUNDED, Admission, Paid, Payer, Tokens, copied
from .core import PermitFields, compiled, layout, twin
from .level import Levels

__all__ = ["NEW", "AsyncPermit", "BasePermit", "Door", "Permit"]

NEW = "not entered"
_ENTERED = "entered"
_AT_ONCE = "entered at once"
_REFUSED = "refused"
_GONE = "cannot settle a permit that is refunded"


class Door(Protocol):
    """The limiter that a permit asks."""

    @property
    def _bucket(self) -> Any:
        """What holds the tokens."""
        ...

    @property
    def _fast(self) -> Any:
        """The bucket whose fast path to try, or a stand-in; see `BaseBucket._at_once`."""
        ...

    def _admit(self, tokens: Tokens) -> Admission:
        """Take tokens as the policy says."""
        ...

    async def _admit_async(self, tokens: Tokens) -> Admission:
        """Take tokens as the policy says, from within a task."""
        ...


@layout("permit", NEW, _AT_ONCE)
class BasePermit(PermitFields):
    """Tokens for one piece of work, taken on entering `with`, `async with` or `await`.

    Made by `RateLimiter.acquire`. Leaving the block, even by an exception, changes nothing.
    A permit that is dropped without having been entered emits a RuntimeWarning, because the code
    it was meant for has not been limited.
    """

    __slots__ = ()  # the attributes are of the base

    _after: Any  # what the buckets were like when it was admitted
    _paid: Paid | str | None  # what it has paid, once that was corrected
    _payer: Payer
    _waited: float

    def __init__(self, door: Door, tokens: Tokens) -> None:
        self._door = door
        self._tokens = tokens
        self._state = NEW

    @property
    def tokens(self) -> Tokens:
        """How many tokens the permit is for."""
        return copied(self._tokens)

    @property
    def waited(self) -> float:
        """How long it waited for its tokens, in seconds."""
        return self._waited if self._state is _ENTERED else 0.0

    @property
    def levels(self) -> Levels:
        """What each bucket was like just after the tokens were taken, by its label.

        The label is the bucket's name in its group, its position if it has no name, and None for a
        bucket that is alone. Empty before the permit was entered.
        """
        if self._state in (NEW, _REFUSED):
            return {}
        return self._payer_for("read")._levels(self._after)

    @twin("enter_permit")
    def __enter__(self) -> Self:
        if self._state is not NEW:
            self._refuse_again()
        after = self._door._fast._at_once(self._tokens)
        if after is None:
            return self._enter_slowly()
        self._after = after
        self._state = _AT_ONCE
        self._paid = None
        return self

    def _enter_slowly(self) -> Self:
        """Enter where the tokens could not be taken at once."""
        self._state = _REFUSED  # until it is admitted, whatever interrupts that
        self._waited, self._payer, self._after = self._door._admit(self._tokens)
        self._state = _ENTERED
        self._paid = None
        return self

    @staticmethod  # for then a `with` statement has no method to bind; ExitStack gives the permit
    @twin("leave")
    def __exit__(*_: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        if self._state is not NEW:
            self._refuse_again()
        self._state = _REFUSED
        self._waited, self._payer, self._after = await self._door._admit_async(self._tokens)
        self._paid = None
        self._state = _ENTERED
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def settle_async(self, actual: Tokens) -> None:
        """Say what the work really cost, from within a task; see `Permit.settle`."""
        if not await self._payer_for("settle")._settle_async(self, actual):
            raise RuntimeError(_GONE)

    async def refund_async(self) -> None:
        """Give all tokens back, from within a task; see `Permit.refund`."""
        await self._payer_for("refund")._give_back_async(self)

    def __bool__(self) -> bool:
        if self._state is NEW:
            raise TypeError(
                f"a permit says nothing before it is entered: use "
                f"'with limiter.acquire({self._tokens}):', or ask 'bucket.allow({self._tokens})'"
            )
        return True

    if not TYPE_CHECKING:

        def __call__(self, *_: Any, **__: Any) -> NoReturn:
            """Say how to limit a function."""
            raise TypeError(
                "a permit is for one block; to limit a function, "
                f"use '@limiter.cost({self._tokens})'"
            )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "a permit cannot be pickled or copied: the copy would give the same tokens back again"
        )

    def _refuse_again(self) -> NoReturn:
        raise RuntimeError("a permit is entered once; call acquire() again for more tokens")

    def _payer_for(self, action: str) -> Payer:
        """Return the payer: the bucket itself after the fast path, otherwise the one noted."""
        state = self._state
        if state is _AT_ONCE:
            payer: Payer = self._door._bucket
            return payer
        if state is not _ENTERED:
            raise RuntimeError(f"cannot {action} a permit that is {state}")
        return self._payer

    if not compiled:  # then the base has the same in C

        def __del__(self) -> None:
            try:
                unused = self._state is NEW
            except AttributeError:  # an interrupt has left it half made
                return
            if unused:
                self._warn_of_disuse(3)

    def _warn_of_disuse(self, stacklevel: int = 2) -> None:
        """Say that it was dropped without having been entered."""
        warnings.warn(
            f"acquire({self._tokens}) was never entered and limited nothing; use "
            f"'with limiter.acquire({self._tokens}):', or 'async with', or 'await'",
            RuntimeWarning,
            stacklevel=stacklevel,
            source=self,
        )

    def __repr__(self) -> str:
        state = self._state
        if state in (_ENTERED, _AT_ONCE):
            state = "refunded" if self._paid is REFUNDED else f"waited={self.waited:g}"
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

        Charging may leave the bucket in debt, which later callers wait out. It may be
        called again when more is known.

        Args:
            actual: How many tokens were used; 0 or more. For a group, a mapping may name some of
                its buckets; the others stay as they are.

        Raises:
            RuntimeError: The permit has not been entered, was refused, or has been refunded.
            TypeError: `actual` is not a real number, a mapping for a single bucket, or a number
                for tokens that were taken with a mapping.
            ValueError: `actual` is negative, NaN, infinite or more than comes back in 100 years,
                or names an unknown bucket.
        """
        at_once = self._state is _AT_ONCE  # nearly always, and sooner known so
        payer: Payer = self._door._bucket if at_once else self._payer_for("settle")
        if not payer._settle(self, actual):
            raise RuntimeError(_GONE)

    def refund(self) -> None:
        """Give all tokens back, because the work never happened. A second call does nothing.

        Raises:
            RuntimeError: The permit has not been entered, or was refused.
        """
        self._payer_for("refund")._give_back(self)


class AsyncPermit(BasePermit):
    """A permit of a bucket that is asked over an event loop: as `Permit`, with calls to await.

    async with limiter.acquire(estimate) as permit:
        reply = await call()
        await permit.settle(reply.used)
    """

    __slots__ = ()

    async def settle(self, actual: Tokens) -> None:
        """Say what the work really cost; see `Permit.settle`."""
        await self.settle_async(actual)

    async def refund(self) -> None:
        """Give all tokens back, because the work never happened; see `Permit.refund`."""
        await self.refund_async()
