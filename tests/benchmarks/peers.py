"""Measure other rate limiters for Python against the same reference, one admitted check each.

    pip install limits aiolimiter pyrate-limiter throttled-py ratelimit
    python tests/benchmarks/peers.py

They promise different things; the times only say what a check costs.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version

import limits
import ratelimit
from aiolimiter import AsyncLimiter
from calls import PLENTY, allowed
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from measuring import Measure, Pair, awaiting, compare, statement
from pyrate_limiter import Limiter, Rate
from table import heading
from throttled import Throttled, per_sec

from rate_limiter import TokenBucket

MANY = 10**7  # calls a second that none of them gets to make, so that all are admitted
KEPT = 10_000  # calls in 10 ms, for one that remembers each: as few as are enough


def peers(loop: asyncio.AbstractEventLoop) -> dict[str, Measure]:
    fixed = FixedWindowRateLimiter(MemoryStorage())
    item = limits.RateLimitItemPerSecond(MANY)
    log = Limiter(Rate(KEPT, 10))
    throttled = Throttled(key="key", using="token_bucket", quota=per_sec(MANY, burst=MANY))
    return {
        "rate_limiter allow()": statement("f()", f=TokenBucket(PLENTY, 1).allow),
        f"limits {version('limits')} fixed window": statement(
            "f(item, 'key')", f=fixed.hit, item=item
        ),
        f"throttled-py {version('throttled-py')} token bucket": statement("f()", f=throttled.limit),
        f"pyrate-limiter {version('pyrate-limiter')}": statement(
            "f('key', blocking=False)", f=log.try_acquire
        ),
        f"ratelimit {version('ratelimit')} decorator": statement(
            "f()", f=ratelimit.limits(calls=PLENTY, period=60)(int)
        ),
        f"aiolimiter {version('aiolimiter')} await": awaiting(
            AsyncLimiter(PLENTY, 60).acquire, loop
        ),
        "rate_limiter await": awaiting(TokenBucket(PLENTY, 1).wait_async, loop),
    }


def main() -> None:
    logging.disable()
    loop = asyncio.new_event_loop()
    pairs = [Pair(name, measure, allowed()) for name, measure in peers(loop).items()]
    heading("one check / one reference allow()")
    for figure in compare(pairs, rounds=50):
        figure.print()
    loop.close()


if __name__ == "__main__":
    main()
