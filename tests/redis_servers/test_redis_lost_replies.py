"""Replies that never come: the tokens are charged once, and nobody is let through for them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis
import redis.asyncio
from fault_proxy import FaultProxy
from redis.backoff import ExponentialBackoff
from redis_worlds import LIBRARIES, SLOW, WORLDS, Tasks, about, name_of
from servers import HOST, TIMEOUTS
from special_servers import ClusterServer

from rate_limiter import BackendError, BucketGroup, RateLimiter
from rate_limiter.redis import RedisTokenBucket

LOST = ["drop_after", "reset", "truncate"]
HASTE = 0.2  # seconds that a client waits for a reply that does not come in time


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


class Lossy:
    """A way to the server on which messages get lost, and another one to see what it has done."""

    def __init__(self, world, proxy, client, name):
        self.world, self.proxy = world, proxy
        self._direct, self._name = client, name

    def client(self, **options):
        """Connect a client; by itself it repeats commands that fail, as eagerly as it can."""
        return self.world.client(port=self.proxy.port, **(options or retrying(self.world)))

    def bucket(self, client=None, part="", capacity=10):
        """Make a bucket on a server that knows the script."""
        client = self.client() if client is None else client
        bucket = self.world.bucket(client, f"{self._name}{part}", capacity)
        self.world.run(bucket.available_tokens)
        return bucket

    def direct(self, part="", capacity=10):
        """Make the same bucket, on a connection that loses nothing."""
        return RedisTokenBucket(self._direct, f"{self._name}{part}", capacity, SLOW)

    def lose(self, kind, call, *args):
        """Lose the reply to a call, or the call; see to it that it fails, and is made once."""
        before = self.proxy.hits
        self.proxy.fail_next(kind)
        with pytest.raises(BackendError, match=r"no answer") as failure:
            call(*args)
        assert type(failure.value.__cause__).__name__ in {"ConnectionError", "TimeoutError"}
        assert self.proxy.hits == before + 1


@pytest.fixture
def lossy(world, fault_proxy, client, name):
    """Be able to lose messages."""
    return Lossy(world, fault_proxy, client, name)


def retrying(world):
    """Return what has a client repeat commands that fail, as eagerly as it can."""
    retry = redis.asyncio.retry.Retry if isinstance(world, Tasks) else redis.retry.Retry
    return {
        "retry": retry(ExponentialBackoff(cap=0.01, base=0.001), 3),
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError, OSError],
    }


CLIENTS = {
    "three times": retrying,
    "three times over RESP2": lambda world: retrying(world) | {"protocol": 2},
}
if int(redis.__version__.split(".")[0]) > 5:  # which have tries of their own
    CLIENTS["by default"] = lambda world: {"db": 0}


@pytest.fixture(params=CLIENTS.values(), ids=CLIENTS)
def any_client(request, lossy):
    """Be a client that may repeat commands that fail."""
    return lossy.client(**request.param(lossy.world))


def test_lose_the_reply_to_a_command_has_these_clients_repeat_it(lossy, any_client, name):
    """P29: What follows would be charged twice, if it were sent as clients send commands."""
    lossy.proxy.fail_next("drop_after", match=b"INCR")

    assert lossy.world.run(any_client.incr(name)) == 2

    lossy.world.run(any_client.delete(name))


def group_of(world, bucket):
    """Return a group of a bucket and another one."""
    other = world.bucket(bucket._source, b"other-" + bucket._limits.limit.key, 20)
    return BucketGroup(bucket, other=other)


TAKE = {
    "allow": lambda world, bucket: world.run(bucket.allow(3)),
    "try_consume": lambda world, bucket: world.run(bucket.try_consume(3)),
    "wait": lambda world, bucket: world.run(bucket.wait(3)),
    "reserve": lambda world, bucket: world.run(bucket.reserve(3)),
    "acquire": lambda world, bucket: world.enter(RateLimiter(bucket).acquire(3)),
    "acquire or refuse": lambda world, bucket: world.enter(
        RateLimiter(bucket, block=False).acquire(3)
    ),
    "group allow": lambda world, bucket: world.run(group_of(world, bucket).allow(3)),
    "group acquire": lambda world, bucket: world.enter(
        RateLimiter(group_of(world, bucket)).acquire(3)
    ),
}


@pytest.mark.parametrize("kind", LOST)
def test_lose_the_reply_raises_and_charges_once(lossy, any_client, kind):
    """P29: However often the client repeats its own commands, a call's tokens are charged once."""
    for way, take in TAKE.items():
        bucket = lossy.bucket(any_client, way)

        lossy.lose(kind, take, lossy.world, bucket)
        assert (way, lossy.direct(way).available_tokens) == (way, about(7))

        take(lossy.world, bucket)
        assert (way, lossy.direct(way).available_tokens) == (way, about(4))


def test_lose_the_call_raises_and_charges_nothing(lossy, any_client):
    """P29: What the server never got is not charged, nor sent again."""
    for way, take in TAKE.items():
        bucket = lossy.bucket(any_client, way)

        lossy.lose("drop_before", take, lossy.world, bucket)

        assert (way, lossy.direct(way).available_tokens) == (way, 10)


