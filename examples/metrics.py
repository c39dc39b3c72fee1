"""Publish what limiters do as Prometheus metrics, and log the waits that are long."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from prometheus_client import CollectorRegistry, generate_latest

from rate_limiter import KeyedRateLimiter, RateLimitExceeded, rate_limited
from rate_limiter.instrumentation import Event, log_waits, prometheus, set_hooks

registry = CollectorRegistry()  # a service publishes its own by start_http_server(9000)


@rate_limited(capacity=2, rate=20)
def fetch(page: int) -> int:
    """Get a page from a server; in events and metrics it goes by its own name."""
    return page


users = KeyedRateLimiter.from_rate("2/minute", block=False, name="users")


def note_refusal(event: Event) -> None:
    """Be a hook of one's own: no event says which user it was."""
    if event.kind == "refused":
        print(f"{event.limiter}: refused, again in {event.seconds:.0f} s")


def search(user: str) -> None:
    """Answer a user, who may ask twice a minute."""
    with suppress(RateLimitExceeded), users[user].acquire():
        pass


def main() -> None:
    """Call both, then show what a scrape would get."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
    set_hooks([prometheus(registry), log_waits(over=0.2), note_refusal])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, range(8)))
    for user in ("ada", "ada", "ada", "ben"):
        search(user)
    for line in generate_latest(registry).decode().splitlines():
        if not any(word in line for word in ("#", "_bucket", "_created")):
            print(line)


if __name__ == "__main__":
    main()
