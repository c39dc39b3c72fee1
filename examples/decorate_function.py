"""Put a limit on a function: calls above it wait, or are refused."""

import time

from rate_limiter import RateLimitExceeded, rate_limited


@rate_limited(capacity=3, rate=5)
def look_up(word: str) -> str:
    """Wait when calls come too fast: three at once, then five a second."""
    return word.upper()


@rate_limited(rate="2/minute; 20/day", block=False)
def send_report(name: str) -> str:
    """Refuse what is above either limit; each has its count for a capacity."""
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
            seconds, limit = error.retry_after, error.refused_by
            print(f"no report for {name}: try again in {seconds:.0f} s, because of {limit}")


if __name__ == "__main__":
    main()
