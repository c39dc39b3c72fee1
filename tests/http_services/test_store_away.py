"""Services whose store is away: the fallback decides, and without one it is a 503."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis
import redis.asyncio
from servers import Server, free_port, wire_log
from service_worlds import WORLDS, AsgiWorld, WsgiWorld, ask, http_scope

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket

ONCE = {"retry": None, "socket_connect_timeout": 2}  # tries, for a port at which nobody listens
NAME = "a name that is nobody's business"


def bucket_of(kind, name=NAME, client=None, **options):
    """Return a bucket of a server that is not there, of the kind that the service needs."""
    blocking = kind == "wsgi"
    make_client = redis.Redis if blocking else redis.asyncio.Redis
    make = RedisTokenBucket if blocking else AsyncRedisTokenBucket
    client = client or make_client(port=free_port(), **ONCE)
    return make(client, name, 3, 0.05, **options)


@pytest.fixture(params=WORLDS)
def kind(request):
    return request.param


@pytest.fixture
def world(kind):
    return WORLDS[kind]()


def test_ask_without_fallback_is_a_503(world, kind, caplog):
    """A store that is away is a 503 with problem details, no 500 and no silent pass."""
    world.limit(RateLimiter(bucket_of(kind), block=False))
    replies = [world.get() for _ in range(3)]
    assert [reply.status for reply in replies] == [503] * 3
    assert replies[0].problem["type"] == "about:blank"
    assert replies[0].problem["status"] == 503
    assert replies[0].field("RateLimit") is None
    assert world.served == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_ask_with_an_answer_between_outages_logs_both(world, kind, caplog):
    """P39: A store that refuses is back, so what comes then is another outage."""
    here = TokenBucket(1, 0.001, initial_tokens=0)
    keys = iter(["away", "away", "here", "away"])
    buckets = {"away": bucket_of(kind), "here": here}
    limiters = KeyedRateLimiter(lambda key: buckets[key], block=False)
    world.limit(limiters, key=lambda _: next(keys))
    assert [world.get().status for _ in range(4)] == [503, 503, 429, 503]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_ask_without_fallback_tells_no_name(world, kind, caplog):
    """P26: Neither the answer nor the log names the bucket."""
    limiters = KeyedRateLimiter(lambda key: bucket_of(kind, key), block=False)
    world.limit(limiters, key=lambda _: NAME)
    assert NAME not in str(world.get())
    assert len(caplog.records) == 1
    assert NAME not in caplog.text


def test_replace_the_body_of_a_503(world, kind):
    """A service's own body is told the status."""
    body = lambda request, problem: ("text/plain", str(problem["status"]))  # noqa: E731
    world.limit(RateLimiter(bucket_of(kind), block=False), body=body)
    assert world.get().body == b"503"


@pytest.mark.parametrize(("fallback", "statuses"), [("allow", [200] * 5), ("deny", [429] * 5)])
def test_ask_with_fallback_does_what_it_says(world, kind, fallback, statuses):
    """The bucket's own fallback decides, and nothing is told that is not known."""
    world.limit(RateLimiter(bucket_of(kind, fallback=fallback), block=False))
    replies = [world.get() for _ in range(5)]
    assert [reply.status for reply in replies] == statuses
    assert {reply.field("RateLimit") for reply in replies} == {None}
    assert {reply.field("Retry-After") for reply in replies} <= {None, "1"}


def test_ask_with_a_local_fallback_is_limited_by_it(world, kind, clock):
    """A bucket of this process limits meanwhile, and its levels are told."""
    local = TokenBucket.from_rate("2/minute", clock=clock)
    world.limit(RateLimiter(bucket_of(kind, fallback=local), block=False))
    replies = [world.get() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[0].field("RateLimit") == '"default";r=1;t=30'


def test_dry_run_lets_everybody_pass(world, kind):
    """In a dry run a store that is away refuses nobody either."""
    world.limit(RateLimiter(bucket_of(kind), block=False, dry_run=True))
    assert world.get().status == 200


def test_ask_a_blocking_store_from_a_task_is_a_type_error(clock):
    """A bucket that would block the event loop is not asked there; the error says which to use."""
    for kind in ("asgi", "fastapi"):
        world = WORLDS[kind]()
        world.limit(RateLimiter(bucket_of("wsgi"), block=False))
        with pytest.raises(TypeError, match="use AsyncRedisTokenBucket"):
            world.get()


def test_ask_an_awaited_store_from_a_thread_is_a_type_error():
    """The other way round as well."""
    world = WsgiWorld()
    world.limit(RateLimiter(bucket_of("asgi"), block=False))
    with pytest.raises(TypeError, match=r"RedisTokenBucket with a redis\.Redis client"):
        world.get()


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


async def statuses_of(world, paths):
    return [(await ask(world.limited, http_scope(path))).status for path in paths]


@pytest.mark.server
def test_ask_a_server_from_threads_is_one_command(server):
    """P28: A request is one decision and one round trip; one that does not count has its refund."""
    client = server.client()
    world = WsgiWorld()
    world.limit(RateLimiter(bucket_of("wsgi", "threads", client), block=False))
    assert world.get().status == 200
    with wire_log(server) as seen:
        assert [world.get().status for _ in range(4)] == [200, 200, 429, 429]
    assert len(seen) == 4
    world.limit(RateLimiter(bucket_of("wsgi", "counted", client), block=False), count=bool_of(401))
    with wire_log(server) as seen:
        assert [world.get(path).status for path in ("/200", "/401")] == [200, 401]
    assert len(seen) == 3


def bool_of(counted):
    """Return what counts the answers of a status."""
    return lambda status: status == counted


@pytest.mark.server
def test_ask_a_server_from_tasks_is_one_command(server):
    """P28: The same in tasks."""

    async def main():
        async with server.async_client() as client:
            world = AsgiWorld()
            world.limit(RateLimiter(bucket_of("asgi", "tasks", client), block=False))
            await statuses_of(world, ["/200"])
            with wire_log(server) as seen:
                assert await statuses_of(world, ["/200"] * 4) == [200, 200, 429, 429]
            assert len(seen) == 4
            counting = RateLimiter(bucket_of("asgi", "counting", client), block=False)
            world.limit(counting, count=bool_of(401))
            with wire_log(server) as seen:
                assert await statuses_of(world, ["/200", "/401"]) == [200, 401]
            assert len(seen) == 3

    asyncio.run(main())


@pytest.mark.server
def test_log_each_outage_once(caplog):
    """P39: One warning an outage, and a word when it is over."""
    caplog.set_level(logging.INFO, "rate_limiter.http")
    with Server() as server:
        world = WsgiWorld()
        client = server.client(retry=None)
        limiters = KeyedRateLimiter(lambda key: bucket_of("wsgi", key, client), block=False)
        world.limit(limiters)
        assert world.get().status == 200
        for _ in range(2):
            server.kill()
            assert [world.get().status for _ in range(3)] == [503] * 3
            server.restart()
            assert world.get().status == 200
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
