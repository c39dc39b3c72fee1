"""Buckets on a primary that Sentinel finds, also when it has failed over to another."""

from contextlib import ExitStack, suppress
from functools import partial
from types import SimpleNamespace

import pytest
import redis
from redis_worlds import LIBRARIES, about, name_of, use_every_method
from servers import HOST, Server, command_names, wire_log
from special_servers import Replicated

from rate_limiter import BackendError, BucketGroup

SERVICE = "limits"
WATCHING = {"INFO", "PING", "PUBLISH"}  # what a sentinel sends to its primary, every second


class Sentinel(Server):
    """A sentinel that is quick to find that a primary is gone."""

    def __init__(self, port):
        super().__init__(
            f"sentinel monitor {SERVICE} {HOST} {port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 200",
        )
        admin = self.client()
        with suppress(redis.ResponseError):  # before Redis 7.0 it is not quite as quick
            admin.execute_command("SENTINEL DEBUG", "info-period", 1000, "election-timeout", 50)
        self._ask = lambda what: admin.execute_command(f"SENTINEL {what}", SERVICE)
        self.wait_until(lambda: self._ask("REPLICAS"), "it has found the replica")

    @property
    def primary(self):
        """The port of the primary."""
        return int(self._ask("GET-MASTER-ADDR-BY-NAME")[1])

    def _configure(self, lines, settings):
        super()._configure(lines, settings)
        called = self._folder / "redis-sentinel"  # which is how a server knows that it is one
        called.symlink_to(self._executable)
        self._executable = called

    def _is_up(self):
        if self._process.poll() is None:
            return "+monitor" in self.log and self._answers()
        return super()._is_up()


@pytest.fixture
def watched():
    """Be a primary, its replica and a sentinel: `watched.pair`, `watched.sentinel`."""
    with Replicated() as pair, Sentinel(pair.primary.port) as sentinel:
        yield SimpleNamespace(pair=pair, sentinel=sentinel)


def client_from(sentinel, world, **options):
    """Have a sentinel find the primary for a client of a world's library."""
    options = {"socket_timeout": 5} | options
    found = world.library.sentinel.Sentinel([(HOST, sentinel.port)], **options)
    for asked in found.sentinels:
        world.keep(asked)
    return world.keep(found.master_for(SERVICE, **options))


def test_use_every_method_works_through_sentinel(watched, name):
    """A bucket does the same through a client that Sentinel has led to the primary."""
    for kind in LIBRARIES:
        with kind(watched.pair.primary) as world:
            client = client_from(watched.sentinel, world)

            use_every_method(world, client, f"{name}-{kind.__name__}")

            with wire_log(watched.pair.primary) as commands:
                group = BucketGroup(world.bucket(client, "a"), world.bucket(client, "b"))
                world.run(group.allow())
            asked = [command for command in command_names(commands) if command not in WATCHING]
            assert asked == ["EVALSHA"]
            with pytest.raises(TypeError, match="got 'Sentinel'"):
                world.bucket(world.library.sentinel.Sentinel([]), name)


def test_fail_over_goes_on_where_the_replica_was(watched, name):
    """P31: When the primary has died, buckets fail until there is another, and then go on there."""
    pair, sentinel = watched.pair, watched.sentinel
    with ExitStack() as closing:
        worlds = [closing.enter_context(kind(pair.primary)) for kind in LIBRARIES]
        buckets = [
            world.bucket(client_from(sentinel, world), name_of(type(world))) for world in worlds
        ]
        for world, bucket in zip(worlds, buckets, strict=True):
            assert world.run(bucket.allow(3))
        pair.sync()
        pair.primary.kill()
        for world, bucket in zip(worlds, buckets, strict=True):
            with pytest.raises(BackendError):
                world.run(bucket.allow())

        sentinel.wait_until(lambda: sentinel.primary == pair.replica.port, "it has failed over")
        for world, bucket in zip(worlds, buckets, strict=True):
            sentinel.wait_until(partial(succeeds, world, bucket), "it asks the new primary")
            assert world.run(bucket.available_tokens) == about(6)


def succeeds(world, bucket):
    """Take a token; tell whether there was an answer."""
    try:
        return world.run(bucket.allow())
    except BackendError:
        return False
