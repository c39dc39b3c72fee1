"""Whatever is wrong with the server, each call fails at once, says why, and changes nothing."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import redis
from redis_worlds import (
    LIBRARIES,
    SLOW,
    WORLDS,
    about,
    expires_at,
    name_of,
    use_every_method,
)
from servers import HOST, Server

from rate_limiter import BackendError, BucketGroup, RateLimiter, RateLimitExceeded
from rate_limiter.redis import RedisTokenBucket
from rate_limiter.redis.client import pool_arguments
from rate_limiter.shared.failures import ReplyLost

USER, WORD = "somebody", "the-word"
HASTE = 0.02  # seconds that a client waits for a server that will not answer
LATEST = 1.5  # seconds in which a call has failed, on a busy machine: no client here takes longer


@pytest.fixture(scope="module")
def victim():
    """Know a user who may do everything; whoever harms it repairs it."""
    with Server(f"user {USER} on >{WORD} ~* &* +@all") as server:
        server.admin = server.client()
        yield server


@pytest.fixture
def admin(victim):
    """Be connected to the server that is harmed, with nothing in one's way."""
    return victim.admin


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, victim):
    """Be a world before the server that is harmed."""
    with request.param(victim) as world:
        yield world


class Calls:
    """Everything that can be called, on a bucket of ten tokens of which four are taken.

    Attributes:
        looking: Calls that take nothing.
        taking: Calls that take or give, of a new caller.
        held: Calls on permits and reservations of before; once all succeed, seven tokens are left.
        ran: What functions that were limited have done.
    """

    def __init__(self, world, client, name, rate=SLOW):
        self.world, self.ran = world, []
        self.bucket = bucket = world.bucket(client, name, 10, rate)
        run, limiter = world.run, RateLimiter(bucket, timeout=LATEST)
        self.looking = {
            "retry_after": lambda: run(bucket.retry_after()),
            "available_tokens": lambda: run(bucket.available_tokens),
        }
        self.taking = {
            "allow": lambda: run(bucket.allow()),
            "try_consume": lambda: run(bucket.try_consume(0.5)),
            "wait": lambda: run(bucket.wait(timeout=LATEST)),
            "wait for no time": lambda: run(bucket.wait(timeout=0)),
            "reserve": lambda: run(bucket.reserve()),
            "refund": lambda: run(bucket.refund(1)),
            "acquire and wait": lambda: world.enter(limiter.acquire(2, block=True)),
            "acquire or refuse": lambda: world.enter(limiter.acquire(2, block=False)),
            "limiter": lambda: world.enter(limiter),
            **self._functions(limiter),
            **self._of_a_group(world.bucket(client, f"{name}-other", 10, rate)),
            "pause": lambda: run(bucket.pause(60)),
        }
        self.held = self._corrections(limiter)

    def _functions(self, limiter):
        world = self.world
        function = limiter(world.function(self.ran.append))
        generator = limiter.cost(lambda *args: 2)(world.generator())
        return {
            "function": lambda: world.run(function("function")),
            "generator": lambda: self.ran.extend(world.collect(generator("generator"))),
        }

    def _of_a_group(self, other):
        run, group = self.world.run, BucketGroup(self.bucket, other=other)
        return {
            "group allow": lambda: run(group.allow()),
            "group wait": lambda: run(group.wait(timeout=LATEST)),
            "group reserve": lambda: run(group.reserve(2)),
            "group refund": lambda: run(group.refund(1)),
            "group acquire": lambda: self.world.enter(RateLimiter(group, timeout=LATEST)),
        }

    def _corrections(self, limiter):
        run, enter = self.world.run, self.world.enter
        permits = [enter(limiter), enter(limiter)]
        reservations = [run(self.bucket.reserve()) for _ in range(2)]
        return {
            "permit.settle": lambda: run(permits[0].settle(3)),
            "permit.refund": lambda: run(permits[1].refund()),
            "reservation.settle": lambda: run(reservations[0].settle(0)),
            "reservation.cancel": lambda: run(reservations[1].cancel()),
        }

    def changing(self):
        """Return all calls that change something."""
        return self.taking | self.held

    def all(self):
        """Return all calls; first those that change nothing, should the first one go through."""
        return self.looking | self.changing()

    def check_held(self):
        """Have the corrections succeed, after they have failed."""
        for call in self.held.values():
            call()
        assert self.world.run(self.bucket.available_tokens) == about(7)


