"""Buckets that the processes of one machine share, in a file and without a server."""

from .token_bucket import SQLiteTokenBucket

__all__ = ["SQLiteTokenBucket"]
