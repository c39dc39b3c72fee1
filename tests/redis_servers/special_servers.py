"""Servers that are set up in some particular way."""

from contextlib import ExitStack, suppress
from typing import NamedTuple

import redis
from servers import HOST, TIMEOUTS, Server

MEBIBYTE = 2**20


class User(NamedTuple):
    """A user of a server, for ``server.client(**user._asdict())``."""

    username: str
    password: str


class PasswordServer(Server):
    """A server that wants a password."""

    password = "open sesame"  # noqa: S105 - of a server that lives for a test

    def __init__(self) -> None:
        super().__init__(requirepass=f'"{self.password}"')


class AclServer(Server):
    """A server whose users may do different things; the default user may do everything.

    A server asks of every command in a script whether its caller may run it. So there are three:
    who may run scripts of common commands, who may run scripts but nothing from within them, and
    who may not run scripts. The first two are confined to the keys ``rate_limiter:*``.
    """

    limiter = User("limiter", "limiter-word")
    scripts_only = User("scripts-only", "scripts-only-word")
    stranger = User("stranger", "stranger-word")

    def __init__(self) -> None:
        data, scripts = "+@read +@write -@dangerous +time", "+eval +evalsha +script"
        super().__init__(
            self._line(self.limiter, f"~rate_limiter:* -@all {data} {scripts}"),
            self._line(self.scripts_only, f"~rate_limiter:* -@all {scripts}"),
            self._line(self.stranger, "~* -@all +ping"),
        )

    @staticmethod
    def _line(user: User, rules: str) -> str:
        return f"user {user.username} on >{user.password} {rules}"


class SmallServer(Server):
    """A server with little memory, which evicts nothing."""

    def __init__(self) -> None:
        super().__init__(maxmemory=4 * MEBIBYTE, maxmemory_policy="noeviction")
        self._admin = self.client()

    def fill(self) -> None:
        """Have it refuse whatever needs memory; harmless if it does so already."""
        # One small command that needs more than there is: memory is looked at before it runs only.
        with suppress(redis.exceptions.OutOfMemoryError):
            self._admin.setrange("ballast", 4 * MEBIBYTE, "x")

    def free(self) -> None:
        """Have memory for everything again."""
        self._admin.delete("ballast")


class ClusterServer(Server):
    """A cluster of a single node, which has every slot."""

    def __init__(self) -> None:
        super().__init__(cluster_enabled="yes", cluster_announce_ip=HOST)

    def cluster_client(self, **options: object) -> redis.RedisCluster:
        """Connect a client that knows of clusters; it is closed with the server."""
        options = {"host": self.host, "port": self.port} | TIMEOUTS | options
        return self._closing.enter_context(redis.RedisCluster(**options))

    def _settle(self) -> None:
        with self.client() as admin:
            if not int(admin.cluster("INFO")["cluster_slots_assigned"]):  # it remembers its slots
                admin.execute_command("CLUSTER ADDSLOTS", *range(16_384))
            self.wait_until(lambda: self._is_ok(admin), "the state of the cluster is ok")

    @staticmethod
    def _is_ok(admin: redis.Redis) -> bool:
        return admin.cluster("INFO")["cluster_state"] == "ok"


class Replicated:
    """A primary and its replica, which are in sync when they are made."""

    def __init__(self) -> None:
        with ExitStack() as opened:
            # Copied by way of a file it is in sync at once; without, first after up to a second.
            self.primary = opened.enter_context(Server(repl_diskless_sync="no"))
            copied = f"{HOST} {self.primary.port}"
            self.replica = opened.enter_context(Server(replicaof=copied))
            self.sync()
            self._closing = opened.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def sync(self) -> None:
        """Wait until the replica has everything that the primary has."""
        with self.primary.client() as primary, self.replica.client() as replica:
            self.replica.wait_until(lambda: self._are_equal(primary, replica), "it is in sync")

    def cut(self) -> None:
        """Have the replica miss what the primary does from now on."""
        # Frozen instead, it would find everything in its socket when it is thawed.
        with self.replica.client() as replica:
            replica.replicaof(HOST, 1)  # where nobody listens

    def promote(self) -> None:
        """Make the replica a primary of its own, whether or not the other is still alive."""
        with self.replica.client() as replica:
            replica.replicaof("NO", "ONE")

    def close(self) -> None:
        """Close both servers."""
        self._closing.close()

    @staticmethod
    def _are_equal(primary: redis.Redis, replica: redis.Redis) -> bool:
        copy = replica.info("replication")
        ahead = primary.info("replication")["master_repl_offset"]
        return copy.get("master_link_status") == "up" and copy["slave_repl_offset"] == ahead
