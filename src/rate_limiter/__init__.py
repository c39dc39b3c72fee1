"""Token buckets, context managers and decorators that limit rates."""

from .exceptions import BackendError, CostExceedsCapacity, RateLimitExceeded

__all__ = [
    "BackendError",
    "CostExceedsCapacity",
    "RateLimitExceeded",
]
