"""Tokens that come in while a caller is about to stand in line."""

import asyncio

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock


def test_wait_async_for_tokens_that_come_in_meanwhile_does_not_sleep(monkeypatch):
    """P12: What has come in since the first look is taken without standing in line."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock)
    assert bucket.allow()
    stand = type(bucket)._stand_in_line

    def stand_later(*args):
        clock.advance(1)
        return stand(*args)

    monkeypatch.setattr(TokenBucket, "_stand_in_line", stand_later)
    asyncio.run(bucket.wait_async())
    assert bucket.available_tokens == 0
