"""Requests that count by the status of their answer, as for the throttling of logins."""

from __future__ import annotations

import asyncio

import pytest
from service_worlds import AsgiWorld, WsgiWorld, ask, http_scope, run_wsgi

from rate_limiter import BackendError, BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import asgi, wsgi


def failed(status):
    return status == 401


def returning(function):
    """Return a plain function that returns what a coroutine function does."""
    return lambda status: function(status)  # noqa: PLW0108 - that is the point


def available(limiters):
    return limiters["10.0.0.1"].bucket.available_tokens


def test_count_only_failures_throttles_guesses(middleware, limiters, clock):
    """Logins that succeed cost nothing; after three that fail nobody gets in for a while."""
    middleware.limit(limiters, count=failed)
    assert [middleware.get("/200").status for _ in range(5)] == [200] * 5
    assert [middleware.get("/401").status for _ in range(4)] == [401, 401, 401, 429]
    assert middleware.get("/200").status == 429
    clock.advance(20)
    assert middleware.get("/200").status == 200
    assert middleware.get("/200").status == 200


def test_ask_first_for_what_may_count(middleware, limiters):
    """A request that may count needs a token first, so many guesses cannot come at once."""
    middleware.limit(limiters, count=failed)
    left = []
    middleware.status_of = lambda path: left.append(available(limiters)) or 200
    middleware.get()
    assert (left, available(limiters)) == ([2.0], 3.0)


@pytest.mark.parametrize(
    ("path", "told", "left"),
    [("/401", '"default";r=2;t=20', 2), ("/200", '"default";r=3;t=0', 3)],
)
def test_tell_what_is_left_after_the_refund(middleware, limiters, path, told, left):
    """The fields say what is there after a request that did not count was given its tokens back."""
    middleware.limit(limiters, count=failed)
    assert middleware.get(path).field("RateLimit") == told
    assert available(limiters) == left


def test_tell_what_is_left_in_each_bucket_after_the_refund(middleware, clock):
    """A cost by name is given back by name, in a nested group too."""
    a, b, c = (TokenBucket(9, 1, clock=clock) for _ in range(3))
    group = BucketGroup(a=a, outer=BucketGroup(b=b, c=c))
    cost = {"a": 1, "outer": {"b": 2}}
    middleware.limit(RateLimiter(group, block=False), cost=cost, count=failed)
    counted = '"a";r=8;t=1, "outer.b";r=7;t=2, "outer.c";r=9;t=0'
    assert middleware.get("/401").field("RateLimit") == counted
    assert middleware.get("/200").field("RateLimit") == counted
    assert [bucket.available_tokens for bucket in (a, b, c)] == [8, 7, 9]


def test_tell_that_nothing_is_left_while_others_wait(clock):
    """What is given back goes to those who wait, so a newcomer finds nothing."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock))
    service = AsgiWorld()
    service.limit(limiter, count=failed, block=True)

    async def main():
        tasks = [asyncio.create_task(ask(service.limited, http_scope())) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert limiter.bucket.level.waiting == 3
        clock.advance(1)  # each hands its token on
        return [reply.field("RateLimit") for reply in await asyncio.gather(*tasks)]

    told = asyncio.run(main())
    assert told == ['"default";r=0;t=2', '"default";r=0;t=1', '"default";r=1;t=0']


def test_count_an_error_as_the_500_that_a_server_makes_of_it(middleware, limiters):
    """An application that raises has answered 500, which counts or does not."""
    middleware.limit(limiters, count=failed)
    with pytest.raises(ZeroDivisionError):
        middleware.get("/raise")
    assert available(limiters) == 3
    middleware.limit(limiters, count=lambda status: status >= 500)
    with pytest.raises(ZeroDivisionError):
        middleware.get("/raise")
    assert available(limiters) == 2


def test_refuse_after_counted_errors(middleware, limiters):
    """A refusal of a service that counts is as any other."""
    middleware.limit(limiters, count=failed)
    replies = [middleware.get("/401") for _ in range(4)]
    assert replies[3].field("Retry-After") == "20"
    assert replies[3].problem["violated-policies"] == ["default"]


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (lambda status: 1 / 0, ZeroDivisionError),
        (lambda status: None, TypeError),
        (lambda status: "yes", TypeError),
        (lambda status: (yield), TypeError),
    ],
)
def test_count_that_fails_is_seen_and_charges_nothing(middleware, limiters, count, error):
    """A `count` that raises, or returns no bool, is the caller's to see; nothing stays charged."""
    if error is TypeError and count(200).__class__.__name__ == "generator":
        with pytest.raises(TypeError, match="generator"):
            middleware.limit(limiters, count=count)
        return
    middleware.limit(limiters, count=count)
    with pytest.raises(error):
        middleware.get()
    assert available(limiters) == 3


