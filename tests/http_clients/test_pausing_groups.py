"""What a refused call does to the buckets of a group: one is paused, the unused is given back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import httpx
import pytest
from servers import Server
from stub_api import Reply

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http.asgi import RateLimitMiddleware
from rate_limiter.http.httpx import AsyncRateLimitTransport
from rate_limiter.redis import AsyncRedisTokenBucket
from rate_limiter.testing import ManualClock

REFUSED = Reply(429, {"Retry-After": "7"})


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


def levels_of(group):
    return [bucket.available_tokens for bucket in group.members]


@pytest.mark.parametrize(
    ("cost", "paused"),
    [
        ({"requests": 1, "tokens": 900}, "requests"),
        ({"requests": 0.5, "tokens": Decimal(1)}, "tokens"),
        ({"requests": 1, "slow": 1, "tokens": 900}, "requests"),
        ({"slow": 1, "requests": 1, "twin": 1}, "requests"),
        ({"slow": 1, "tokens": 900}, "slow"),
        ({"slow": 2, "requests": 2}, "requests"),
        ({"requests": 2, "tokens": 900}, "requests"),
        ({"requests": 0, "tokens": 900}, "tokens"),
        ({"requests": 0}, "tokens"),
        (1, "tokens"),
        (9, "tokens"),
        (lambda request: 0, "tokens"),
    ],
)
def test_receive_429_pauses_the_fastest_bucket_that_counts_calls(  # noqa: PLR0917
    caller, api, url, clock, cost, paused
):
    """P43: One bucket holds every call; the others keep their tokens, which come back late."""
    group = BucketGroup(
        slow=TokenBucket(1000, 0.01, clock=clock),
        requests=TokenBucket(10, 1, clock=clock),
        twin=TokenBucket(10, 1, clock=clock),
        tokens=TokenBucket(1000, 10, clock=clock),
    )
    api.replies.append(REFUSED)
    with caller.session(RateLimiter(group), cost=cost) as client:
        client.send("GET", url)
    assert [name for name in group.buckets if group.buckets[name].level.paused_for] == [paused]
    assert not group.allow()


def test_receive_429_looks_into_groups_and_at_buckets_without_a_name(caller, api, url, clock):
    """P43: A group within is gone through, by a number or by a mapping; so is what has no name."""
    fast, slow = (TokenBucket(10, rate, clock=clock) for rate in (5, 0.01))
    tokens = TokenBucket(1000, 100, clock=clock)
    group = BucketGroup(limits=BucketGroup(slow, fast), tokens=tokens)
    api.replies += [REFUSED] * 2
    with caller.session(RateLimiter(group), cost={"limits": 1, "tokens": 900}) as client:
        client.send("GET", url)
    assert [bucket.level.paused_for for bucket in (fast, slow, tokens)] == [7, 0, 0]
    clock.advance(100)
    named = BucketGroup(limits=BucketGroup(slow=slow, fast=fast), tokens=tokens)
    cost = {"limits": {"slow": 1, "fast": 2}, "tokens": 900}
    with caller.session(RateLimiter(named), cost=cost) as client:
        client.send("GET", url)
    assert [bucket.level.paused_for for bucket in (fast, slow, tokens)] == [0, 7, 0]


def test_receive_429_leaves_the_tokens_of_a_slow_bucket(caller, api, url, clock):
    """P43: A pause of a second under "10/second; 1000/hour" costs a second, no hour's tokens."""
    limiters = KeyedRateLimiter.from_rate("10/second; 1000/hour", clock=clock)
    api.replies.append(Reply(429, {"Retry-After": "1"}))
    with caller.session(limiters) as client:
        for _ in range(20):
            client.send("GET", url)
    assert clock.elapsed == pytest.approx(1 + 18 * 0.1)
    assert limiters["127.0.0.1"].bucket.buckets["1000/hour"].available_tokens > 980


def test_call_own_service_with_own_client_waits_for_the_rate_alone():
    """P43: A client that heeds the fields of a service with the same two rates is not held up."""
    clock = ManualClock(auto_advance=True)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    service = RateLimitMiddleware(
        app, KeyedRateLimiter.from_rate("10/second; 1000/hour", block=False, clock=clock)
    )

    async def main():
        limiters = KeyedRateLimiter.from_rate("10/second; 1000/hour", clock=clock)
        transport = AsyncRateLimitTransport(limiters, transport=httpx.ASGITransport(service))
        async with httpx.AsyncClient(transport=transport) as client:
            return [(await client.get("http://api/")).status_code for _ in range(100)]

    assert asyncio.run(main()) == [200] * 100
    assert clock.elapsed < 20


