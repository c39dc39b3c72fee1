"""Give every user a limit of their own: the flood of one is refused, and no other feels it."""

import math

from rate_limiter import KeyedRateLimiter, RateLimitExceeded, rate_limited

COSTS = {"/status": 1, "/export": 4}

# Five tokens at once for each user, and one more a minute.
limiters = KeyedRateLimiter.from_rate("1/minute", capacity=5, block=False)


@rate_limited(capacity=1, rate="2/hour", block=False, key=lambda user, text: user)  # noqa: ARG005
def post(user: str, text: str) -> str:
    """Publish something; a key can also be found from the arguments of a call."""
    return f"{user} says {text}"


def answer(user: str, path: str) -> tuple[int, dict[str, str]]:
    """Answer a request, or say when to come back."""
    try:
        with limiters[user].acquire(COSTS[path]):
            return 200, {}
    except RateLimitExceeded as refusal:
        return 429, {"Retry-After": str(math.ceil(refusal.retry_after or 1))}


def main() -> None:
    """Serve one user who asks far too much, and two who do not."""
    flood = [answer("Mal", "/status")[0] for _ in range(1_000)]
    print(f"Mal: {flood.count(200)} answered, {flood.count(429)} refused")

    print("Mal /status:", *answer("Mal", "/status"))
    print("Ann /export:", *answer("Ann", "/export"))
    print("Ben /export:", *answer("Ben", "/export"))
    print("Ben /export:", *answer("Ben", "/export"))
    print(f"{len(limiters)} users have a bucket that is not full")

    for user, text in [("Ann", "hello"), ("Ann", "hello again"), ("Ben", "good morning")]:
        try:
            print(post(user, text))
        except RateLimitExceeded as refusal:
            print(f"{user} says no more for {math.ceil((refusal.retry_after or 60) / 60)} min")


if __name__ == "__main__":
    main()
