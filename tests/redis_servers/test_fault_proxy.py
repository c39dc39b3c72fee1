"""The proxy does to requests what it is told, and nothing else."""

import asyncio
import math

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import wire_log

from rate_limiter.redis.client import pool_arguments

ONCE = {"retry": Retry(NoBackoff(), 0)}
SEEN = {  # by the client, of what the server has run
    "drop_after": "closed by server",
    "truncate": "closed by server",
    "reset": "reset by peer",
}
SCRIPT = "return {redis.call('INCR', KEYS[1]), 'and some more text'}"


@pytest.fixture
def call(redis_server, client, fault_proxy, name):
    """Give what runs the script through the proxy, each time with the same client, and once."""
    sha = client.script_load(SCRIPT)
    through = redis_server.client(port=fault_proxy.port, **ONCE)
    return lambda: through.evalsha(sha, 1, name)[0]


def test_pass_through_changes_nothing(call, fault_proxy):
    """A proxy that was told nothing passes on everything, and hits nothing."""
    assert [call() for _ in range(3)] == [1, 2, 3]
    assert fault_proxy.hits == 0


def test_drop_before_never_reaches_the_server(call, fault_proxy, redis_server, client, name):
    """The client loses its connection, and the server has run nothing."""
    assert call() == 1
    fault_proxy.fail_next("drop_before")
    with wire_log(redis_server) as commands, pytest.raises(redis.ConnectionError):
        call()

    assert commands == []
    assert client.get(name) == b"1"
    assert (call(), fault_proxy.hits) == (2, 1)


@pytest.mark.parametrize("kind", SEEN)
def test_drop_after_has_reached_the_server(call, fault_proxy, client, name, kind):
    """The client gets no whole reply, and loses its connection, but the server has run it."""
    fault_proxy.fail_next(kind)
    with pytest.raises(redis.ConnectionError, match=SEEN[kind]):
        call()

    assert client.get(name) == b"1"
    assert (call(), fault_proxy.hits) == (2, 1)


def test_truncate_delivers_the_first_half(redis_server, fault_proxy, client, name):
    """A client that reads what there is gets half of the reply's bytes."""
    client.set(name, "whole reply")
    fault_proxy.fail_next("truncate", match=b"GET")
    pool = redis_server.client(port=fault_proxy.port).connection_pool
    connection = pool.get_connection(*pool_arguments(pool))
    connection.send_command("GET", name)

    assert connection._sock.recv(1000) == b"$11\r\nwhol"
    assert connection._sock.recv(1000) == b""
    connection.disconnect()


def test_delay_until_released_delivers_the_reply(call, fault_proxy, client, name, in_background):
    """A delayed reply is late, but the server has run the request; release delivers it."""
    fault_proxy.fail_next("delay")
    reply = in_background(call)
    fault_proxy.wait_for_hits(1)
    assert client.get(name) == b"1"
    assert not reply.done()
    fault_proxy.release()

    assert reply.result(5) == 1
    assert call() == 2


def test_delay_longer_than_the_client_waits_is_a_timeout(redis_server, fault_proxy, client, name):
    """A client that does not wait so long sees a timeout, and the server has run the request."""
    through = redis_server.client(port=fault_proxy.port, socket_timeout=0.2, **ONCE)
    through.ping()
    fault_proxy.fail_next("delay", match=b"INCR")
    with pytest.raises(redis.TimeoutError):
        through.incr(name)

    assert client.get(name) == b"1"
    assert through.get(name) == b"1"


def test_delay_of_some_seconds_ends_by_itself(call, fault_proxy):
    """A reply that nobody releases comes after its time."""
    fault_proxy.fail_next("delay", seconds=0.01)

    assert call() == 1


def test_release_leaves_later_delays_alone(call, fault_proxy, in_background):
    """Only what is delayed already is released."""
    fault_proxy.fail_next("delay", count=2)
    fault_proxy.release()
    for hits in (1, 2):
        reply = in_background(call)
        fault_proxy.wait_for_hits(hits)
        assert not reply.done()
        fault_proxy.release()
        assert reply.result(5) == hits


def test_fail_next_counts_and_queues(call, fault_proxy):
    """Faults come in the order they were told, each as often as told, and then no more."""
    fault_proxy.fail_next("drop_after", count=2)
    fault_proxy.fail_next("drop_before")
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            call()

    assert (call(), fault_proxy.hits) == (3, 3)


def test_fail_next_for_ever_lasts_until_cleared(call, fault_proxy):
    """A fault without end is over when it is cleared."""
    fault_proxy.fail_next("drop_before", count=math.inf)
    for _ in range(10):
        with pytest.raises(redis.ConnectionError):
            call()
    fault_proxy.clear()

    assert (call(), fault_proxy.hits) == (1, 10)


def test_fail_next_spares_what_does_not_match(redis_server, fault_proxy, name):
    """Handshakes and other commands pass, and leave the fault for what matches."""
    fault_proxy.fail_next("reset", match=b"EVALSHA")
    through = redis_server.client(port=fault_proxy.port, client_name="somebody", **ONCE)

    assert through.set(name, 1)
    assert fault_proxy.hits == 0
    with pytest.raises(redis.ConnectionError):
        through.evalsha("sha", 0)


def test_fail_next_hits_the_one_among_many_at_once(redis_server, fault_proxy, name):
    """Of requests in one pipeline the server runs all up to the one hit, and none behind it."""
    through = redis_server.client(port=fault_proxy.port, **ONCE)
    through.ping()
    fault_proxy.fail_next("drop_after", match=b"APPEND")
    with through.pipeline(transaction=False) as pipeline:
        pipeline.set(name, 1).append(name, 2).append(name, 3)
        with pytest.raises(redis.ConnectionError):
            pipeline.execute()

    assert through.get(name) == b"12"


def test_fail_next_of_an_unknown_kind_is_refused(fault_proxy):
    """A kind that does not exist is an error at once."""
    with pytest.raises(ValueError, match="'explode'"):
        fault_proxy.fail_next("explode")


def test_wait_for_hits_that_do_not_come_ends(fault_proxy):
    """Who waits for a hit in vain is told how many there were."""
    with pytest.raises(TimeoutError, match="0 hits instead of 1"):
        fault_proxy.wait_for_hits(1, seconds=0.01)


def test_async_client_sees_the_same_faults(redis_server, fault_proxy, name):
    """Clients for asyncio lose their connection as others do."""
    fault_proxy.fail_next("drop_after", match=b"INCR")

    async def main():
        async with redis_server.async_client(port=fault_proxy.port, **ONCE) as through:
            with pytest.raises(redis.ConnectionError):
                await through.incr(name)
            return await through.get(name)

    assert asyncio.run(main()) == b"1"
