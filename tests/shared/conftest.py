"""Buckets in a dict, on a clock that runs when somebody sleeps."""

import pytest
from dict_store import AsyncDictTokenBucket, DictStore, DictTokenBucket
from leases import lease_of

from rate_limiter.shared import holding
from rate_limiter.testing import ManualClock


class EventfulClock(ManualClock):
    """A clock that lets something happen whenever somebody is about to sleep.

    Attributes:
        events: What happens, one at each sleep; None lets it be.
    """

    def __init__(self):
        super().__init__(auto_advance=True, start=1_790_000_000)
        self.events = []

    def sleep(self, sleeper, until):
        self._let_happen()
        super().sleep(sleeper, until)

    async def sleep_async(self, sleeper, until):
        self._let_happen()
        await super().sleep_async(sleeper, until)

    def _let_happen(self):
        event = self.events.pop(0) if self.events else None
        if event is not None:
            event()


@pytest.fixture
def clock():
    return EventfulClock()


@pytest.fixture
def store():
    return DictStore()


@pytest.fixture
def make_bucket(store, clock):
    """Make a bucket for threads and tasks."""

    def make_bucket(capacity=1, rate=1, name="bucket", **options):
        return DictTokenBucket(store, name, capacity, rate, **{"clock": clock} | options)

    return make_bucket


@pytest.fixture
def make_async_bucket(store, clock):
    """Make a bucket whose answers are awaited."""

    def make_bucket(capacity=1, rate=1, name="bucket", **options):
        return AsyncDictTokenBucket(store, name, capacity, rate, **{"clock": clock} | options)

    return make_bucket


@pytest.fixture
def asked(store):
    """Return what the store has been asked since the last time, operation by operation."""

    def asked():
        operations = [question.operation for question in store.questions]
        store.questions.clear()
        return operations

    return asked


@pytest.fixture
def untraced(monkeypatch):
    """Let leases decide also while coverage is measured, which is by a tracer."""
    monkeypatch.setattr(holding, "gettrace", lambda: None)


@pytest.fixture
def leased(store, clock):
    """Make a bucket of a hundred tokens with leases of ten for half a second."""
    return lease_of(DictTokenBucket(store, "bucket", 100, 10, clock=clock))


@pytest.fixture
def level(store, clock):
    """Tell how many tokens the store has."""
    return lambda: DictTokenBucket(store, "bucket", 100, 10, clock=clock).available_tokens
