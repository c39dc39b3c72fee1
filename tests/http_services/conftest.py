"""Services to limit, on a clock that stands still."""

import pytest
from service_worlds import WORLDS

from rate_limiter import KeyedRateLimiter
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=WORLDS)
def world(request):
    """Each kind of service."""
    return WORLDS[request.param]()


@pytest.fixture(params=["asgi", "wsgi"])
def middleware(request):
    """Each kind of service that sees its answers' status."""
    return WORLDS[request.param]()


@pytest.fixture
def limiters(clock):
    """Three a minute for each client."""
    return KeyedRateLimiter.from_rate("3/minute", block=False, clock=clock)
