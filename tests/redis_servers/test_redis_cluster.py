"""Buckets in a cluster: through its clients, on its nodes, and with the keys they declare."""

from contextlib import ExitStack

import pytest
from redis_worlds import LIBRARIES, about, check_taking, name_of, use_every_method
from servers import HOST, TIMEOUTS, Server, command_names, wire_log

from rate_limiter import BackendError, BucketGroup

COMMANDS = ["evalsha", "eval", "get", "set", "time", "ping", "cluster", "command"]


def cluster_client(world, **options):
    """Connect a client of a world's library that knows of clusters."""
    address = {"host": HOST, "port": world.server.port}
    client = world.keep(world.library_type("Cluster")(**address, **TIMEOUTS, **options))
    world.run(client.ping())
    return client


@pytest.fixture(params=LIBRARIES, ids=name_of)
def world(request, cluster_server):
    """Be a world with a library, before a cluster of one node."""
    with request.param(cluster_server) as world:
        yield world


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"protocol": 2}, {"protocol": 3}, {"decode_responses": True}),
        {"encoding": "latin-1", "decode_responses": True, "protocol": 3},
    ],
    ids=str,
)
def test_use_every_method_works_through_a_cluster_client(world, options, name):
    """P34: A bucket does the same through a client of a cluster."""
    use_every_method(world, cluster_client(world, **options), name)


def test_use_every_method_works_through_a_plain_client(world, name):
    """P34: A client that knows of no clusters reaches the buckets of the node it asks."""
    use_every_method(world, world.client(), name)


@pytest.fixture
def confined(cluster_server, name):
    """Give what makes a user who may touch some keys and no others, for clients of the server."""
    admin, user = cluster_server.client(), {"username": name, "password": "word"}

    def confine(*keys):
        admin.acl_setuser(
            name,
            enabled=True,
            passwords="+word",
            keys=keys,
            commands=["-@all", *(f"+{command}" for command in COMMANDS)],
        )
        return user

    yield confine
    admin.acl_deluser(name)


def test_use_every_method_touches_only_the_key_of_the_bucket(world, confined, name):
    """P34: Who may touch a bucket's key alone can use the bucket, and so it touches no other."""
    user = confined(f"rate_limiter:{name}", f"rate_limiter:{name}-quick")

    use_every_method(world, cluster_client(world, **user), name)


def test_use_a_group_touches_only_the_keys_of_its_buckets(world, confined, name):
    """P34: A group in a cluster touches the keys of its buckets, and it takes all or nothing."""
    client = cluster_client(world, **confined(f"of:{{{name}}}:a", f"of:{{{name}}}:b"))
    wide, narrow = (
        world.bucket(client, f"{{{name}}}:{which}", capacity, prefix="of")
        for which, capacity in (("a", 20), ("b", 10))
    )
    group = BucketGroup(wide, narrow=narrow)

    check_taking(world.run, group)
    world.run(world.run(group.reserve({"narrow": 15})).cancel())
    world.run(group.refund(1))

    levels = [world.run(bucket.available_tokens) for bucket in (wide, narrow, group)]
    assert levels == [about(16), about(6), about(6)]


def test_take_with_a_group_is_one_command(world, cluster_server, name):
    """P28: In a cluster as well a group decides in one call, for all its buckets."""
    client = cluster_client(world)
    group = BucketGroup(*(world.bucket(client, f"{{{name}}}{number}") for number in range(3)))
    world.run(group.allow())

    with wire_log(cluster_server) as commands:
        assert world.run(group.allow(9))
        assert not world.run(group.allow())

    assert command_names(commands) == ["EVALSHA"] * 2


def test_lose_idle_connections_is_not_noticed(world, cluster_server, name):
    """P28: Nodes end connections that nobody uses; the next call connects, and is answered."""
    bucket, admin = world.bucket(cluster_client(world), name), cluster_server.client()
    assert world.run(bucket.allow())

    world.meanwhile(lambda: admin.client_kill_filter(_type="normal", skipme=True))

    assert world.run(bucket.allow())


@pytest.mark.parametrize("names", [("a", "b"), ("{a", "{b"), ("a}b", "a}c"), ("{}a", "{}b")])
def test_make_a_group_without_a_common_tag_says_how_to_name_its_buckets(world, name, names):
    """P34: Buckets in different places cannot be a group, which is said when it is made."""
    client = cluster_client(world)
    buckets = [world.bucket(client, each + name) for each in names]

    for group in (buckets, [BucketGroup(bucket) for bucket in buckets]):
        with pytest.raises(ValueError, match=r"hash tag.*'\{tenant\}:requests'") as refusal:
            BucketGroup(*group)
        assert name not in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [(("{%s}:a", "{%s}:b"), "p"), (("a%s", "b%s"), "{p}"), (("a", b"b"), "{p}")],
)
def test_make_a_group_with_a_common_tag_takes_it_from_name_or_prefix(world, name, names, prefix):
    """P34: What is in braces decides, in the names or before them."""
    client = cluster_client(world)
    group = BucketGroup(*(world.bucket(client, each, prefix=prefix) for each in names))
    assert world.run(group.allow())