def test_count_that_is_async_is_refused(middleware, limiters):
    """`count` is a plain function; a coroutine would be true whatever it says."""

    async def count(status):
        return True

    with pytest.raises(TypeError, match="count must be a plain function"):
        middleware.limit(limiters, count=count)
    middleware.limit(limiters, count=returning(count))
    with pytest.raises(TypeError, match="count must be a plain function"):
        middleware.get()
    assert available(limiters) == 3


def test_dry_run_counts_by_status_too(middleware, limiters):
    """A dry run gives back what does not count, and refuses nobody."""
    middleware.limit(limiters, count=failed, dry_run=True)
    assert [middleware.get("/401").status for _ in range(5)] == [401] * 5
    assert available(limiters) == 0
    assert middleware.get("/200").field("RateLimit") is None


def failing_refund(monkeypatch, name, *, awaited):
    """Have refunds fail as when the store goes away during a request."""

    def fail(self):
        raise BackendError("the store went away")

    async def fail_async(self):
        fail(self)

    monkeypatch.setattr(f"rate_limiter.permit.{name}", fail_async if awaited else fail)


@pytest.mark.parametrize(
    ("kind", "name"), [(AsgiWorld, "BasePermit.refund_async"), (WsgiWorld, "Permit.refund")]
)
def test_serve_the_answer_when_the_refund_fails(limiters, monkeypatch, caplog, kind, name):
    """A store that goes away before the refund costs a token and a log line, not the answer."""
    service = kind()
    service.limit(limiters, count=failed)
    failing_refund(monkeypatch, name, awaited=kind is AsgiWorld)
    assert service.get("/200").status == 200
    assert available(limiters) == 2
    assert "the store went away" in caplog.text


def test_end_without_an_answer_counts(limiters):
    """A client that goes before its answer has used its attempt."""

    async def gone(scope, receive, send):
        await receive()

    limited = asgi.RateLimitMiddleware(gone, limiters, count=failed)
    asyncio.run(limited(http_scope(), lambda: asyncio.sleep(0), None))
    assert available(limiters) == 2


