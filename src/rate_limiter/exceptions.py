"""What can be raised."""

from __future__ import annotations

from typing import Any

__all__ = ["BackendError", "CostExceedsCapacity", "RateLimitExceeded"]


class RateLimitExceeded(Exception):
    """A call was refused because the tokens are not there in time.

    Args:
        message: What happened.
        retry_after: Seconds until the tokens would be there, or None if unknown.
        tokens: The cost that was refused, in tokens, or None if unknown.

    Attributes:
        retry_after: As given.
        tokens: As given.
    """

    def __init__(
        self,
        message: str = "rate limit exceeded",
        *,
        retry_after: float | None = None,
        tokens: Any = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.tokens = tokens


class CostExceedsCapacity(ValueError):
    """A non-blocking call asked for more tokens than the bucket can ever hold at once."""


class BackendError(Exception):
    """The store that holds the tokens failed; the client's own error is the cause."""
