"""What decides while the server is away."""

from __future__ import annotations

import math
from typing import Protocol, TypeAlias

from ..admission import Admission, Payer, Tokens, copied
from ..base_bucket import BaseBucket
from ..bucket import Reservation
from ..exceptions import RateLimitExceeded
from ..rates import Number, shown
from ..source import Source
from ..uncounted import ReadUse, Uncounted
from .outage import PAUSE

__all__ = ["Closed", "Fallback", "Open", "Understudy", "read_fallback"]

Fallback: TypeAlias = str | BaseBucket | None
"""None, "allow", "deny", or a bucket in this process."""


class Understudy(Payer, Protocol):
    """What can stand in for a bucket: every local bucket can."""

    @property
    def available_tokens(self) -> float: ...
    def allow(self, tokens: Tokens = 1) -> bool: ...
    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation: ...
    def refund(self, tokens: Tokens) -> None: ...
    def pause(self, seconds: Number) -> None: ...
    def resume(self) -> None: ...
    def retry_after(self, tokens: Tokens = 1) -> float: ...
    def _full_in(self) -> int: ...
    def _reset(self) -> None: ...
    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission: ...
    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission: ...


def read_fallback(fallback: Fallback, read_use: ReadUse) -> Understudy | None:
    """Return what decides while the server is away, if anything does.

    Args:
        fallback: What was asked for.
        read_use: Reads what was used of what was taken; refuses what is no number of tokens.

    Raises:
        TypeError: It is neither None nor a string nor a local bucket.
        ValueError: It is another string.
    """
    if fallback is None:
        return None
    if isinstance(fallback, BaseBucket) and not fallback._core._stored:
        local: Understudy = fallback._core
        return local
    accepted = "fallback must be None, 'allow', 'deny' or a TokenBucket"
    if not isinstance(fallback, str):
        raise TypeError(f"{accepted}, got {shown(fallback)} ({type(fallback).__name__})")
    if fallback not in ("allow", "deny"):
        raise ValueError(f"{accepted}, got {shown(fallback)}")
    return (Open if fallback == "allow" else Closed)(read_use)


class Open(Uncounted):
    """Admits everything, and counts nothing."""

    available_tokens = math.inf

    def allow(self, tokens: Tokens = 1) -> bool:
        """Admit."""
        return True

    def reserve(self, tokens: Tokens = 1, timeout: Number | None = None) -> Reservation:
        """Admit."""
        return _Free(self._read_use, copied(tokens))

    def refund(self, tokens: Tokens) -> None:
        """Do nothing."""

    def pause(self, seconds: Number) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""

    def retry_after(self, tokens: Tokens = 1) -> float:
        """Return no time at all."""
        return 0.0

    def _full_in(self) -> int:
        return 0

    def _reset(self) -> None:
        """Do nothing."""

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        return 0.0, self, None

    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        return self._admit(tokens, block, timeout)


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

    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        raise self._refusal(tokens)

    def _refusal(self, tokens: Tokens) -> RateLimitExceeded:
        return RateLimitExceeded(
            "rate limit exceeded: the store of the bucket is away, and its fallback is 'deny'",
            retry_after=PAUSE,
            tokens=tokens,
        )


class _Free(Reservation):
    """A reservation of what is not counted."""

    __slots__ = ("_cancelled", "_read_use", "_tokens")

    def __init__(self, read_use: ReadUse, tokens: Tokens) -> None:
        self._read_use = read_use
        self._tokens = tokens
        self._cancelled = False

    @property
    def delay(self) -> float:
        return 0.0

    def cancel(self) -> None:
        self._cancelled = True

    def settle(self, actual: Tokens) -> None:
        if self._cancelled:
            raise RuntimeError("this reservation has been cancelled; there is nothing to settle")
        self._read_use(actual, self._tokens)
