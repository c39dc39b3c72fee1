"""Token buckets, context managers and decorators that limit rates."""

from .bucket import Reservation
from .bucket_group import BucketGroup
from .decorators import rate_limited
from .exceptions import BackendError, CostExceedsCapacity, RateLimitExceeded
from .keyed import KeyedRateLimiter, per_instance
from .limiter import Permit, RateLimiter
from .token_bucket import TokenBucket

__all__ = [
    "BackendError",
    "BucketGroup",
    "CostExceedsCapacity",
    "KeyedRateLimiter",
    "Permit",
    "RateLimitExceeded",
    "RateLimiter",
    "Reservation",
    "TokenBucket",
    "per_instance",
    "rate_limited",
]