def test_take_with_a_group_without_a_common_tag_through_a_plain_client_says_why(world, name):
    """P34: A plain client cannot tell where buckets are; the server's refusal is explained."""
    client = world.client()
    group = BucketGroup(*(world.bucket(client, f"{name}{number}") for number in range(3)))

    with pytest.raises(BackendError, match=r"must share a hash tag.*'\{tenant\}:requests'"):
        world.run(group.allow())


class TwoNodes:
    """A cluster of two nodes, each with half of the slots, which takes two seconds to form."""

    def __init__(self, closing):
        settings = {"cluster_enabled": "yes", "cluster_announce_ip": HOST}
        self.nodes = [closing.enter_context(Server(**settings)) for _ in range(2)]
        self.admins = [node.client() for node in self.nodes]
        self._ids = [admin.execute_command("CLUSTER MYID").decode() for admin in self.admins]
        self._moved = set()
        for number, (admin, first) in enumerate(zip(self.admins, (0, 8_192), strict=True)):
            admin.execute_command("CLUSTER ADDSLOTS", *range(first, first + 8_192))
            admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        self.admins[0].execute_command("CLUSTER MEET", HOST, self.nodes[1].port)

    def wait(self):
        """Wait until it has formed."""
        self.nodes[0].wait_until(lambda: all(map(self._is_whole, self.admins)), "it has formed")

    @property
    def redirected(self):
        """How often somebody has asked the wrong node."""
        return [admin.info("errorstats").get("errorstat_MOVED") for admin in self.admins]

    def owner(self, key):
        """Return the number of the node that has the slot of a key."""
        slot = self._slot(key)
        return int((slot >= 8_192) ^ (slot in self._moved))

    def begin_to_move(self, key):
        """Begin to move the slot of a key, of which there is nothing yet, to the other node."""
        source = self.owner(key)
        self._set_slot(1 - source, key, "IMPORTING", source)
        self._set_slot(source, key, "MIGRATING", 1 - source)

    def finish_moving(self, key):
        """Say that the slot of a key is now on the other node."""
        source = self.owner(key)
        for node in (1 - source, source):
            self._set_slot(node, key, "NODE", 1 - source)
        self._moved ^= {self._slot(key)}

    def _slot(self, key):
        return self.admins[0].cluster("KEYSLOT", key)

    def _set_slot(self, on, key, state, other):
        command = f"CLUSTER SETSLOT {self._slot(key)} {state} {self._ids[other]}"
        self.admins[on].execute_command(*command.split())

    @staticmethod
    def _is_whole(admin):
        info = admin.cluster("INFO")
        return (info["cluster_state"], info["cluster_slots_ok"]) == ("ok", "16384")


@pytest.fixture(scope="session", autouse=True)
def forming_nodes():
    """Let a cluster of two nodes form while other tests wait for theirs."""
    with ExitStack() as closing:
        yield TwoNodes(closing)


@pytest.fixture
def two_nodes(forming_nodes):
    """Be a cluster of two nodes."""
    forming_nodes.wait()
    return forming_nodes


@pytest.fixture(params=LIBRARIES, ids=name_of)
def wide_world(request, two_nodes):
    """Be a world with a library, before a cluster of two nodes."""
    with request.param(two_nodes.nodes[0]) as world:
        yield world


def test_take_from_many_buckets_goes_to_the_nodes_that_have_them(wide_world, two_nodes, name):
    """P34: Each bucket is on the node where its key belongs, is one bucket, and asked for there."""
    client = cluster_client(wide_world)
    buckets = [wide_world.bucket(client, f"{name}-{number}", 1) for number in range(20)]
    redirected = two_nodes.redirected

    for expected in (True, False):
        assert [wide_world.run(bucket.allow()) for bucket in buckets] == [expected] * 20

    assert two_nodes.redirected == redirected
    for number in range(20):
        key = f"rate_limiter:{name}-{number}"
        assert two_nodes.admins[two_nodes.owner(key)].exists(key)


def test_take_from_a_bucket_whose_slot_moves_goes_with_it(wide_world, two_nodes, name):
    """P34: A cluster may move its slots; neither a call nor a token is lost."""
    client, key = cluster_client(wide_world), f"rate_limiter:{name}"
    bucket = wide_world.bucket(client, name, 2)
    two_nodes.begin_to_move(key)
    assert wide_world.run(bucket.allow())
    two_nodes.finish_moving(key)

    assert [wide_world.run(bucket.allow()), wide_world.run(bucket.allow())] == [True, False]
    assert wide_world.run(bucket.available_tokens) == about(0)


def test_take_through_a_plain_client_of_the_wrong_node_says_which_client_to_use(
    wide_world, two_nodes, name
):
    """P34: A plain client is told by the wrong node to move; the error says what can."""
    key = next(key for key in map(str, range(99)) if two_nodes.owner(f"{name}:{key}"))
    bucket = wide_world.bucket(wide_world.client(), key, prefix=name)

    with pytest.raises(BackendError, match="use the library's RedisCluster client") as failure:
        wide_world.run(bucket.allow())
    assert name not in str(failure.value)
