"""A store that fails while a response is under way costs nobody the response."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from servers import Server
from stub_api import Reply

from rate_limiter import BackendError, BucketGroup, Permit, RateLimiter, TokenBucket
from rate_limiter.http.httpx import AsyncRateLimitTransport
from rate_limiter.instrumentation import set_hooks
from rate_limiter.redis import AsyncRedisTokenBucket
from rate_limiter.testing import ManualClock

CLOSED = "http://127.0.0.1:1"  # a port where nobody listens
BODY = b"that was paid for"


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


@pytest.fixture
def bucket(clock):
    return TokenBucket(10, 1, clock=clock)


@pytest.fixture
def away(monkeypatch):
    """Have every correction and every pause fail, as those of a store do that is away."""

    def fail(*_):
        raise BackendError("the server does not answer")

    for name in ("settle", "refund", "settle_async", "refund_async"):
        monkeypatch.setattr(Permit, name, fail)
    for name in ("pause", "pause_async"):
        monkeypatch.setattr(TokenBucket, name, fail)
    monkeypatch.setattr(Permit, "levels", {})  # as if a fallback had decided
    return monkeypatch


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.usefixtures("away")
def test_fail_to_settle_hands_the_response_on(caller, api, url, bucket, caplog):
    """P43: A settlement that fails leaves the estimate, and is logged once."""
    api.replies += [Reply(chunks=(BODY,))] * 3
    with caller.session(RateLimiter(bucket), settle=lambda *_: 5) as client:
        for _ in range(2):
            assert client.send("GET", url).body == BODY
        assert client.read_some(url, most=1)
    assert bucket.available_tokens == 7
    assert warnings_of(caplog) == [
        "the server does not answer; what responses say is not noted until it is back"
    ]


@pytest.mark.usefixtures("away")
def test_fail_to_pause_hands_the_response_on(caller, api, url, bucket, caplog):
    """P43: A pause that fails is no event; the response is not asked for again, but handed on."""
    heard = []
    set_hooks([heard.append])
    api.replies.append(Reply(429, {"Retry-After": "7"}, (BODY,)))
    try:
        with caller.session(RateLimiter(bucket), retries=2) as client:
            answer = client.send("GET", url)
    finally:
        set_hooks([])
    assert (answer.status, answer.body, heard) == (429, BODY, [])
    assert len(api.requests) == 1
    assert len(warnings_of(caplog)) == 1


@pytest.mark.usefixtures("away")
def test_fail_to_give_back_changes_no_outcome(caller, api, url, clock, bucket, caplog):  # noqa: PLR0917
    """P43: What cannot be given back is no error: callers see their own, or the response."""
    group = BucketGroup(calls=bucket, tokens=TokenBucket(100, 1, clock=clock))
    api.replies.append(Reply(429))
    cost = {"calls": 1, "tokens": 5}
    with caller.session(RateLimiter(group), cost=cost, retries=1) as client:
        assert client.send("GET", url).status == 200
        with pytest.raises(caller.connect_error):
            client.send("GET", CLOSED)
    settling = caller.session(RateLimiter(group), cost=cost, settle=lambda *_: {}["used"])
    with settling as client, pytest.raises(KeyError):
        client.send("GET", url)
    assert len(warnings_of(caplog)) == 2  # one of each client


def test_come_back_begins_another_outage(caller, url, bucket, away, caplog):
    """P39: An admission of the store says that it is back; what fails then is logged again."""
    caplog.set_level(logging.INFO, "rate_limiter.http")
    away.setattr(Permit, "levels", {None: bucket.level})
    with caller.session(RateLimiter(bucket), settle=lambda *_: 1) as client:
        for _ in range(3):
            client.send("GET", url)
    told = [record.levelname for record in caplog.records]
    assert told == ["WARNING", "INFO", "WARNING", "INFO", "WARNING"]


@pytest.mark.server
@pytest.mark.parametrize("fallback", [None, "allow", "deny"])
@pytest.mark.parametrize("status", [200, 429])
def test_lose_the_server_amid_a_request_keeps_the_response(fallback, status, caplog):
    """P43: So it is when a server goes away for good, whatever the fallback."""

    async def main(server):
        def answer(request):
            server.kill()
            return httpx.Response(status, headers={"Retry-After": "1"}, content=BODY)

        client = server.async_client()
        bucket = AsyncRedisTokenBucket(client, "api", 100, 10, fallback=fallback)
        transport = AsyncRateLimitTransport(
            RateLimiter(bucket), settle=lambda *_: 5, transport=httpx.MockTransport(answer)
        )
        async with httpx.AsyncClient(transport=transport) as session:
            response = await session.get("http://api/")
        await client.aclose()
        return response.status_code, response.content

    with Server() as server:
        assert asyncio.run(main(server)) == (status, BODY)
    # With a fallback it is the bucket that warns, once it knows of an outage.
    assert len(warnings_of(caplog)) == (fallback is None or status == 429)