def outcome(call, *args):
    """Tell what a call fails by, and check that it does so in time."""
    began = time.monotonic()
    try:
        answer = call(*args)
    except BackendError as error:
        assert time.monotonic() - began < LATEST
        return f"{type(error.__cause__).__name__}: {error}"
    except RateLimitExceeded as refusal:
        return f"refused: {refusal}"
    return f"no failure: {answer!r}"


def outcomes(calls):
    """Tell what each of several calls fails by."""
    return {name: outcome(call) for name, call in calls.items()}


def failing(calls, cause, hint):
    """Return the outcomes of calls that all fail in one way."""
    return dict.fromkeys(calls, f"{cause}: the store of the bucket failed: {hint} ({cause})")


def state_of(admin, name):
    """Return what is on the server for the buckets of a test, and when it goes away."""
    keys = sorted(admin.keys(f"rate_limiter:{name}*"))
    return {key: (admin.dump(key), expires_at(admin, key)) for key in keys}


class Harm(NamedTuple):
    """Something wrong with a server, and how clients see it."""

    do: Callable[[Server], Any]
    undo: Callable[[Server], Any]
    cause: str
    hint: str
    as_user: bool = False
    refuses_reads: bool = True

    @property
    def options(self):
        """How a client connects that sees it: it greets, whatever is the default of its version."""
        return {"protocol": 3} | ({"username": USER, "password": WORD} if self.as_user else {})


def kill(server):
    """Have the server gone, and its data with it."""
    server.kill()


def restart(server):
    """Have it back, empty."""
    server.restart()


def freeze(server):
    """Have it accept connections, and answer nothing."""
    server.freeze()


def thaw(server):
    """Have it go on."""
    server.thaw()
    server.admin.ping()


def setting(name, value):
    """Return what changes a setting of the server."""
    return lambda server: server.admin.config_set(name, value)


def rules(*rules):
    """Return what changes the rights of the user."""
    return lambda server: server.admin.execute_command("ACL", "SETUSER", USER, *rules)


def follow(server):
    """Make it a replica of nobody who answers."""
    server.admin.replicaof(HOST, 1)


def lead(server):
    """Make it a primary."""
    server.admin.replicaof("NO", "ONE")


def keep_busy(server):
    """Have it run a script that does not end."""
    server.admin.config_set("lua-time-limit", 1)
    pool = server.client().connection_pool
    spinning = pool.get_connection(*pool_arguments(pool))
    spinning.send_command("EVAL", "while true do end", 0)
    server.wait_until(lambda: not answers(server.admin), "it is busy")


def answers(client):
    """Tell whether a server answers without an error."""
    with suppress(redis.ResponseError):
        return client.ping()
    return False


def let_go(server):
    """End the script, if it is still running."""
    with suppress(redis.ResponseError):
        server.admin.script_kill()
    server.wait_until(lambda: answers(server.admin), "it is not busy any more")


NO_ANSWER, BUSY = "no answer", "the server is busy with a script that does not end"
UNKNOWN_USER = "the password or user is wrong"
RIGHTS = "the user needs EVALSHA, EVAL, GET, SET and TIME on the keys of the prefix"
SET_PASSWORD, NO_PASSWORD = (setting("requirepass", word) for word in ("a password", ""))
SHORT_OF_MEMORY = Harm(
    setting("maxmemory", 1),
    setting("maxmemory", 0),
    "OutOfMemoryError",
    "the server has reached its maxmemory",
    refuses_reads=False,
)
HARMS = {
    "killed": Harm(kill, restart, "ConnectionError", "nobody is there"),
    "frozen": Harm(freeze, thaw, "TimeoutError", NO_ANSWER),
    "busy": Harm(keep_busy, let_go, "ResponseError", BUSY),
    "out of memory": SHORT_OF_MEMORY,
    "wrong password": Harm(
        rules("resetpass", ">other"),
        rules("resetpass", f">{WORD}"),
        "AuthenticationError",
        UNKNOWN_USER,
        as_user=True,
    ),
    "no such user": Harm(rules("off"), rules("on"), "AuthenticationError", UNKNOWN_USER, True),
    "no password": Harm(
        SET_PASSWORD, NO_PASSWORD, "AuthenticationError", "the client has no password"
    ),
    "no scripts": Harm(rules("-evalsha"), rules("+evalsha"), "NoPermissionError", RIGHTS, True),
    "other keys": Harm(
        rules("resetkeys", "~other:*"), rules("~*"), "NoPermissionError", RIGHTS, True
    ),
    "no clock": Harm(rules("-time"), rules("+time"), "ResponseError", RIGHTS, True),
    "no writing": Harm(
        rules("-set"), rules("+set"), "ResponseError", RIGHTS, True, refuses_reads=False
    ),
    "replica": Harm(follow, lead, "ReadOnlyError", "the server is a replica", refuses_reads=False),
}


