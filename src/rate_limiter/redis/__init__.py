"""One limit for many machines: buckets whose tokens are kept by a Redis or Valkey server."""

from ..shared.lease import Lease
from .async_token_bucket import AsyncRedisTokenBucket
from .token_bucket import RedisTokenBucket

__all__ = ["AsyncRedisTokenBucket", "Lease", "RedisTokenBucket"]
