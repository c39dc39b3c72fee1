"""Show who waits: a progress bar that goes up when a caller begins to wait, and down at its end."""

import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

from tqdm import tqdm

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.instrumentation import Event, set_hooks

PAGES = 12
limiter = RateLimiter(TokenBucket(capacity=2, tokens_per_second=10))
LOOK = "waiting: |{bar:24}| {n_fmt} of {total_fmt} callers"
bar = tqdm(total=PAGES, bar_format=LOOK, file=sys.stdout)
lock = Lock()


def show(event: Event) -> AbstractContextManager[None] | None:
    """Be the hook: what it returns is held while the caller waits."""
    return one_more() if event.kind == "waiting" else None


@contextmanager
def one_more() -> Generator[None]:
    """Count a caller while it waits, also one that gives up."""
    change(1)
    try:
        yield
    finally:
        change(-1)


def change(number: int) -> None:
    """Move the bar, from whichever thread."""
    with lock:
        bar.update(number)
        bar.refresh()


@limiter
def fetch(page: int) -> str:
    """Get a page."""
    return f"page {page}"


def main() -> None:
    """Fetch all pages at once, by as many threads."""
    set_hooks([show])
    with bar, ThreadPoolExecutor(PAGES) as pool:
        pages = list(pool.map(fetch, range(PAGES)))
    print(f"{len(pages)} pages, and nobody waits any more: {bar.n} callers")


if __name__ == "__main__":
    main()
