"""Waking tasks from signal handlers that run while the loop waits for events."""

import asyncio
import selectors
import signal

import pytest

from rate_limiter import TokenBucket
from rate_limiter.sleeping import task_sleeper
from rate_limiter.testing import ManualClock

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")


class Interrupted(selectors.DefaultSelector):
    """A selector in which a signal arrives as soon as the loop waits for events without end."""

    rang = heard = False

    def select(self, timeout=None):
        if timeout is None and not self.rang:
            self.rang = True
            signal.raise_signal(signal.SIGUSR1)
            events = super().select(5)
            self.heard = bool(events)
            return events
        return super().select(timeout)


@pytest.fixture
def wait_and_handle():
    """Give a function that runs a coroutine and, while its loop waits for events, a handler."""

    def run(main, handler):
        selector = Interrupted()
        before = signal.signal(signal.SIGUSR1, lambda *_: handler())
        try:
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
                runner.run(main())
        finally:
            signal.signal(signal.SIGUSR1, before)
        return selector.heard

    return run


def test_wake_task_from_handler_while_its_loop_waits_is_heard(wait_and_handle):
    """P19: A signal handler in the thread of a loop that waits for events ends that wait."""
    sleepers = []

    async def main():
        sleepers.append(task_sleeper())
        await sleepers[0].sleep(None)

    assert wait_and_handle(main, lambda: sleepers.pop().wake())


def test_refund_from_handler_while_the_loop_waits_serves_its_task(wait_and_handle):
    """P11: A task gets what a signal handler gives back, although its loop waits for events."""
    bucket = TokenBucket(1, 1, initial_tokens=0, clock=ManualClock())

    assert wait_and_handle(bucket.wait_async, lambda: bucket.refund(1))
    assert bucket.available_tokens == 0
