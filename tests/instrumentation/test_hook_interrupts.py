"""P45, P19: An interrupt at any line while hooks are told leaves every number whole."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import rate_limiter
from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.instrumentation import set_hooks
from rate_limiter.testing import ManualClock

PACKAGE = str(Path(rate_limiter.__file__).parent)


class Held:
    """A hook that counts how often it is held."""

    admitted = True
    held = 0

    def __call__(self, event):
        return self

    def __enter__(self):
        self.held += 1

    def __exit__(self, *exc_info):
        self.held -= 1


class Interrupter:
    """A tracer that raises at a line of the package, counted from the first."""

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, arg):
        code = frame.f_code
        if code.co_name == "__del__" or not code.co_filename.startswith(PACKAGE):
            return None  # where an interrupt is lost, or is not ours
        if event == "line":
            self.left -= 1
            if self.left == -1:
                raise KeyboardInterrupt
        return self


def wait(limiter):
    with limiter.acquire(2):
        pass


def refuse(limiter):
    with limiter.acquire(2, timeout=0):
        pass


def wait_in_task(limiter):
    async def main():
        await limiter.acquire(2)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        sys.settrace(None)
        for task in asyncio.all_tasks(loop):  # if the loop was interrupted, and not the task
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()


def interrupt(call, line):
    """Make a call that is interrupted at a line; return whether it came so far."""
    hook = Held()
    set_hooks([hook, hook])
    clock = ManualClock(auto_advance=True)
    limiter = RateLimiter(TokenBucket(5, 1, initial_tokens=1, clock=clock))
    before, interrupter = sys.gettrace(), Interrupter(line)
    gc.disable()  # or the finalizer of a call before this one may be what is interrupted
    try:
        with suppress(KeyboardInterrupt, RateLimitExceeded):
            sys.settrace(interrupter)
            call(limiter)
    finally:
        sys.settrace(before)
        gc.enable()
    level = limiter.bucket.level
    missing = level.full_in + clock.elapsed  # as if nothing had come in since
    assert (level.waiting, missing in {4, 6}) == (0, True)
    told = []
    set_hooks([told.append])
    with suppress(RateLimitExceeded), limiter.acquire(6, timeout=0):
        pass
    assert [event.kind for event in told] == ["refused"]  # nobody is deaf from now on
    came_so_far = interrupter.left < 0
    assert came_so_far or hook.held == 0
    return came_so_far


@pytest.mark.filterwarnings("ignore:acquire:RuntimeWarning")
@pytest.mark.parametrize("call", [wait, refuse, wait_in_task])
def test_interrupt_at_any_line_takes_at_most_the_tokens_of_the_call(call):
    """P45, P19: Nobody is left in line, and at most the call's own tokens are taken."""
    line = 0
    while interrupt(call, line):
        line += 1
    assert line > 300
