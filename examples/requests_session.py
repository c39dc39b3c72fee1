"""Limit a requests session for each API key, as a service does that calls in the name of its users.

The API is a stub on loopback that says, as GitHub does, with a 403 that a user's quota is used up.
"""

import time

import requests
from stub_api import Answer, StubApi

from rate_limiter import KeyedRateLimiter
from rate_limiter.http.requests import RateLimitAdapter

limiters = KeyedRateLimiter.from_rate("5000/hour")
asked: list[str] = []


def answer(path: str, _: object) -> Answer:
    """Answer; but the second call is one too many."""
    asked.append(path)
    if len(asked) != 2:  # noqa: PLR2004 - the second
        return 200, {}, b"{}"
    reset = str(int(time.time()) + 2)  # an instant, in whole seconds
    return 403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, b"{}"


def main() -> None:
    """Call in the name of two users, the first of whom has to pause."""
    began = time.monotonic()
    with StubApi(answer, capacity=10, rate=10) as api, requests.Session() as session:
        session.mount(
            "http://", RateLimitAdapter(limiters, key=lambda r: r.headers["authorization"])
        )
        for user in ("ann", "ann", "ben", "ann"):
            response = session.get(api.url, headers={"authorization": user})
            seconds = time.monotonic() - began
            print(f"{user}: {response.status_code} {'at once' if seconds < 1 else 'after a pause'}")


if __name__ == "__main__":
    main()
