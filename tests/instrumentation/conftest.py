"""A clock, and hooks that end with the test."""

from __future__ import annotations

import pytest

from rate_limiter.instrumentation import set_hooks
from rate_limiter.testing import ManualClock


@pytest.fixture(autouse=True)
def no_hooks():
    """Leave no hook behind."""
    yield
    set_hooks([])


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def quick_clock():
    """A clock that sleeps in no time."""
    return ManualClock(auto_advance=True)


class Listener:
    """A hook that notes all events, admissions too."""

    admitted = True

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    @property
    def kinds(self):
        return [event.kind for event in self.events]

    @property
    def waits(self):
        return [event for event in self.events if event.kind == "waiting"]


@pytest.fixture
def heard():
    """A hook that is set, and tells what it has heard."""
    listener = Listener()
    set_hooks([listener])
    return listener
