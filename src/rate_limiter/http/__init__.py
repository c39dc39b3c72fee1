"""Limits where HTTP calls are made and served; each library has a file of its own.

    from rate_limiter.http import retry_after, total_tokens
    from rate_limiter.http.httpx import RateLimitTransport

Importing this loads no HTTP library.
"""

from .headers.reading import retry_after
from .usage import total_tokens

__all__ = ["retry_after", "total_tokens"]
