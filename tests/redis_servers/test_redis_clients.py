"""Buckets work through whichever client the caller has, and tell who has the wrong one."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from redis_worlds import LIBRARIES, WORLDS, Tasks, Threads, about, name_of, use_every_method
from servers import HOST, Server

from rate_limiter import BackendError, BucketGroup, RateLimiter


def with_options(**options):
    """Return what connects a client with these options."""
    return lambda world: world.keep(world.make_client(**options))


def with_pool(kind, **options):
    """Return what connects a client over a pool of the caller's own."""

    def connect(world):
        pool = getattr(world.library, kind)(host=HOST, port=world.server.port, **options)
        return world.keep(world.library_type("")(connection_pool=pool))

    return connect


def with_url(world):
    """Connect a client by its URL."""
    return world.keep(world.library.from_url(world.server.url))


def with_socket(world):
    """Connect a client to a socket in the file system."""
    return world.keep(world.library_type("")(unix_socket_path=world.server.socket))


def with_class_of_its_own(world):
    """Connect a client of a class that the caller has derived."""
    kind = type("Own", (world.library_type(""),), {})
    return world.keep(kind(port=world.server.port))


def with_health_checks(world):
    """Connect a client that asks before each command whether the server is there."""
    client = world.client(health_check_interval=3600)
    for connection in client.connection_pool._available_connections:
        connection.health_check_interval = 1e-9  # so short from the first, it upsets the handshake
    return client


CLIENTS = {
    "RESP2": with_options(protocol=2),
    "RESP3": with_options(protocol=3),
    "decoding": with_options(protocol=2, decode_responses=True),
    "decoding RESP3": with_options(protocol=3, decode_responses=True),
    "Latin-1": with_options(encoding="latin-1", decode_responses=True),
    "UTF-16": with_options(protocol=2, encoding="utf-16", decode_responses=True),
    "single connection": with_options(single_connection_client=True),
    "other database": with_options(db=3),
    "health checks": with_health_checks,
    "class of its own": with_class_of_its_own,
    "URL": with_url,
    "Unix socket": with_socket,
    "pool": with_pool("ConnectionPool", max_connections=1),
    "blocking pool": with_pool("BlockingConnectionPool", max_connections=1, timeout=1),
}


@pytest.fixture(scope="module")
def socket_server(tmp_path_factory):
    """Listen at a socket in the file system as well: `socket_server.socket`."""
    socket = str(tmp_path_factory.mktemp("socket") / "s")
    with Server(unixsocket=socket) as server:
        server.socket = socket
        yield server


@pytest.fixture(params=LIBRARIES, ids=name_of)
def world(request, socket_server):
    """Be a world with a library."""
    with request.param(socket_server) as world:
        yield world


@pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS)
def test_use_every_method_works_through_any_client(world, connect, name):
    """A bucket does the same through a client of any library, protocol, encoding, pool and way."""
    use_every_method(world, connect(world), name)


@pytest.mark.parametrize("kind", WORLDS, ids=name_of)
def test_use_every_method_works_with_a_password(kind, password_server, name):
    """A client that authenticates does so for the bucket as well."""
    with kind(password_server) as world:
        use_every_method(world, world.client(password=password_server.password), name)


def test_share_a_name_over_all_clients_is_one_bucket(socket_server, name):
    """Clients of both libraries, whatever their encodings, take from the same tokens."""
    different = ["RESP2", "decoding RESP3", "UTF-16", "Unix socket", "blocking pool"]
    taken = []
    for kind in LIBRARIES:
        with kind(socket_server) as world:
            for connect in map(CLIENTS.get, different):
                bucket = world.bucket(connect(world), name, 7)
                taken.append(world.run(bucket.allow()))

    assert taken == [True] * 7 + [False] * 13


@pytest.mark.parametrize("kind", ["ConnectionPool", "BlockingConnectionPool"])
def test_refuse_and_fail_leave_the_pool_as_it_was(world, kind, name):
    """P32: Neither a refusal nor an error keeps the only connection of a pool, or spoils it."""
    client = with_pool(kind, max_connections=1)(world)
    bucket = world.bucket(client, name)
    world.run(client.set(f"rate_limiter:{name}-corrupt", "what is this?"))
    corrupt = world.bucket(client, f"{name}-corrupt")
    before = world.run(client.client_id())

    for _ in range(3):
        assert world.run(bucket.allow(0.5))
        assert not world.run(bucket.allow(9.9))
        with pytest.raises(BackendError):
            world.run(corrupt.allow())

    assert world.run(client.client_id()) == before
    assert world.run(bucket.available_tokens) == about(8.5)


async def evalsha(*args):
    """Be a coroutine function, as a client of something else has them."""


NO_CLIENTS = {
    "pipeline": lambda client: client.pipeline(),
    "transaction": lambda client: client.pipeline(transaction=True),
    "PubSub": lambda client: client.pubsub(),
    "pool": lambda client: client.connection_pool,
    "class": type,
    "script": lambda client: client.register_script("return 1"),
    "None": lambda client: None,
    "URL": lambda client: "redis://localhost:6379",
    "client of something else": lambda client: SimpleNamespace(get=len, evalsha=evalsha),
}


