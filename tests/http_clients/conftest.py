"""A server for the tests of clients, and every library to call it with."""

from __future__ import annotations

from collections import deque

import pytest
from http_callers import CALLERS
from stub_api import Api, serving


@pytest.fixture(scope="session")
def served():
    """Yield an API and its address."""
    api = Api()
    with serving(api) as url:
        yield api, url


@pytest.fixture
def api(served):
    """Return the API, which has heard of nothing yet."""
    api = served[0]
    api.limit, api.replies, api.requests, api.statuses = None, deque(), [], []
    api.arrived.clear()
    api.on_request = lambda: None
    return api


@pytest.fixture
def url(served):
    return served[1]


@pytest.fixture(params=CALLERS)
def caller(request):
    """Return each way to call in turn."""
    return CALLERS[request.param]()


@pytest.fixture(params=[name for name in CALLERS if CALLERS[name]().awaits])
def awaiting_caller(request):
    """Return each way to call that awaits."""
    return CALLERS[request.param]()
