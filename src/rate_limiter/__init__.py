"""Token buckets, context managers and decorators that limit rates."""

from .bucket import Reservation
from .bucket_group import BucketGroup
from .exceptions import BackendError, CostExceedsCapacity, RateLimitExceeded
from .limiter import Permit, RateLimiter
from .token_bucket import TokenBucket

__all__ = [
    "BackendError",
    "BucketGroup",
    "CostExceedsCapacity",
    "Permit",
    "RateLimitExceeded",
    "RateLimiter",
    "Reservation",
    "TokenBucket",
]