@pytest.mark.parametrize("make", NO_CLIENTS.values(), ids=NO_CLIENTS)
def test_make_bucket_with_what_is_no_client_says_what_it_needs(world, make):
    """P22: What is no client is refused when the bucket is made, and the right class is named."""
    bucket = world.bucket_type
    wanted = {
        "RedisTokenBucket": "redis.Redis or redis.RedisCluster",
        "AsyncRedisTokenBucket": "redis.asyncio.Redis or RedisCluster",
    }[bucket.__name__]
    no_client = make(world.client())

    with pytest.raises(TypeError) as refusal:
        bucket(no_client, "name", 10, 1)

    needs = f"{bucket.__name__} needs a client such as {wanted}, got "
    assert str(refusal.value) == f"{needs}'{type(no_client).__name__}'"


@pytest.mark.parametrize("make", [lambda made: made, lambda made: made.from_rate])
def test_make_bucket_with_a_client_of_the_other_world_names_both_ways_out(world, make):
    """A client that cannot be awaited, or must be, is refused with the other bucket's name."""
    other, own = world.other_type.__name__, world.bucket_type.__name__
    terms = (10, 1) if make(world.other_type) is world.other_type else ("10/second",)

    with pytest.raises(TypeError, match=rf"^{other} needs an? \w+ client.* use {own}$"):
        make(world.other_type)(world.client(), "name", *terms)


async def use_async_with(limiter):
    """Enter a permit as tasks do."""
    async with limiter.acquire(2):
        pass


async def use_async_with_limiter(limiter):
    """Enter a limiter as tasks do."""
    async with limiter:
        pass


async def use_await(limiter):
    """Enter a permit by awaiting it."""
    await limiter.acquire()


async def use_coroutine_function(limiter):
    """Call a decorated coroutine function."""
    await limiter(evalsha)()


async def use_async_generator(limiter):
    """Iterate over what a decorated function generates."""

    @limiter.cost(lambda count: count)
    async def count_to(count):
        for number in range(count):
            yield number

    async for _ in count_to(2):
        pass


async def use_wait_async(limiter):
    """Wait as tasks do."""
    await limiter.bucket.wait_async(timeout=5)


AWAITED = [
    *(use_async_with, use_async_with_limiter, use_await, use_coroutine_function),
    *(use_async_generator, use_wait_async),
]


@pytest.mark.parametrize("use", AWAITED)
@pytest.mark.parametrize("grouped", [False, True])
def test_await_a_blocking_bucket_says_what_to_use_and_takes_nothing(
    redis_server, client, name, grouped, use
):
    """P16: What would block the loop is refused, whether or not the tokens are there."""
    bucket = Threads(redis_server).bucket(client, name)
    asked = BucketGroup(bucket) if grouped else bucket
    limiter = RateLimiter(asked)

    for level in (10, 0):
        message = "would block the event loop; use AsyncRedisTokenBucket with a redis.asyncio"
        with pytest.raises(TypeError, match=message):
            asyncio.run(use(limiter))
        assert bucket.available_tokens == about(level)
        bucket.allow(10)


def use_with(limiter):
    """Enter a permit as threads do."""
    with limiter.acquire(2):
        pass


def use_with_limiter(limiter):
    """Enter a limiter as threads do."""
    with limiter:
        pass


def use_function(limiter):
    """Call a decorated function."""
    limiter(len)("abc")


def use_function_of_a_cost(limiter):
    """Call a decorated function whose arguments say what it costs."""
    limiter.cost(len)(len)("abc")


def use_method(limiter):
    """Call a decorated method."""

    class Owner:
        @limiter
        def call(self):
            """Do nothing."""

    Owner().call()


def use_generator(limiter):
    """Iterate over what a decorated function generates."""

    @limiter
    def count_to(count):
        yield from range(count)

    list(count_to(2))


BLOCKING = [
    *(use_with, use_with_limiter, use_function, use_function_of_a_cost),
    *(use_method, use_generator),
]


@pytest.mark.parametrize("use", BLOCKING)
@pytest.mark.parametrize("grouped", [False, True])
def test_block_on_a_bucket_for_asyncio_says_what_to_use_and_takes_nothing(
    redis_server, name, grouped, use
):
    """P16: What cannot be awaited is refused, whether or not a loop is running."""
    with Tasks(redis_server) as world:
        bucket = world.bucket(world.client(), name)
        limiter = RateLimiter(BucketGroup(bucket) if grouped else bucket)

        async def within_a_task():
            use(limiter)

        message = "answers only in asyncio tasks: use 'async with', 'await' or a coroutine function"
        message = re.escape(f"{message}, or RedisTokenBucket with a redis.Redis client")
        for ask in (lambda: use(limiter), lambda: world.run(within_a_task())):
            with pytest.raises(TypeError, match=message):
                ask()
        assert world.run(bucket.available_tokens) == 10
