"""Buckets for asyncio over one event loop after the other."""

import asyncio
import gc
import tracemalloc  # noqa: F401 - or pytest imports it for the first warning, amid the next one

import pytest
import redis.asyncio
import valkey.asyncio

from rate_limiter import BackendError, RateLimiter
from rate_limiter.redis import AsyncRedisTokenBucket

# What a loop has opened and not closed is a warning when it is collected; that is the client's.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LIBRARIES = {"redis": (redis.asyncio, "Redis"), "valkey": (valkey.asyncio, "Valkey")}


@pytest.fixture(params=LIBRARIES.values(), ids=LIBRARIES)
def library(request):
    """Give the asyncio part of a library, and what its classes begin with."""
    return request.param


@pytest.fixture(autouse=True)
def collected():
    """Have what is not closed collected in the test that left it."""
    yield
    gc.collect()


def over_pool(kind, **options):
    """Return what makes a client over a kind of pool."""

    def make(library, server, _):
        module, name = library
        pool = getattr(module, kind)(host=server.host, port=server.port, **options)
        return getattr(module, name)(connection_pool=pool)

    return make


def of_cluster(library, _, cluster):
    """Make a client of a cluster."""
    module, name = library
    return getattr(module, f"{name}Cluster")(host=cluster.host, port=cluster.port)


CLIENTS = {
    "pool": over_pool("ConnectionPool"),
    "small pool": over_pool("ConnectionPool", max_connections=3),
    "blocking pool": over_pool("BlockingConnectionPool", max_connections=3, timeout=5),
    "cluster": of_cluster,
}


@pytest.mark.parametrize("make_client", CLIENTS.values(), ids=CLIENTS)
def test_run_loop_after_loop_charges_each_call_once(
    redis_server, cluster_server, name, library, make_client
):
    """P15: One bucket serves successive `asyncio.run` calls; none fails, or is charged in vain."""
    client = make_client(library, redis_server, cluster_server)
    bucket = AsyncRedisTokenBucket(client, name, 100, 0.001)
    limiter = RateLimiter(bucket)

    async def use():
        assert await bucket.allow()
        assert await asyncio.gather(*[bucket.allow() for _ in range(3)]) == [True] * 3
        async with limiter.acquire(2):
            pass

    asyncio.run(client.ping())
    for _ in range(4):
        asyncio.run(use())

    assert asyncio.run(level(bucket)) == pytest.approx(100 - 4 * 6, abs=0.1)


async def level(bucket):
    """Return what is in a bucket."""
    return await bucket.available_tokens


def test_leave_a_loop_in_a_wait_goes_on_in_the_next(redis_server, name, library):
    """P15: A loop that ends while calls are under way leaves a bucket that works."""
    client = over_pool("ConnectionPool")(library, redis_server, None)
    bucket = AsyncRedisTokenBucket(client, name, 5, 0.001)

    async def leave():
        assert await bucket.allow(5)
        waiting = asyncio.create_task(bucket.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()

    asyncio.run(leave())
    for _ in range(3):
        assert asyncio.run(level(bucket)) == pytest.approx(0, abs=0.1)
        assert asyncio.run(bucket.allow()) is False


def test_use_what_another_loop_holds_is_a_backend_error(redis_server, name, monkeypatch):
    """P31: If the pool itself cannot be used in a loop, the call fails before it is charged."""
    client = over_pool("ConnectionPool")(LIBRARIES["redis"], redis_server, None)
    bucket = AsyncRedisTokenBucket(client, name, 5, 0.001)

    async def refuse(*_):
        raise RuntimeError("is bound to a different event loop")

    with monkeypatch.context() as patch:
        patch.setattr(client.connection_pool, "get_connection", refuse)
        with pytest.raises(BackendError, match="the client belongs to another event loop"):
            asyncio.run(bucket.allow())

    assert asyncio.run(level(bucket)) == 5