@pytest.fixture(params=HARMS.values(), ids=HARMS)
def harm(request, victim):
    """Be something wrong with the server, which is repaired in the end."""
    yield request.param
    request.param.undo(victim)


def set_timeout(world, client, seconds):
    """Have a client connect anew, and wait for so many seconds."""
    pool = client.connection_pool
    world.run(pool.disconnect())
    pool.connection_kwargs |= {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    pool.reset()


def test_call_anything_on_a_harmed_server_raises_and_changes_nothing(
    world, victim, admin, name, harm
):
    """P31: Every method fails by a BackendError, in time, whatever the server lacks."""
    client = world.client(retry=None, **harm.options)
    calls = Calls(world, client, name)
    before, calls.ran[:] = state_of(admin, name), []
    world.meanwhile(lambda: harm.do(victim))
    world.meanwhile(lambda: None)  # a loop notices only in its next turn that a server has hung up
    patience = client.connection_pool.connection_kwargs["socket_timeout"]
    if harm.cause != "ConnectionError":  # those of before are still good
        set_timeout(world, client, HASTE if harm.do is freeze else patience)

    failed = calls.all() if harm.refuses_reads else calls.changing()
    cause = harm.cause
    if not harm.refuses_reads and int(admin.info("server")["redis_version"].split(".")[0]) < 7:
        cause = "ResponseError"  # where an error of what a script calls has no class of its own
    assert outcomes(failed) == failing(failed, cause, harm.hint)
    assert not calls.ran

    if not harm.refuses_reads:
        assert world.run(calls.bucket.available_tokens) == about(6)
        assert world.run(calls.bucket.retry_after(6)) == 0
    harm.undo(victim)
    set_timeout(world, client, patience)
    if harm.do is not kill:
        assert state_of(admin, name) == before
        calls.check_held()
    use_every_method(world, client, f"{name}-again")


@pytest.mark.parametrize("harmed", [harm for harm in HARMS if harm != "frozen"])
def test_fail_in_any_way_names_neither_keys_nor_servers(world, victim, name, caplog, harmed):
    """P26: No key, name, password, user or host is in an error, a repr or the log."""
    harm = HARMS[harmed]
    client = world.client(retry=None, **harm.options)
    bucket = world.bucket(client, name, prefix=f"beginning-{name}")
    quiet = world.bucket(client, name, prefix=f"beginning-{name}", fallback="deny")
    reservation, permit = world.run(bucket.reserve()), world.enter(RateLimiter(bucket))
    harm.do(victim)
    try:
        set_timeout(world, client, LATEST)
        with caplog.at_level("DEBUG"):
            with pytest.raises(BackendError) as failure:
                world.run(bucket.allow())
            for _ in range(3):
                assert not world.run(quiet.allow())
    finally:
        harm.undo(victim)

    shown = [bucket, quiet, BucketGroup(bucket), RateLimiter(bucket), reservation, permit]
    text = f"{failure.value} {failure.value!r} {shown!r} {caplog.text}"
    assert "the fallback decides until it is back" in text
    secrets = [name, "beginning", USER, WORD, "a password", HOST, str(victim.port)]
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize("kind", LIBRARIES, ids=name_of)
def test_call_a_killed_server_through_any_library_raises_its_error(victim, name, kind):
    """P31: The cause is the error of the client's library; a dead connection may be seen late."""
    with kind(victim) as world:
        library = world.library
        connect = library.Valkey if hasattr(library, "Valkey") else library.Redis
        client = world.keep(connect(host=HOST, port=victim.port, socket_timeout=5, retry=None))
        bucket = world.bucket(client, name)
        assert world.run(bucket.allow())
        world.meanwhile(victim.kill)
        try:
            for _ in range(3):
                with pytest.raises(
                    BackendError, match=r"(nobody is there|no answer) \(ConnectionError\)$"
                ) as failure:
                    world.run(bucket.allow())
                assert isinstance(failure.value.__cause__, library.ConnectionError)
        finally:
            victim.restart()
        assert world.run(bucket.available_tokens) == 10


def test_call_after_all_data_is_flushed_finds_full_buckets(world, victim, admin, name):
    """P31: Losing the data is no failure, and costs at most one capacity."""
    client = world.client()
    calls = Calls(world, client, name)

    admin.flushall()
    assert world.run(calls.bucket.available_tokens) == 10
    for call in calls.held.values():
        admin.flushall()
        admin.script_flush()
        call()

    assert 7 <= world.run(calls.bucket.available_tokens) <= 10
    use_every_method(world, client, f"{name}-again")


def test_cancel_a_place_in_line_on_a_frozen_server_raises_and_can_be_repeated(
    world, victim, admin, name
):
    """P31: Who cannot give back its place in line is told, keeps it, and may try again."""
    client = world.client(retry=None)
    bucket = world.bucket(client, name, 1)
    first, second = world.run(bucket.reserve(5)), world.run(bucket.reserve())
    before = state_of(admin, name)
    victim.freeze()
    set_timeout(world, client, HASTE)
    try:
        for place in (second, first):
            assert outcome(lambda place: world.run(place.cancel()), place).startswith("Timeout")
            assert place.delay > 0
    finally:
        victim.thaw()
    set_timeout(world, client, LATEST)
    assert state_of(admin, name) == before

    for place in (second, first, second, first):
        world.run(place.cancel())

    assert world.run(bucket.available_tokens) == about(1)


def test_have_no_password_is_no_lost_reply(world, victim, name):
    """P29: A client that does not greet is refused by each call, and told why; nothing is lost."""
    client = world.keep(world.make_client(protocol=2, retry=None))
    buckets = [world.bucket(client, f"{name}-{part}") for part in "ab"]

    def clients():
        return {each["id"] for each in victim.admin.client_list()}

    before = clients()
    SET_PASSWORD(victim)
    try:
        for bucket in (*buckets, BucketGroup(*buckets)):
            with pytest.raises(BackendError, match="the client has no password") as failed:
                world.run(bucket.allow())
            assert not isinstance(failed.value, ReplyLost)
            # The next call makes a connection of its own, and greets. Those of before may go.
            victim.wait_until(lambda: clients() <= before, "what has not greeted is gone")
    finally:
        NO_PASSWORD(victim)


@pytest.mark.parametrize("kind", WORLDS, ids=name_of)
def test_promote_a_replica_ends_the_failures(replicated, name, kind):
    """P31: A client of a replica is told, and goes on from its tokens once it is promoted."""
    with replicated.primary.client() as client:
        assert RedisTokenBucket(client, name, 10, SLOW).allow(4)
    replicated.sync()
    with kind(replicated.replica) as world:
        bucket = world.bucket(world.client(), name)
        assert "the server is a replica" in outcome(lambda: world.run(bucket.allow()))

        replicated.promote()

        assert world.run(bucket.available_tokens) == about(6)
        assert world.run(bucket.allow(6))


@pytest.mark.parametrize("kind", WORLDS, ids=name_of)
def test_call_when_the_pool_is_used_up_raises(redis_server, name, kind):
    """P31: A client that has no connection left is a failure as well, and passes."""
    with kind(redis_server) as world:
        pool = world.library.BlockingConnectionPool(
            host=HOST, port=redis_server.port, max_connections=1, timeout=HASTE
        )
        client = world.keep(world.library.Redis(connection_pool=pool))
        bucket = world.bucket(client, name)
        taken = world.run(pool.get_connection(*pool_arguments(pool)))

        assert outcome(lambda: world.run(bucket.allow())).startswith("ConnectionError: ")

        world.run(pool.release(taken))
        assert world.run(bucket.available_tokens) == 10


# What is under a key, that no bucket has put there; shared/state.py says what one would.
INSTANT = b"1790000000000000"  # of the year 2026, in microseconds


def value_of(instant=INSTANT, *, rest=b"", scale=b"63e9", unit=b"63e9", capacity=b"10", behind=b""):
    """Return a value as the script would write it, but for what is wrong with it."""
    return instant + rest + b":" + scale + b":" + unit + b":" + capacity + behind


PLACE = (b"1", b"1", b"1", b"0", b"1", b"1790000000000000", b"0", b"1790000000000000", b"0")


def line_of(**wrong):
    """Return a value with a caller in line, one number of whose place is wrong."""
    names = (
        "first",
        "last",
        "count",
        "cost",
        "cost_rest",
        "floor",
        "floor_rest",
        "due",
        "deadline",
    )
    place = [wrong.get(name, number) for name, number in zip(names, PLACE, strict=True)]
    return value_of(behind=b";" + b":".join(place))


STRANGE = {
    "nothing": b"",
    "text": b"what is this?",
    "a number": b"42",
    "an instant alone": INSTANT,
    "binary": bytes(range(256)),
    "JSON": b'{"tokens": 3}',
    "a letter in an instant": value_of(INSTANT[:9] + b"x" + INSTANT[10:]),
    "an instant of letters": value_of(b"1abcdefghijklmno"),
    "an instant of spaces": value_of(b" " * 16),
    "a hexadecimal instant": value_of(b"0x0123456789abcd"),
    "an instant with an exponent": value_of(b"9e300".ljust(16)),
    "an infinite instant": value_of(b"inf".ljust(16)),
    "an instant of no number": value_of(b"nan".ljust(16)),
    "an instant with more digits": value_of(INSTANT + b"0"),
    "an instant with fewer digits": value_of(INSTANT[1:]),
    "an instant beyond all": value_of(b"9" * 16),
    "the first instant beyond all": value_of(b"9007199254740992"),
    "a long instant": value_of(b"1" * 400),
    "a remainder too large": value_of(rest=b"+63000000000"),
    "a remainder beyond all": value_of(rest=b"+" + b"9" * 17),
    "a negative remainder": value_of(rest=b"+-1"),
    "a remainder of letters": value_of(rest=b"+x"),
    "a hexadecimal remainder": value_of(rest=b"+0x1"),
    "no remainder": value_of(rest=b"+"),
    "a remainder without a sign": value_of(rest=b"_1"),
    "no scale": value_of(scale=b""),
    "a scale of letters": value_of(scale=b"x"),
    "a scale of nothing": value_of(scale=b"0"),
    "a long scale": value_of(scale=b"1" * 400),
    "a scale with a large exponent": value_of(scale=b"1e400"),
    "a unit of letters": value_of(unit=b"x"),
    "a unit of nothing": value_of(unit=b"0"),
    "a long unit": value_of(unit=b"1" * 400),
    "no capacity": value_of(capacity=b""),
    "a capacity of nothing": value_of(capacity=b"0"),
    "a capacity of letters": value_of(capacity=b"x"),
    "a negative capacity": value_of(capacity=b"-10"),
    "an infinite capacity": value_of(capacity=b"inf"),
    "something behind": value_of(behind=b"x"),
    "a pause of letters": value_of(behind=b"!x"),
    "a pause without an end": value_of(behind=b"!"),
    "a pause beyond all": value_of(behind=b"!" + b"9" * 17),
    "half a place": value_of(behind=b";1:1:1"),
    "an empty place": value_of(behind=b";"),
    "a place of letters": line_of(first=b"x"),
    "a place beyond all": line_of(first=b"9" * 17),
    "a cost of letters": line_of(cost=b"x"),
    "a cost's remainder too large": line_of(cost_rest=b"63000000000"),
    "a floor beyond all": line_of(floor=b"9" * 400),
    "a floor's remainder too large": line_of(floor_rest=b"63000000000"),
    "a time to leave of letters": line_of(due=b"x"),
    "a deadline of letters": line_of(deadline=b"x"),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_call_anything_on_a_strange_value_raises_and_leaves_it(world, admin, name, strange):
    """P33: No method takes a value that is not a bucket's for one, or changes it."""
    calls = Calls(world, world.client(), name)
    admin.set(f"rate_limiter:{name}", strange, ex=60)
    before, calls.ran[:] = state_of(admin, name), []

    failed = calls.all()
    hint = "the value under its key is not that of a bucket; use another name or prefix"
    assert outcomes(failed) == failing(failed, "ResponseError", hint)
    assert not calls.ran
    assert state_of(admin, name) == before


TYPES = {
    "list": lambda admin, key: admin.rpush(key, "a"),
    "hash": lambda admin, key: admin.hset(key, "a", "b"),
    "set": lambda admin, key: admin.sadd(key, "a"),
    "sorted set": lambda admin, key: admin.zadd(key, {"a": 1}),
    "stream": lambda admin, key: admin.xadd(key, {"a": "b"}),
}


@pytest.mark.parametrize("put", TYPES.values(), ids=TYPES)
def test_call_anything_on_a_value_of_another_type_raises_and_leaves_it(world, admin, name, put):
    """P33: What is no string is left alone; with another name everything works."""
    client = world.client()
    calls = Calls(world, client, name)
    held = admin.dump(f"rate_limiter:{name}")
    admin.delete(f"rate_limiter:{name}")
    put(admin, f"rate_limiter:{name}")
    before, calls.ran[:] = state_of(admin, name), []

    failed = calls.all()
    hint = "the value under its key is not that of a bucket; use another name or prefix"
    assert outcomes(failed) == failing(failed, "ResponseError", hint)
    assert not calls.ran
    assert state_of(admin, name) == before

    admin.restore(f"rate_limiter:{name}", 60_000, held, replace=True)
    calls.check_held()
    use_every_method(world, client, f"{name}-again")