@pytest.mark.server
def test_receive_429_pauses_one_bucket_of_a_group_on_a_server(api, url):
    """P43: So it is for buckets that are awaited."""

    async def main(server):
        client = server.async_client()
        buckets = {
            name: AsyncRedisTokenBucket(client, name, 10, rate)
            for name, rate in (("slow", 0.01), ("fast", 5))
        }
        transport = AsyncRateLimitTransport(RateLimiter(BucketGroup(**buckets)))
        async with httpx.AsyncClient(transport=transport) as session:
            await session.get(url)
        paused = {name: (await bucket.level).paused_for for name, bucket in buckets.items()}
        await client.aclose()
        return paused

    api.replies.append(Reply(429, {"Retry-After": "60"}))
    with Server() as server:
        paused = asyncio.run(main(server))
    assert paused == {"slow": 0, "fast": pytest.approx(60, abs=5)}


@pytest.mark.parametrize(
    ("reply", "charged"),
    [
        (Reply(429), 0),
        (Reply(503, {"Retry-After": "1"}), 0),
        (Reply(403, {"Retry-After": "1"}), 0),
        (Reply(403), 900),
        (Reply(500), 900),
        (Reply(200, {"RateLimit": '"default";r=0;t=1'}), 900),
    ],
)
@pytest.mark.parametrize("policy", [{}, {"block": False}])
def test_refused_call_gives_back_what_is_no_count_of_calls(  # noqa: PLR0917
    caller, api, url, reply, charged, policy
):
    """A refused call has used no model tokens, also if it is not sent again."""
    clock = ManualClock()
    group = BucketGroup(
        calls=TokenBucket(10, 1, clock=clock), tokens=TokenBucket(1000, 1, clock=clock)
    )
    api.replies.append(reply)
    with caller.session(RateLimiter(group, **policy), cost={"calls": 1, "tokens": 900}) as client:
        client.send("GET", url)
    assert group.buckets["tokens"].available_tokens == 1000 - charged
    assert group.buckets["calls"].level.full_in >= 1  # as a call it counts


@pytest.mark.parametrize(
    ("used", "charged"),
    [({"tokens": 100}, 100), ({"tokens": None}, 0), (None, 0), ({"calls": 3}, 0)],
)
def test_refused_call_is_charged_what_settle_says_and_nothing_if_it_says_nothing(
    caller, api, url, used, charged
):
    """A `settle` reads the usage of a reply, and a refusal has none."""
    clock = ManualClock()
    group = BucketGroup(
        calls=TokenBucket(10, 1, clock=clock), tokens=TokenBucket(1000, 1, clock=clock)
    )
    api.replies.append(Reply(429))
    cost = {"calls": 1, "tokens": 900}
    settle = lambda *_: used  # noqa: E731
    with caller.session(RateLimiter(group), cost=cost, settle=settle) as client:
        client.send("GET", url)
    calls = (used or {}).get("calls", 1)
    assert levels_of(group) == [10 - calls, 1000 - charged]


@pytest.mark.parametrize(
    ("cost", "left"),
    [
        ({"limits": {"calls": 1, "points": 5}, "tokens": 900}, [7, 5, 100]),
        ({"limits": {"calls": 1}, "tokens": 900}, [7, 10, 100]),
        ({"limits": {"points": 2}, "tokens": 1}, [10, 8, 997]),
        ({"limits": {"points": 2}, "tokens": 2}, [10, 4, 994]),
    ],
)
def test_retry_gives_back_what_is_no_count_of_calls(caller, api, url, cost, left):
    """A refused attempt has used no model tokens; as a request it counts. Groups are looked at."""
    clock = ManualClock(auto_advance=True)
    calls, points = (TokenBucket(10, 0.01, clock=clock) for _ in range(2))
    tokens = TokenBucket(1000, 0.01, clock=clock)
    group = BucketGroup(limits=BucketGroup(calls=calls, points=points), tokens=tokens)
    api.replies += [Reply(429), Reply(503)]
    with caller.session(RateLimiter(group), cost=cost, retries=2) as client:
        assert client.send("GET", url).status == 200
    levels = [bucket.available_tokens for bucket in (calls, points, tokens)]
    assert levels == pytest.approx(left, abs=0.1)
