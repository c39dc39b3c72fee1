"""Whatever is wrong with the server, each call fails at once, says why, and changes nothing."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
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
from rate_limiter.redis.failures import ReplyLost
from rate_limiter.redis.wire import pool_arguments

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
        """How a client connects that sees it."""
        return {"username": USER, "password": WORD} if self.as_user else {}


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


NO_ANSWER, UNKNOWN = "no answer", "it answered with an error"
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
    "killed": Harm(kill, restart, "ConnectionError", NO_ANSWER),
    "frozen": Harm(freeze, thaw, "TimeoutError", NO_ANSWER),
    "busy": Harm(keep_busy, let_go, "ResponseError", UNKNOWN),
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
    harm.do(victim)
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
    """P31: The cause is the error of whichever library the client is from."""
    with kind(victim) as world:
        library = world.library
        connect = library.Valkey if hasattr(library, "Valkey") else library.Redis
        client = world.keep(connect(host=HOST, port=victim.port, socket_timeout=5, retry=None))
        bucket = world.bucket(client, name)
        assert world.run(bucket.allow())
        victim.kill()
        try:
            for _ in range(3):
                with pytest.raises(
                    BackendError, match=r"no answer \(ConnectionError\)$"
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
    SET_PASSWORD(victim)
    try:
        for bucket in (*buckets, BucketGroup(*buckets)):
            with pytest.raises(BackendError, match="the client has no password") as failed:
                world.run(bucket.allow())
            assert not isinstance(failed.value, ReplyLost)
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


# What is under a key, that no bucket has put there. It is given the digits of an instant to come,
# the code that the bucket's own number would begin with, and its terms, as `:scale:unit`.
STRANGE = {
    "nothing": lambda now, code, terms: b"",
    "text": lambda now, code, terms: b"what is this?",
    "bytes": lambda now, code, terms: bytes(range(256)),
    "zeros": lambda now, code, terms: bytes(19),
    "a small number": lambda now, code, terms: b"42",
    "a code alone": lambda now, code, terms: code,
    "an instant alone": lambda now, code, terms: now,
    "a code and an instant": lambda now, code, terms: code + now[3:],
    "half a code": lambda now, code, terms: number(now, code)[2:],
    "a code of zeros": lambda now, code, terms: b"000000" + now[3:],
    "a code too long": lambda now, code, terms: b"1" + number(now, code),
    "19 digits": lambda now, code, terms: b"9" * 19,
    "a number too short": lambda now, code, terms: number(now, code)[:-1],
    "a number too long": lambda now, code, terms: number(now, code) + b"0",
    "a long number": lambda now, code, terms: code + b"0" * 400 + now[3:],
    "no tokens": lambda now, code, terms: number(now, b"1000"),
    "no tokens of three digits": lambda now, code, terms: number(now, b"50012"),
    "no period": lambda now, code, terms: number(now, b"0010"),
    "an unknown period": lambda now, code, terms: number(now, b"9010"),
    "a part too large": lambda now, code, terms: number(now, code, PARTS[code]),
    "a part of another token too large": lambda now, code, terms: number(now, b"1070", 7),
    "a part of a third token too large": lambda now, code, terms: number(now, b"52128", 2),
    "a letter for a part": lambda now, code, terms: number(now, code).replace(
        code + b"0", code + b"x"
    ),
    "a letter": lambda now, code, terms: number(now, code)[:-4] + b"x" + now[-3:],
    "letters": lambda now, code, terms: (code + b"00abcdefghijklmn")[:19],
    "spaces": lambda now, code, terms: code.ljust(19),
    "a number and spaces": lambda now, code, terms: (code + b"0000000").ljust(19),
    "a negative number": lambda now, code, terms: b"-" + number(now, code),
    "a sign": lambda now, code, terms: number(now, code)[:-4] + b"-" + now[-3:],
    "a hexadecimal number": lambda now, code, terms: (code + b"000x12345678abcd")[:19],
    "a point": lambda now, code, terms: number(now, code)[:-4] + b"." + now[-3:],
    "an exponent": lambda now, code, terms: number(now, code)[:-4] + b"9e30",
    "infinity": lambda now, code, terms: code + b"inf".rjust(19 - len(code)),
    "no number": lambda now, code, terms: code + b"nan".rjust(19 - len(code)),
    "a letter in an instant": lambda now, code, terms: now[:9] + b"x" + now[10:] + b"+0" + terms,
    "an instant of letters": lambda now, code, terms: b"1abcdefghijklmno+0" + terms,
    "an instant of spaces": lambda now, code, terms: b" " * 16 + b"+0" + terms,
    "a negative instant": lambda now, code, terms: b"-" + now[1:] + b"+0" + terms,
    "a hexadecimal instant": lambda now, code, terms: b"0x0123456789abcd+0" + terms,
    "an instant with an exponent": lambda now, code, terms: b"9e300".ljust(16) + b"+0" + terms,
    "an infinite instant": lambda now, code, terms: b"inf".ljust(16) + b"+0" + terms,
    "an instant before all": lambda now, code, terms: b"-inf".ljust(16) + b"+0" + terms,
    "an instant of no number": lambda now, code, terms: b"nan".ljust(16) + b"+0" + terms,
    "an instant with more digits": lambda now, code, terms: now + b"0+0" + terms,
    "an instant with fewer digits": lambda now, code, terms: now[1:] + b"+0" + terms,
    "an instant beyond all": lambda now, code, terms: b"9" * 16 + b"+0" + terms,
    "the first instant beyond all": lambda now, code, terms: b"9007199254740992+0" + terms,
    "a remainder too large": lambda now, code, terms: now + b"+" + scale_of(terms) + terms,
    "a remainder beyond all": lambda now, code, terms: now + b"+" + b"9" * 17 + terms,
    "a negative remainder": lambda now, code, terms: now + b"+-1" + terms,
    "a remainder of letters": lambda now, code, terms: now + b"+x" + terms,
    "a hexadecimal remainder": lambda now, code, terms: now + b"+0x1" + terms,
    "no remainder": lambda now, code, terms: now + b"+" + terms,
    "neither remainder nor sign": lambda now, code, terms: now + terms,
    "a remainder without a sign": lambda now, code, terms: now + b"_1" + terms,
    "no scale": lambda now, code, terms: now + b"+0:0:7",
    "no unit": lambda now, code, terms: now + b"+0:7:0",
    "a code for terms": lambda now, code, terms: now + b"+0" + code,
    "a long instant": lambda now, code, terms: b"1" * 400 + b"+0" + terms,
    "a long remainder": lambda now, code, terms: now + b"+" + b"1" * 400 + terms,
    "a long scale": lambda now, code, terms: now + b"+0:" + b"1" * 400 + b":7",
    "a long unit": lambda now, code, terms: now + b"+0:1:" + b"1" * 400,
    "something behind": lambda now, code, terms: now + b"+0" + terms + b"x",
    "half a line": lambda now, code, terms: now + b"+0" + terms + b"=" + now + b":1",
    "a line of letters": lambda now, code, terms: now + b"+0" + terms + b"=a:b:c:d",
    "a line behind a number": lambda now, code, terms: (
        number(now, code) + b"=" + now + b":" + now + b":0:1"
    ),
    "a long due": lambda now, code, terms: now + b"+0" + terms + b"=" + b"9" * 400 + b":1:0:1",
    "a long floor": lambda now, code, terms: now + b"+0" + terms + b"=1:" + b"9" * 400 + b":0:1",
    "a long place": lambda now, code, terms: now + b"+0" + terms + b"=1:1:0:" + b"9" * 400,
    "a floor's remainder too large": lambda now, code, terms: (
        now + b"+0" + terms + b"=" + now + b":" + now + b":" + scale_of(terms) + b":1"
    ),
    "a hole of letters": lambda now, code, terms: now + b"+0" + terms + b"=1:1:0:1;abc",
}
RATES = {
    "number": Fraction(33, 3600),
    "longer number": Fraction(333, 86_400),
    "text": math.pi / 1e4,
}
PARTS = {b"3133": 11, b"82333": 37, b"1030": 3}  # of a microsecond, in these numbers


def number(now, code, part=0):
    """Return a number for an instant, as it is kept under a limit with that code."""
    return code + (b"%02d" % part + now[3:] if len(code) == 4 else b"%03d" % part + now[5:])


def scale_of(terms):
    """Return the scale in terms that were given in full."""
    return terms.split(b":")[1]


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_call_anything_on_a_strange_value_raises_and_leaves_it(world, admin, name, strange, rate):
    """P33: No method takes a value that is not a bucket's for one, or changes it."""
    calls = Calls(world, world.client(), name, rate)
    code, terms = calls.bucket._limits.limit.terms.codes
    seconds, _ = admin.time()
    value = strange(b"%d" % ((seconds + 60) * 10**6), code.replace(b"-", b"1030"), terms)
    admin.set(f"rate_limiter:{name}", value, ex=60)
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