@pytest.mark.parametrize("kind", [*LOST, "drop_before"])
def test_lose_the_reply_runs_nothing_that_was_limited(lossy, kind):
    """P29: A function or a block whose tokens are in doubt is not run."""
    ran, world, limiter = [], lossy.world, RateLimiter(lossy.bucket())
    function, generator = limiter(world.function(ran.append)), limiter(world.generator())

    lossy.lose(kind, lambda: world.run(function("function")))
    lossy.lose(kind, lambda: ran.extend(world.collect(generator("generator"))))
    lossy.lose(kind, lambda: ran.append(world.enter(limiter)))

    assert not ran


@pytest.mark.parametrize("kind", LOST)
def test_lose_the_reply_of_a_place_in_line_takes_one_place(lossy, kind):
    """P29: Who is to wait and does not get to know has one place in line, which nobody uses."""
    bucket = lossy.bucket()
    lossy.world.run(bucket.allow(10))

    lossy.lose(kind, lambda: lossy.world.run(bucket.wait(5)))

    assert lossy.direct().retry_after() == pytest.approx(6000, abs=50)


@pytest.mark.parametrize("way", ["allow", "group acquire"])
def test_get_the_reply_too_late_raises_and_gives_it_to_nobody_else(lossy, way):
    """P29, P32: A reply beyond the timeout is as good as lost, and answers no later call."""
    world, client = lossy.world, lossy.client()
    bucket = lossy.bucket(client)
    for connection in client.connection_pool._available_connections:
        connection.socket_timeout = HASTE
        world.run(connection.disconnect())  # it sets its timeout when it connects

    lossy.lose("delay", TAKE[way], world, bucket)
    assert lossy.direct().available_tokens == about(7)
    lossy.proxy.release()

    assert world.run(bucket.retry_after(8)) == pytest.approx(1000, rel=0.05)
    assert world.run(bucket.available_tokens) == about(7)
    assert world.run(bucket.allow(7)) is True
    assert world.run(bucket.allow(7)) is False


def test_lose_the_reply_after_the_scripts_were_flushed_charges_once(make_server, name):
    """P29: Neither of the two calls that load the script is repeated."""
    server = make_server()
    admin = server.client()
    with FaultProxy(server.port) as proxy:
        for kind in WORLDS:
            with kind(server) as world:
                bucket = world.bucket(world.client(port=proxy.port, **retrying(world)), name)
                for match, left in ((b"EVALSHA", 10), (b"\r\nEVAL\r\n", 7)):
                    admin.flushall()
                    admin.script_flush()
                    proxy.fail_next("drop_after", match=match)
                    with pytest.raises(BackendError):
                        world.run(bucket.allow(3))
                    assert world.run(bucket.available_tokens) == about(left)


@pytest.mark.parametrize("kind", WORLDS, ids=name_of)
def test_freeze_the_server_after_a_call_charges_it_once(make_server, name, kind):
    """P29: What a frozen server finds in its socket is charged when it goes on, and once."""
    server = make_server()
    with kind(server) as world:
        client = world.client(socket_timeout=HASTE, retry=None)
        bucket = world.bucket(client, name)
        world.run(bucket.available_tokens)
        server.freeze()
        for _ in range(2):
            with pytest.raises(BackendError, match=r"no answer \(TimeoutError\)$"):
                world.run(bucket.allow(3))
        server.thaw()

        assert RedisTokenBucket(server.client(), name, 10, SLOW).available_tokens == about(7)


def settled(world, bucket, tokens, actual):
    """Take tokens, and return what settles them."""
    permit = world.enter(RateLimiter(bucket).acquire(tokens))
    return lambda: world.run(permit.settle(actual))


def settled_reservation(world, bucket, tokens, actual):
    """Reserve tokens, and return what settles them."""
    reservation = world.run(bucket.reserve(tokens))
    return lambda: world.run(reservation.settle(actual))


def refunded(world, bucket, tokens):
    """Take tokens, and return what gives them back."""
    permit = world.enter(RateLimiter(bucket).acquire(tokens))
    return lambda: world.run(permit.refund())


def cancelled(world, bucket, tokens):
    """Reserve tokens, and return what gives them back."""
    reservation = world.run(bucket.reserve(tokens))
    return lambda: world.run(reservation.cancel())


CHARGING = {
    "permit.settle": lambda world, bucket: settled(world, bucket, 1, 3),
    "reservation.settle": lambda world, bucket: settled_reservation(world, bucket, 1, 3),
}
GIVING_BACK = {
    "permit.settle": lambda world, bucket: settled(world, bucket, 3, 0),
    "permit.refund": lambda world, bucket: refunded(world, bucket, 3),
    "reservation.settle": lambda world, bucket: settled_reservation(world, bucket, 3, 0),
    "reservation.cancel": lambda world, bucket: cancelled(world, bucket, 3),
}


