"""Test code that has a limit, waits included, in no time: put a ManualClock under it.

What makes a bucket itself can give it the clock: TokenBucket(..., clock=clock).
"""

import time

from rate_limiter import RateLimitExceeded, rate_limited
from rate_limiter.testing import ManualClock

MINUTE = 60


@rate_limited(capacity=5, rate="1/minute")
def send(text: str) -> str:
    """Send; this and the next two are the code under test."""
    return f"sent {text}"


@rate_limited(capacity=1, rate="1/minute", block=False)
def search(word: str) -> str:
    """Search, or refuse."""
    return f"found {word}"


def answer(word: str) -> str:
    """Search, and turn a refusal into an answer."""
    try:
        return search(word)
    except RateLimitExceeded as refusal:
        return f"busy for {refusal.retry_after:.0f} s"


def test_send_above_capacity_waits() -> None:
    """Whoever sleeps on this clock moves it and goes on; `elapsed` tells the wait there was."""
    with ManualClock(auto_advance=True).under(send) as clock:
        for number in range(5):
            send(f"letter {number}")
        assert clock.elapsed == 0
        assert send("one more") == "sent one more"
        assert clock.elapsed == MINUTE


def test_answer_when_refused_says_for_how_long() -> None:
    """A clock that stands still until it is told shows both sides of an instant."""
    with ManualClock().under(search) as clock:
        assert answer("cat") == "found cat"
        assert answer("dog") == "busy for 60 s"
        clock.advance(MINUTE - 1)
        assert answer("dog") == "busy for 1 s"
        clock.advance(1)
        assert answer("dog") == "found dog"


def main() -> None:
    """Run every test, as a test runner would."""
    began = time.monotonic()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"passed: {name}")
    print(f"two minutes of waiting, tested in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
