"""What a service is given that makes no sense, and functions that fail."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal

import pytest
from service_worlds import WORLDS, ask, http_scope

from each import each
from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.http import asgi, wsgi


async def a_coroutine(*_):
    return "10.0.0.1"


def a_generator(*_):
    yield "10.0.0.1"


def available(limiters):
    return limiters["10.0.0.1"].bucket.available_tokens


@each(
    "limiters",
    [
        TokenBucket(1, 1),
        BucketGroup(TokenBucket(1, 1)),
        KeyedRateLimiter,
        None,
        "100/minute",
        {"10.0.0.1": RateLimiter(TokenBucket(1, 1), block=False)},
    ],
)
def test_make_service_of_no_limiter_is_a_type_error(world, limiters):
    """What is no limiter is refused at once, and what would be right is said."""
    with pytest.raises(TypeError, match=r"limiters must be .*from_rate\('100/minute', block=False"):
        world.limit(limiters)


@each("dry_run", [True, False])
def test_make_service_of_limiters_that_wait_is_refused_unless_asked_for(world, dry_run):
    """A limiter that waits would pile requests up; the error says both remedies."""
    keyed = KeyedRateLimiter.from_rate("3/minute", dry_run=dry_run)
    for limiters in (keyed, RateLimiter(TokenBucket(1, 1), timeout=3)):
        with pytest.raises(ValueError, match=r"block=False, or say block=True here"):
            world.limit(limiters)
        world.limit(limiters, block=True)


def test_make_service_that_waits_of_limiters_that_refuse_is_refused(world, limiters):
    """`block=True` makes no limiter wait that refuses, and says so."""
    with pytest.raises(ValueError, match="these limiters refuse"):
        world.limit(limiters, block=True)


@each("name", ["block", "dry_run", "legacy_headers"])
@each("value", [None, 1, "yes"])
def test_make_service_with_no_bool_is_a_type_error(world, limiters, name, value):
    """Switches are True or False."""
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        world.limit(limiters, **{name: value})


@each("name", ["", "a\r\nSet-Cookie: a=b", "größe", "\x00"])
def test_make_service_with_an_unwritable_name_is_a_value_error(world, limiters, name):
    """P44: A name that header fields cannot hold is refused at once."""
    with pytest.raises(ValueError, match="name must be printable ASCII"):
        world.limit(limiters, name=name)


def test_make_service_with_no_name_is_a_type_error(world, limiters):
    """A name is a string."""
    with pytest.raises(TypeError, match="name must be a string, got 5"):
        world.limit(limiters, name=5)


@each(
    ("cost", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("2", TypeError),
        (None, TypeError),
        (True, TypeError),
        ({"a": -1}, ValueError),
        ({"a": None}, TypeError),
        ({"a": lambda _: 1}, TypeError),
        (a_generator, TypeError),
    ],
)
def test_make_service_with_no_cost_is_refused(world, limiters, cost, error):
    """P22: A fixed cost is a number above 0; a function or a mapping of such is fine too."""
    with pytest.raises(error, match="cost"):
        world.limit(limiters, cost=cost)


@pytest.mark.parametrize("keyed", [True, False])
def test_make_service_with_a_cost_that_no_request_could_pay(world, limiters, keyed):
    """A cost that would fail for every request is refused at once, if that can be known."""
    if not keyed:
        limiters = RateLimiter(TokenBucket(3, 1), block=False)
    with pytest.raises(CostExceedsCapacity, match="a cost of 4 is above the capacity of 3"):
        world.limit(limiters, cost=4)
    with pytest.raises(TypeError, match="a TokenBucket takes a number of tokens"):
        world.limit(limiters, cost={"a": 1})


def test_make_service_with_no_key_takes_the_default(world, limiters):
    """None is the address of the peer, as in clients None is the host."""
    world.limit(limiters, key=None)
    assert world.get().status == 200
    assert available(limiters) == 2


@each("name", ["key", "body"])
@each("value", ["user", 5, a_generator])
def test_make_service_with_no_function_is_a_type_error(world, limiters, name, value):
    """What is called is a function."""
    with pytest.raises(TypeError, match=f"{name} must be a"):
        world.limit(limiters, **{name: value})


def test_make_service_with_no_count_is_a_type_error(middleware, limiters):
    """So is what is told the status."""
    with pytest.raises(TypeError, match="count must be a function, got 401"):
        middleware.limit(limiters, count=401)


def test_make_service_with_an_async_body_is_a_type_error(world, limiters):
    """A body is made by a plain function."""
    with pytest.raises(TypeError, match="body must be a plain function"):
        world.limit(limiters, body=a_coroutine)


@pytest.mark.parametrize("name", ["key", "cost"])
def test_fail_in_a_function_is_seen_and_charges_nothing(world, limiters, name):
    """What a key or a cost raises is the caller's to see; nothing is charged, nothing served."""
    world.limit(limiters, **{name: lambda _: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        world.get()
    assert (world.served, available(limiters)) == (0, 3)


@pytest.mark.parametrize("name", ["key", "cost"])
def test_refuse_in_a_function_is_no_429(world, limiters, name):
    """A refusal that a key or a cost raises is theirs; we answer our own only."""

    def refuse(_):
        raise RateLimitExceeded(retry_after=1.0)

    world.limit(limiters, **{name: refuse})
    with pytest.raises(RateLimitExceeded):
        world.get()


@pytest.mark.parametrize("key", [[], {}, set()])
def test_return_a_key_that_cannot_be_hashed_is_a_type_error(world, limiters, key):
    """A key can be looked up by."""
    world.limit(limiters, key=lambda _: key)
    with pytest.raises(TypeError, match="hashable"):
        world.get()
    assert world.served == 0


@pytest.mark.parametrize("name", ["key", "cost"])
def test_return_a_generator_is_a_type_error(world, limiters, name):
    """P44: A generator is a new one for each request, so it would limit nobody."""
    world.limit(limiters, **{name: lambda _: a_generator()})
    with pytest.raises(TypeError, match=f"{name} must be a plain function"):
        world.get()
    assert world.served == 0


@pytest.mark.parametrize(
    ("cost", "error"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        ("2", TypeError),
        (None, TypeError),
        (False, TypeError),
        (True, TypeError),
        ({"a": 1}, TypeError),
        ([], TypeError),
    ],
)
def test_return_no_cost_is_seen_and_charges_nothing(world, limiters, cost, error):
    """P22: A cost that a function returns is refused like any other; only 0 is free."""
    world.limit(limiters, cost=lambda _: cost)
    with pytest.raises(error):
        world.get()
    assert (world.served, available(limiters)) == (0, 3)


@pytest.mark.parametrize("cost", [0, 0.0, Decimal(0)])
def test_return_zero_is_free(world, limiters, cost):
    """A request whose computed cost is 0 is not limited."""
    world.limit(limiters, cost=lambda _: cost)
    assert world.get().status == 200
    assert len(limiters) == 0


@pytest.mark.parametrize(
    "made", ["text", None, ("text/plain",), ("text/plain", 5), (5, "text"), ("a", "b", "c"), 7]
)
def test_return_no_body_is_a_type_error(world, limiters, made):
    """A body is a content type and a text; nothing stays charged, for it was refused."""
    world.limit(limiters, body=lambda request, problem: made)
    for _ in range(3):
        world.get()
    with pytest.raises(TypeError, match="body must return a content type and a str or bytes"):
        world.get()
    assert (world.served, available(limiters)) == (3, 0)


def test_fail_in_a_body_is_seen(world, limiters):
    """What a body raises is the caller's to see."""
    world.limit(limiters, body=lambda request, problem: 1 / 0)
    for _ in range(3):
        world.get()
    with pytest.raises(ZeroDivisionError):
        world.get()


@pytest.mark.parametrize("kind", ["asgi", "fastapi"])
def test_await_a_key_and_a_cost_where_tasks_serve(limiters, kind):
    """In tasks a key and a cost may be awaited, as when they are looked up."""
    world = WORLDS[kind]()

    async def cost(_):
        return 2

    async def exempt(_):
        return None

    world.limit(limiters, key=a_coroutine, cost=cost)
    assert [world.get(client="elsewhere").status for _ in range(2)] == [200, 429]
    assert available(limiters) == 1
    world.limit(limiters, key=exempt)
    assert world.get().status == 200


@pytest.mark.parametrize("name", ["key", "cost"])
def test_make_wsgi_service_with_a_coroutine_function_is_a_type_error(limiters, name):
    """P44: In threads a coroutine is no key: each is a new one, and would limit nobody."""
    with pytest.raises(TypeError, match=f"{name} must be a plain function here"):
        wsgi.RateLimitMiddleware(None, limiters, **{name: a_coroutine})
    service = WORLDS["wsgi"]()
    service.limit(limiters, **{name: lambda _: a_coroutine()})
    with pytest.raises(TypeError, match=f"{name} must be a plain function here"):
        service.get()
    assert service.served == 0


def test_return_a_future_in_wsgi_is_a_type_error(limiters):
    """What else is to be awaited is no key either."""

    class Later:
        def __await__(self):
            yield

    service = WORLDS["wsgi"]()
    service.limit(limiters, key=lambda _: Later())
    with pytest.raises(TypeError, match="returned a Later to await"):
        service.get()


def test_cancel_a_request_that_waits_gives_its_tokens_back(clock):
    """P11: A request that is cancelled while it waits costs nothing."""
    bucket = TokenBucket(1, 1, clock=clock)
    served = []

    async def app(scope, receive, send):
        served.append(1)

    async def main():
        limited = asgi.RateLimitMiddleware(app, RateLimiter(bucket), block=True)
        await limited(http_scope(), None, None)
        task = asyncio.create_task(limited(http_scope(), None, None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bucket.level.waiting == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bucket.level.waiting == 0

    asyncio.run(main())
    assert served == [1]
    clock.advance(1)
    assert bucket.available_tokens == 1


@pytest.mark.parametrize("kind", ["lifespan", "telemetry"])
def test_pass_what_is_no_request_untouched(limiters, kind):
    """Other scopes than requests and websockets are the application's."""
    seen = []

    async def app(*args):
        seen.append(args)

    scope = {"type": kind}
    limited = asgi.RateLimitMiddleware(app, limiters, key=lambda _: 1 / 0)
    asyncio.run(limited(scope, "receive", "send"))
    assert seen == [(scope, "receive", "send")]


def test_ask_in_many_tasks_and_threads_counts_exactly(limiters):
    """P1: However many requests come at once, as many are served as there are tokens."""
    served = []

    async def app(scope, receive, send):
        served.append(1)
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    async def main():
        limited = asgi.RateLimitMiddleware(app, limiters)
        return await asyncio.gather(*(ask(limited, http_scope()) for _ in range(50)))

    replies = asyncio.run(main())
    assert sorted(reply.status for reply in replies) == [200] * 3 + [429] * 47
    assert len(served) == 3


def test_fix_a_cost_above_the_capacity_is_refused_in_each_request(world):
    """Where a function makes the buckets it is a 429, for another key may have another bucket."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(3, 1), block=False)
    world.limit(limiters, cost=4)
    assert world.get().status == 429
    with pytest.raises(CostExceedsCapacity):
        limiters["10.0.0.1"].acquire(4).__enter__()
