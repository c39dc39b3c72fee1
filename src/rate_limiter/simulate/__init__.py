"""What a limit would have done to a log, and what a limit means; run by `rate-limiter`."""

from .command import main

__all__ = ["main"]