@pytest.mark.parametrize("hold", CHARGING.values(), ids=CHARGING)
def test_lose_the_reply_to_a_charge_and_repeat_it_charges_twice_at_most(lossy, hold):
    """P29: Who repeats a charge that failed pays twice at the worst, and never less than once."""
    correct = hold(lossy.world, lossy.bucket())
    assert lossy.direct().available_tokens == about(9)

    lossy.lose("drop_after", correct)
    assert lossy.direct().available_tokens == about(7)
    correct()

    assert 4.9 < lossy.direct().available_tokens < 7.1


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
@pytest.mark.parametrize("hold", GIVING_BACK.values(), ids=GIVING_BACK)
def test_lose_the_reply_to_a_return_and_repeat_it_gives_back_once_at_most(lossy, hold, kind):
    """P29: Who repeats a return that failed gets its tokens back once, never those of others."""
    bucket = lossy.bucket()
    assert lossy.world.run(bucket.allow(6))
    correct = hold(lossy.world, bucket)
    assert lossy.direct().available_tokens == about(1)

    lossy.lose(kind, correct)
    correct()
    correct()

    assert 0.9 < lossy.direct().available_tokens < 4.1


def test_lose_the_reply_to_leaving_the_line_and_repeat_it_moves_up_once(lossy):
    """P29: A place in line is given back once, however often its holder has to ask."""
    run, bucket = lossy.world.run, lossy.bucket()
    run(bucket.allow(10))
    places = [run(bucket.reserve(2)) for _ in range(3)]

    lossy.lose("drop_after", lambda: run(places[2].cancel()))
    run(places[2].cancel())

    assert lossy.direct().retry_after() == pytest.approx(5000, abs=50)


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_lose_the_reply_to_a_charge_of_a_bucket_not_paid_yet_gives_back_no_more(lossy, kind):
    """P29: What may not have been charged to a bucket of a group is not given back there."""
    run, client = lossy.world.run, lossy.client()
    buckets = {part: lossy.bucket(client, part) for part in ("a", "b")}
    assert run(buckets["b"].allow(6))
    permit = lossy.world.enter(RateLimiter(BucketGroup(**buckets)).acquire({"a": 1}))

    lossy.lose(kind, lambda: run(permit.settle({"b": 3})))
    run(permit.settle({"b": 0}))

    assert lossy.direct("b").available_tokens < 4.1
    assert lossy.direct("a").available_tokens == about(9)


def ask_many(world, buckets):
    """Take a token from each bucket, all at once; return how many were let through and failed."""

    def ask(bucket):
        try:
            return bucket.allow()
        except BackendError:
            return None

    async def ask_in_tasks():
        answers = await asyncio.gather(*(b.allow() for b in buckets), return_exceptions=True)
        return [None if isinstance(answer, BackendError) else answer for answer in answers]

    if isinstance(world, Tasks):
        answers = world.run(ask_in_tasks())
    else:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, buckets))
    return answers.count(True), answers.count(None)


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_lose_some_of_many_replies_keeps_the_account(lossy, kind):
    """P29: Among many callers at once as well, each lost reply costs its own token, no other."""
    bucket = lossy.bucket(capacity=1000)
    lossy.world.run(bucket.allow())
    lossy.proxy.fail_next(kind, 20)

    answers = ask_many(lossy.world, [bucket] * 100)

    assert (*answers, lossy.proxy.hits) == (80, 20, 20)
    charged = 81 if kind == "drop_before" else 101
    assert lossy.direct(capacity=1000).available_tokens == about(1000 - charged)


@pytest.mark.parametrize("kind", LIBRARIES, ids=name_of)
@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
@pytest.mark.parametrize("which", ["redis_server", "cluster_server"])
def test_lose_the_reply_through_any_library_charges_once(request, name, kind, fault, which):
    """P29: No client of either library repeats a call, not those of a cluster either."""
    server = request.getfixturevalue(which)
    with FaultProxy(server.port) as proxy, kind(server) as world:
        bucket = world.bucket(world.keep(connect_by(world, proxy)), name)
        world.run(bucket.available_tokens)
        proxy.fail_next(fault)

        with pytest.raises(BackendError, match=r"no answer"):
            world.run(bucket.allow(3))

        assert proxy.hits == 1
        left = 10 if fault == "drop_before" else 7
        with server.client() as direct:
            assert RedisTokenBucket(direct, name, 10, SLOW).available_tokens == about(left)
        with suppress(BackendError):  # valkey-py forgets the only node of a cluster when it fails
            assert world.run(bucket.available_tokens) == about(left)


def connect_by(world, proxy):
    """Make a client of a world's library, of a cluster if there is one."""
    clustered = isinstance(world.server, ClusterServer)
    library, end = world.library, "Cluster" if clustered else ""
    connect = getattr(library, f"Valkey{end}", None) or getattr(library, f"Redis{end}")
    remap = {"address_remap": lambda _: (HOST, proxy.port)} if clustered else {}
    return connect(host=HOST, port=proxy.port, **TIMEOUTS, **remap)