def test_cancel_a_request_counts(limiters):
    """A request that its server cancels has used its attempt."""

    async def stuck(scope, receive, send):
        await asyncio.Event().wait()

    async def main():
        limited = asgi.RateLimitMiddleware(stuck, limiters, count=failed)
        task = asyncio.create_task(limited(http_scope(), None, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert available(limiters) == 2


def test_raise_after_the_answer_began_changes_nothing(limiters):
    """The status that was sent decides, also if the application raises later."""

    async def late(scope, receive, send):
        await send({"type": "http.response.start", "status": 401})
        raise ZeroDivisionError

    async def send(message):
        assert [name for name, _ in message["headers"]] == [b"ratelimit", b"ratelimit-policy"]

    limited = asgi.RateLimitMiddleware(late, limiters, count=failed)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(limited(http_scope(), None, send))
    assert available(limiters) == 2


def test_count_an_application_that_starts_late(limiters):
    """A WSGI application that is a generator says its status when it is read."""
    closed = []

    def app(environ, start_response):
        try:
            start_response(environ["status"], [])
            yield b"a"
            yield b"b"
        finally:
            closed.append(1)

    limited = wsgi.RateLimitMiddleware(app, limiters, count=failed)
    environ = {"REMOTE_ADDR": "10.0.0.1", "status": "200 OK"}
    reply = run_wsgi(limited, environ)
    assert (reply.body, reply.field("RateLimit")) == (b"ab", '"default";r=3;t=0')
    assert run_wsgi(limited, environ | {"status": "401 No"}).status == 401
    assert available(limiters) == 2
    body = limited(environ, lambda *_: None)
    assert next(iter(body)) == b"a"
    body.close()
    assert len(closed) == 3


def test_count_an_application_without_anything_to_close(limiters):
    """A WSGI body need not have a `close`, also where the application starts late."""

    def app(environ, start_response):
        # A generator would have a `close`.
        return map(lambda part: start_response("401 No", []) or part, [b"a"])  # noqa: C417

    limited = wsgi.RateLimitMiddleware(app, limiters, count=failed)
    assert run_wsgi(limited, {"REMOTE_ADDR": "10.0.0.1"}).body == b"a"
    assert available(limiters) == 2


def test_count_an_application_that_raises_when_it_is_read(limiters):
    """A WSGI application that raises in its body before it starts has answered 500."""

    def app(environ, start_response):
        raise ZeroDivisionError
        yield

    limited = wsgi.RateLimitMiddleware(app, limiters, count=failed)
    with pytest.raises(ZeroDivisionError):
        run_wsgi(limited, {"REMOTE_ADDR": "10.0.0.1"})
    assert available(limiters) == 3


@pytest.mark.parametrize("lazily", [True, False])
@pytest.mark.parametrize(
    ("statuses", "left"),
    [(["200 OK", "401 No"], 2), (["401 No", "500 Oh"], 3), (["401 No", "200 OK", "401 No"], 2)],
)
def test_count_by_the_status_that_replaces_another(limiters, statuses, left, lazily):
    """A WSGI application may replace its status until its body begins; the last one counts."""

    def start(start_response):
        for number, status in enumerate(statuses):
            start_response(status, [], *[(None, None, None)][:number])
        return b"body"

    def app(environ, start_response):
        if lazily:
            return map(start, [start_response])
        return [start(start_response)]

    limited = wsgi.RateLimitMiddleware(app, limiters, count=lambda status: status == 401)
    reply = run_wsgi(limited, {"REMOTE_ADDR": "10.0.0.1"})
    assert (reply.status, reply.body) == (int(statuses[-1][:3]), b"body")
    assert available(limiters) == left
    assert f"r={left}" in reply.field("RateLimit")


def test_count_an_error_that_comes_once_the_body_has_begun(limiters):
    """The status with which a body has begun decides, whatever goes wrong later."""

    def app(environ, start_response):
        start_response("401 No", [])
        yield b"a"
        start_response("500 Oh", [], (None, None, None))
        raise LookupError

    limited = wsgi.RateLimitMiddleware(app, limiters, count=lambda status: status == 401)
    with pytest.raises(LookupError):
        run_wsgi(limited, {"REMOTE_ADDR": "10.0.0.1"})
    assert available(limiters) == 2


@pytest.mark.parametrize(("count", "left"), [(failed, 3), (None, 2)])
def test_count_an_application_that_starts_again_after_an_error(limiters, count, left):
    """A WSGI application that replaces its answer is counted once; both get the fields."""
    started = []

    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("500 Oh", [], (None, None, None))
        return [b""]

    limited = wsgi.RateLimitMiddleware(app, limiters, count=count)
    limited({"REMOTE_ADDR": "10.0.0.1"}, lambda status, *rest: started.append((status, *rest)))
    assert [status for status, *_ in started] == ["200 OK", "500 Oh"]
    assert [rest for _, _, *rest in started] == [[], [(None, None, None)]]
    told = ("RateLimit", f'"default";r={left};t={20 * (3 - left)}')
    assert [fields[0] for _, fields, *_ in started] == [told] * 2
    assert available(limiters) == left


def test_keep_what_a_server_knows_of_the_body(limiters):
    """A body that the application has started comes as it is, so that files are sent as files."""
    body = object()

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    limited = wsgi.RateLimitMiddleware(app, limiters, count=failed)
    assert limited({"REMOTE_ADDR": "10.0.0.1"}, lambda *_: None) is body


def test_ask_asgi_keeps_messages_of_the_application(limiters):
    """Messages are copied before they get fields: applications send the same one again."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    limited = asgi.RateLimitMiddleware(app, limiters)
    for _ in range(2):
        reply = asyncio.run(ask(limited, http_scope()))
        assert [name for name, _ in reply.fields] == ["a", "ratelimit", "ratelimit-policy"]
    assert start["headers"] == [(b"a", b"b")]
