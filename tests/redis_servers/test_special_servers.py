"""The servers of particular kinds refuse and allow what they should."""

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.retry import Retry
from servers import command_names, wire_log

KEY = "rate_limiter:bucket"
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('TIME')[1]"


@pytest.fixture
def act_as(acl_server):
    """Connect to the server as one of its users."""
    return lambda user: acl_server.client(**user._asdict())


def test_password_server_answers_only_who_knows_the_password(password_server):
    """Commands need the password, and a wrong one is refused."""
    assert password_server.client(password=password_server.password).ping()
    for other in (None, "wrong"):
        with pytest.raises(redis.AuthenticationError):
            password_server.client(password=other, retry=Retry(NoBackoff(), 0)).ping()


def test_wire_log_of_a_password_server_takes_the_password(password_server):
    """The helper that looks on can be given what it needs to connect."""
    client = password_server.client(password=password_server.password)
    client.ping()
    with wire_log(password_server, password=password_server.password) as commands:
        client.get("key")

    assert command_names(commands) == ["GET"]


def test_acl_server_lets_the_limiter_run_scripts_on_its_keys(act_as, acl_server):
    """The limiter may load and run scripts that read, write and tell the time."""
    limiter = act_as(acl_server.limiter)
    sha = limiter.script_load(SCRIPT)

    assert int(limiter.evalsha(sha, 1, KEY, 1)) > 0
    assert int(limiter.eval(SCRIPT, 1, KEY, 1)) > 0


@pytest.mark.parametrize("user", ["limiter", "scripts_only"])
def test_acl_server_refuses_scripts_on_other_keys(act_as, acl_server, user):
    """Keys that do not begin with the prefix are nobody's but the default user's."""
    client = act_as(getattr(acl_server, user))

    with pytest.raises(NoPermissionError):
        client.eval("return 1", 1, "other:bucket")
    assert client.eval("return 1", 1, KEY) == 1


def test_acl_server_asks_for_each_command_in_a_script(act_as, acl_server):
    """Who may only run scripts may not run commands from within them."""
    scripts_only = act_as(acl_server.scripts_only)

    with pytest.raises(ResponseError, match=r"can't run this command|ACL failure in script"):
        scripts_only.eval(SCRIPT, 1, KEY, 1)
    with pytest.raises(NoPermissionError):
        scripts_only.get(KEY)


def test_acl_server_lets_the_stranger_run_no_scripts(act_as, acl_server):
    """The stranger may say hello, but not run, call or load scripts; none shows on the wire."""
    stranger = act_as(acl_server.stranger)
    assert stranger.ping()

    with wire_log(acl_server) as commands:
        for call in (stranger.eval, stranger.evalsha):
            with pytest.raises(NoPermissionError):
                call("return 1", 1, KEY)
        with pytest.raises(NoPermissionError):
            stranger.script_load("return 1")
    assert commands == []


@pytest.mark.parametrize("time", ["first", "second"])
def test_small_server_refuses_to_write_when_full(small_server, time):
    """A full server refuses what needs memory, but still reads, and is free again for each test."""
    client = small_server.client()
    client.set("key", time)
    small_server.fill()
    small_server.fill()  # changes nothing

    with pytest.raises(OutOfMemoryError):
        client.set("key", "more")
    assert client.get("key") == time.encode()
    small_server.free()
    assert client.set("key", "more")


def test_small_server_refuses_scripts_that_write_when_full(small_server):
    """A script that would write fails as a whole."""
    small_server.fill()

    # Before Redis 7 it is a plain error, and not at the head but amid the text.
    with pytest.raises(ResponseError, match=r"(?i)OOM|used memory > 'maxmemory'"):
        small_server.client().eval(SCRIPT, 1, KEY, 1)


def test_cluster_server_has_every_slot(cluster_server):
    """A client for clusters finds every key on the one node, by the address that it announces."""
    client = cluster_server.cluster_client()

    assert all(client.set(key, 1) for key in ("a", "b", "c"))
    assert [(node.host, node.port) for node in client.get_nodes()] == [
        (cluster_server.host, cluster_server.port)
    ]


def test_cluster_server_refuses_keys_of_several_slots(cluster_server):
    """The keys of a script have to be in one slot, where a common tag puts them."""
    client = cluster_server.client()

    with pytest.raises(ResponseError, match="same slot"):
        client.eval("return 1", 2, "a", "b")
    assert client.eval("return 1", 2, "{tag}a", "{tag}b") == 1


def test_cluster_server_restarted_is_a_cluster_again(cluster_server):
    """After a restart the node has its slots, and no keys."""
    client = cluster_server.client()
    client.set("key", 1)
    cluster_server.restart()

    assert client.get("key") is None


def test_replicated_copies_what_the_primary_has(replicated):
    """What was written to the primary is on the replica after a sync, which takes no writes."""
    replicated.primary.client().set("key", "value")
    replicated.sync()
    replica = replicated.replica.client()

    assert replica.get("key") == b"value"
    with pytest.raises(ReadOnlyError):
        replica.set("key", "other")


def test_replicated_primary_restarted_is_empty(replicated):
    """A primary that comes back without data hands its emptiness on to the replica."""
    replicated.primary.client().set("key", "value")
    replicated.sync()
    replicated.primary.restart()
    replicated.sync()

    assert replicated.primary.client().dbsize() == replicated.replica.client().dbsize() == 0


def test_promote_makes_the_replica_a_primary(replicated):
    """A replica promoted after the death of its primary goes on from what it has."""
    replicated.primary.client().set("key", 1)
    replicated.sync()
    replicated.primary.kill()
    replicated.promote()

    assert replicated.replica.client().incr("key") == 2


def test_promote_of_a_replica_cut_off_loses_what_it_missed(replicated):
    """What the primary did after the cut is gone with it; what it did before is not."""
    primary, replica = replicated.primary.client(), replicated.replica.client()
    primary.set("before", 1)
    replicated.sync()
    replicated.cut()
    primary.set("after", 1)
    replicated.promote()

    assert replica.mget("before", "after") == [b"1", None]
