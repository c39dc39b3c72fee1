"""What decides while the server is away."""

from __future__ import annotations

import math
from typing import Protocol, TypeAlias

from ..bucket import Acquired, Paid, Payer, Reservation, Tokens
from ..exceptions import RateLimitExceeded
from ..local_bucket import LocalBucket
from ..rates import Number, shown
from .outage import PAUSE

__all__ = ["Closed", "Fallback", "Open", "Understudy", "read_fallback"]

Fallback: TypeAlias = str | LocalBucket | None
"""None, "allow", "deny", or a bucket in this process."""


class Understudy(Payer, Protocol):
    """What can stand in for a bucket: every local bucket can."""

    @property
    def available_tokens(self) -> float: ...
    def allow(self, tokens: Tokens = 1) -> bool: ...
    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation: ...
    def refund(self, tokens: Tokens) -> None: ...
    def pause(self, seconds: Number) -> None: ...
    def retry_after(self, tokens: Tokens = 1) -> float: ...
    def _full_in(self) -> int: ...
    def _acquire(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired: ...
    async def _acquire_async(
        self, tokens: Tokens, block: bool, timeout: Number | None
    ) -> Acquired: ...


def read_fallback(fallback: Fallback) -> Understudy | None:
    """Return what decides while the server is away, if anything does.

    Raises:
        TypeError: It is neither None nor a string nor a local bucket.
        ValueError: It is another string.
    """
    if fallback is None or isinstance(fallback, LocalBucket):
        return fallback
    accepted = "fallback must be None, 'allow', 'deny' or a TokenBucket"
    if not isinstance(fallback, str):
        raise TypeError(f"{accepted}, got {shown(fallback)} ({type(fallback).__name__})")
    if fallback not in ("allow", "deny"):
        raise ValueError(f"{accepted}, got {shown(fallback)}")
    return Open() if fallback == "allow" else Closed()


class Open:
    """Admits everything, and counts nothing."""

    available_tokens = math.inf

    def allow(self, tokens: Tokens = 1) -> bool:
        """Admit."""
        return True

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        """Admit."""
        return _Free()

    def refund(self, tokens: Tokens) -> None:
        """Do nothing."""

    def pause(self, seconds: Number) -> None:
        """Do nothing."""

    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return no time at all."""
        return 0.0

    def _full_in(self) -> int:
        return 0

    def _acquire(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        return 0.0, self

    async def _acquire_async(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        return self._acquire(tokens, block, timeout)

    def _paid(self, tokens: Tokens) -> Paid:
        return {}

    def _correct(self, paid: Paid, used: Paid) -> None:
        pass

    async def _correct_async(self, paid: Paid, used: Paid) -> None:
        pass


class Closed(Open):
    """Admits nothing."""

    available_tokens = 0.0

    def allow(self, tokens: Tokens = 1) -> bool:
        """Refuse."""
        return False

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        """Refuse."""
        raise self._refusal(tokens)

    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return when the server will be tried again, in seconds."""
        return PAUSE

    def _acquire(self, tokens: Tokens, block: bool, timeout: Number | None) -> Acquired:
        raise self._refusal(tokens)

    def _refusal(self, tokens: Tokens) -> RateLimitExceeded:
        return RateLimitExceeded(
            "rate limit exceeded: the store of the bucket is away, and its fallback is 'deny'",
            retry_after=PAUSE,
            tokens=tokens,
        )


class _Free(Reservation):
    """A reservation of what is not counted."""

    __slots__ = ()

    @property
    def delay(self) -> float:
        return 0.0

    def cancel(self) -> None:
        """Do nothing."""

    def settle(self, actual: Tokens) -> None:
        """Do nothing."""
