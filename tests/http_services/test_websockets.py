"""Websockets that are opened, and that are not."""

from __future__ import annotations

import pytest
from service_worlds import DENIAL, opened, reply_of, websocket_scope

from rate_limiter.http.asgi import RateLimitMiddleware


async def accepting(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await send({"type": "websocket.close", "code": 1000})


async def closing(scope, receive, send):
    await send({"type": "websocket.close", "code": 1008})


async def denying(scope, receive, send):
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


def test_open_websocket_counts_and_tells_what_is_left(limiters):
    """A websocket costs when it is opened, and not for its messages."""
    limited = RateLimitMiddleware(accepting, limiters)
    accept, *rest = opened(limited, websocket_scope())
    assert accept["headers"][0] == (b"ratelimit", b'"default";r=2;t=20')
    assert [message["type"] for message in rest] == ["websocket.send", "websocket.close"]
    assert "headers" not in rest[0]


def test_refuse_websocket_where_responses_are_offered_is_a_429(limiters):
    """With `websocket.http.response` a refusal is a 429 with all its fields."""
    limited = RateLimitMiddleware(accepting, limiters)
    for _ in range(3):
        opened(limited, websocket_scope(DENIAL))
    sent = opened(limited, websocket_scope(DENIAL))
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    reply = reply_of(sent)
    assert (reply.status, reply.field("Retry-After")) == (429, "20")
    assert reply.problem["violated-policies"] == ["default"]


@pytest.mark.parametrize("extensions", [None, {}, {"other": {}}])
def test_refuse_websocket_elsewhere_closes_before_it_is_accepted(limiters, extensions):
    """Without it the websocket is closed before accept, which servers make a 403 of."""
    limited = RateLimitMiddleware(accepting, limiters)
    for _ in range(3):
        opened(limited, websocket_scope(extensions))
    sent = opened(limited, websocket_scope(extensions))
    assert sent == [{"type": "websocket.close", "code": 1013}]


@pytest.mark.parametrize(
    ("app", "status"),
    [(accepting, 101), (closing, 403), (denying, 401)],
    ids=["accepting", "closing", "denying"],
)
def test_count_websockets_by_the_status_of_the_handshake(limiters, app, status):
    """An accepted websocket is a 101, one that is closed before a 403, and else what was said."""
    seen = []
    limited = RateLimitMiddleware(app, limiters, count=lambda each: seen.append(each) or False)
    opened(limited, websocket_scope(DENIAL))
    assert seen == [status]
    assert limiters["10.0.0.1"].bucket.available_tokens == 3
