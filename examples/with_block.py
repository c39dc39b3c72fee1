"""Put a limit on a piece of code: a with-block that begins when its tokens are there."""

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket

# Ten tokens at once, then ten a second, for everything that goes through this limiter.
limiter = RateLimiter(TokenBucket(capacity=10, tokens_per_second=10))


def copy_pages(count: int) -> None:
    """Copy pages at one token each, and wait for the tokens if need be."""
    with limiter.acquire(count) as permit:
        print(f"copied {count} pages after {permit.waited:.2f} s")


def copy_pages_soon(count: int, patience: float) -> None:
    """Copy pages, but give up at once if the wait would be longer than `patience` seconds."""
    try:
        with limiter.acquire(count, timeout=patience):
            print(f"copied {count} pages")
    except RateLimitExceeded as error:
        print(
            f"{count} pages would take {error.retry_after:.2f} s, and {patience} s is all we have"
        )


def main() -> None:
    """Copy more than is allowed at once."""
    copy_pages(8)  # there: 10 - 8 leaves 2
    copy_pages(5)  # waits for the 3 that are missing
    copy_pages_soon(9, patience=0.1)  # refused, and nothing is taken for it
    copy_pages(12)  # more than the bucket holds is waited for as well

    with limiter:  # the same as limiter.acquire(1)
        print("copied the last page")


if __name__ == "__main__":
    main()
