"""The proxy passes on whole messages, and ends its connections when either side does."""

import io
import threading

import pytest
import redis
from fault_proxy import FaultProxy, read_message
from redis.backoff import NoBackoff
from redis.retry import Retry

ONCE = {"retry": Retry(NoBackoff(), 0)}


def test_pass_through_takes_long_and_many_messages(redis_server, fault_proxy, name):
    """Requests and replies longer than any buffer, and many at once, come through whole."""
    through = redis_server.client(port=fault_proxy.port)
    long = "x\r\n" * 500_000

    with through.pipeline() as pipeline:
        pipeline.set(name, long).get(name).rpush(name + "s", *range(1000)).lrange(name + "s", 0, -1)
        _, got, _, numbers = pipeline.execute()

    assert got == long.encode()
    assert [int(number) for number in numbers] == list(range(1000))


def test_pass_through_takes_both_protocols_and_messages_unasked(
    redis_server, fault_proxy, client, name
):
    """Published messages, which are no replies, come through in RESP 2 and in RESP 3."""
    for protocol in (2, 3):
        through = redis_server.client(port=fault_proxy.port, protocol=protocol)
        with through.pubsub(ignore_subscribe_messages=True) as heard:
            heard.subscribe(name)
            heard.get_message(timeout=5)
            client.publish(name, protocol)

            assert heard.get_message(timeout=5)["data"] == str(protocol).encode()


def test_server_that_dies_ends_the_connections(make_server):
    """A client behind the proxy loses its connection with the server, and gets it back with it."""
    server = make_server()
    with FaultProxy(server.port) as proxy:
        through = server.client(port=proxy.port, **ONCE)
        through.ping()
        server.kill()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                through.ping()
        server.restart()
        assert through.ping()


def test_close_while_clients_are_connected_leaves_no_thread(redis_server, in_background):
    """A proxy that is closed ends idle and delayed connections, and all its threads."""
    before = set(threading.enumerate())
    with FaultProxy(redis_server.port) as proxy:
        clients = [redis_server.client(port=proxy.port, **ONCE) for _ in range(3)]
        for client in clients:
            client.ping()
        proxy.fail_next("delay", match=b"ECHO")
        reply = in_background(clients[0].echo, "late")
        proxy.wait_for_hits(1)

    with pytest.raises(redis.ConnectionError):
        reply.result(5)
    assert {thread for thread in threading.enumerate() if "Pool" not in thread.name} <= before


@pytest.mark.parametrize(
    "message",
    [
        b"+OK\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"_\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
        b"%1\r\n+key\r\n~1\r\n#t\r\n",
        b">2\r\n+message\r\n=7\r\ntxt:abc\r\n",
        b"|1\r\n+key\r\n+value\r\n:1\r\n",
    ],
)
def test_read_message_reads_one_and_no_more(message):
    """Messages of any type are read to their end, and an unfinished line is the end."""
    stream = io.BytesIO(message + b"+next\r\n+unfinished")

    assert [read_message(stream) for _ in range(3)] == [message, b"+next\r\n", b""]
