"""Token buckets, context managers and decorators that limit rates."""

from .admission import Tokens
from .bucket import AsyncBucket, AsyncReservation, Bucket, Reservation
from .bucket_group import BucketGroup
from .clock import Clock
from .core import compiled
from .decorators import rate_limited
from .exceptions import BackendError, CostExceedsCapacity, RateLimitExceeded
from .instances import per_instance
from .keyed import KeyedRateLimiter
from .level import Level
from .limiter import RateLimiter
from .permit import AsyncPermit, Permit
from .token_bucket import TokenBucket

__version__ = "0.2.0"
__all__ = [
    "AsyncBucket",
    "AsyncPermit",
    "AsyncReservation",
    "BackendError",
    "Bucket",
    "BucketGroup",
    "Clock",
    "CostExceedsCapacity",
    "KeyedRateLimiter",
    "Level",
    "Permit",
    "RateLimitExceeded",
    "RateLimiter",
    "Reservation",
    "TokenBucket",
    "Tokens",
    "__version__",
    "compiled",
    "per_instance",
    "rate_limited",
]
