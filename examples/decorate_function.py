"""Put a limit on a function: calls above it wait, or are refused."""

import time

from rate_limiter import RateLimitExceeded, rate_limited


@rate_limited(capacity=3, rate=5)
def look_up(word: str) -> str:
    """Wait when calls come too fast: three at once, then five a second."""
    return word.upper()


@rate_limited(capacity=2, rate="1/minute", block=False)
def send_report(name: str) -> str:
    """Refuse when calls come too fast: two at once, then one a minute."""
    return f"report for {name}"


def main() -> None:
    """Call both more often than their limits allow at once."""
    began = time.monotonic()
    for word in ["cat", "dog", "emu", "fox", "gnu"]:
        answer = look_up(word)
        print(f"{time.monotonic() - began:.1f} s  {answer}")

    for name in ["Ann", "Ben", "Cem"]:
        try:
            print(send_report(name))
        except RateLimitExceeded as error:
            print(f"no report for {name}: try again in {error.retry_after:.0f} s")


if __name__ == "__main__":
    main()
