"""What decides while the server is away, when it is tried again, and what is said of it."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from redis_worlds import LIBRARIES, SLOW, WORLDS, about, name_of

from rate_limiter import (
    BackendError,
    BucketGroup,
    CostExceedsCapacity,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.redis import RedisTokenBucket
from rate_limiter.redis.client import pool_arguments
from rate_limiter.testing import ManualClock

LOGGER = "rate_limiter"
BACK = "the store of the bucket is back"
CALLERS = 20


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


class Away:
    """A server that can be away, and a clock that says when to try it again.

    Attributes:
        clock: What outages go by.
        key: The beginning of the keys of the test's buckets.
    """

    def __init__(self, world, proxy, client, name):
        self.world, self.clock, self._proxy = world, ManualClock(), proxy
        self._client = world.client(port=proxy.port, retry=None)
        self._direct = RedisTokenBucket(client, name, 10, SLOW, clock=self.clock)
        self._name, self.key = name, f"rate_limiter:{name}"

    @property
    def tries(self):
        """How many calls have tried the server in vain."""
        return self._proxy.hits

    @property
    def level(self):
        """What is in the test's bucket on the server."""
        return self._direct.available_tokens

    def bucket(self, fallback=None, part=""):
        """Make a bucket whose calls fail at once while the server is away."""
        name = f"{self._name}{part}"
        bucket = self.world.bucket(self._client, name, fallback=fallback, clock=self.clock)
        self.world.run(bucket.available_tokens)
        return bucket

    def begin(self):
        """Have the server be away."""
        self._proxy.fail_next("drop_before", math.inf)

    def end(self):
        """Have it be back, without anybody knowing yet."""
        self._proxy.clear()

    def pass_over(self):
        """Have it be back, and tried again."""
        self.end()
        self.clock.advance(1)


@pytest.fixture
def away(world, fault_proxy, client, name):
    """Be able to have the server away."""
    return Away(world, fault_proxy, client, name)


@pytest.fixture
def log(caplog):
    """Tell the records that have been written, as (level, message), and forget them."""

    @contextmanager
    def expect(*expected):
        caplog.clear()
        with caplog.at_level("DEBUG", LOGGER):
            yield
        mine = [record for record in caplog.records if record.name == LOGGER]
        assert [(record.levelname, record.getMessage()) for record in mine] == list(expected)

    return expect


def warning(reason):
    """Return the one record that an outage begins with."""
    return (
        "WARNING",
        f"the store of the bucket failed: {reason}; the fallback decides until it is back",
    )


GONE = warning("no answer (ConnectionError)")
RETURN = ("INFO", BACK)
HINT = "the value under its key is not that of a bucket; use another name or prefix"
SPOILT = warning(f"{HINT} (ResponseError)")


def answer(call):
    """Return what a call answers, or how it refuses: with which delay, or why never."""
    try:
        return call()
    except RateLimitExceeded as refusal:
        return "refused", refusal.retry_after, refusal.tokens
    except CostExceedsCapacity:
        return "above capacity"


def answers(world, bucket):
    """Return what every method of a bucket answers, in an order that matters to a counting one."""
    run, limiter = world.run, RateLimiter(bucket)
    calls = {
        "available_tokens": lambda: run(bucket.available_tokens),
        "allow": lambda: run(bucket.allow(3)),
        "try_consume": lambda: run(bucket.try_consume()),
        "available_tokens then": lambda: run(bucket.available_tokens),
        "retry_after": lambda: run(bucket.retry_after()),
        "allow above capacity": lambda: run(bucket.allow(11)),
        "retry_after above capacity": lambda: run(bucket.retry_after(11)),
        "acquire above capacity": lambda: world.enter(limiter.acquire(11, block=False)),
        "wait": lambda: run(bucket.wait(2)),
        "acquire": lambda: world.enter(limiter.acquire()).waited,
        "acquire or refuse": lambda: world.enter(limiter.acquire(2, block=False)).waited,
        "wait for no time": lambda: run(bucket.wait(2, timeout=0)),
        "reserve for no time": lambda: run(bucket.reserve(2, timeout=0)).delay,
        "function": lambda: world.run(limiter(world.function())("ran")),
        "refund": lambda: run(bucket.refund(4)),
        "reserve": lambda: run(bucket.reserve(3)).delay,
        "pause": lambda: run(bucket.pause(0)),
        "at last": lambda: run(bucket.available_tokens),
    }
    return {name: answer(call) for name, call in calls.items()}


NEVER = {
    "allow above capacity": False,
    "retry_after above capacity": math.inf,
    "acquire above capacity": "above capacity",
    "refund": None,
    "pause": None,
}
ANSWERS = {
    "allow": NEVER
    | {
        **dict.fromkeys(["available_tokens", "available_tokens then", "at last"], math.inf),
        **dict.fromkeys(["allow", "try_consume"], True),
        **dict.fromkeys(["wait", "wait for no time"], None),
        **dict.fromkeys(["retry_after", "acquire", "acquire or refuse"], 0),
        **dict.fromkeys(["reserve", "reserve for no time"], 0),
        "function": ("ran",),
    },
    "deny": NEVER
    | {
        **dict.fromkeys(["available_tokens", "available_tokens then", "at last"], 0),
        **dict.fromkeys(["allow", "try_consume"], False),
        **dict.fromkeys(["wait", "wait for no time"], ("refused", 1, 2)),
        "retry_after": 1,
        **dict.fromkeys(["acquire", "function"], ("refused", 1, 1)),
        "acquire or refuse": ("refused", 1, 2),
        "reserve": ("refused", 1, 3),
        "reserve for no time": ("refused", 1, 2),
    },
    "bucket": NEVER
    | {
        "available_tokens": 8,
        **dict.fromkeys(["allow", "try_consume"], True),
        "available_tokens then": 4,
        "retry_after": 0,
        "wait": None,
        "acquire": 0,
        "acquire or refuse": ("refused", 1, 2),
        "wait for no time": ("refused", 1, 2),
        "reserve for no time": ("refused", 1, 2),
        "function": ("ran",),
        "reserve": 0,
        "at last": 1,
    },
}


def make_fallback(kind, clock=None):
    """Make a fallback by its kind; a bucket has eight tokens, at a clock that stands still."""
    return TokenBucket(8, 1, clock=clock or ManualClock()) if kind == "bucket" else kind


@pytest.mark.parametrize("kind", ANSWERS)
def test_call_anything_while_away_is_answered_by_the_fallback(world, away, kind):
    """P31: With a fallback no method fails; each answers as the fallback says."""
    bucket = away.bucket(make_fallback(kind))
    away.begin()

    assert answers(world, bucket) == ANSWERS[kind]

    away.pass_over()
    assert world.run(bucket.available_tokens) == 10


@pytest.mark.parametrize("kind", ANSWERS)
def test_call_a_group_while_away_is_answered_by_the_fallback(world, away, kind):
    """P31: A group falls back as its buckets do, and on a group of theirs if they count."""
    clock = ManualClock()
    buckets = [away.bucket(make_fallback(kind, clock), part) for part in "ab"]
    group = BucketGroup(a=buckets[0], b=buckets[1])
    away.begin()

    assert answers(world, group) == ANSWERS[kind]
    if kind == "bucket":
        assert world.run(group.allow({"a": 2})) is False
        world.run(group.refund({"a": 3}))
        assert world.run(group.allow({"a": 2})) is True
        assert [world.run(bucket.available_tokens) for bucket in buckets] == [2, 1]

    away.pass_over()
    assert world.run(group.available_tokens) == 10


def test_admit_while_away_knows_the_levels_of_a_bucket_alone(world, away):
    """P31: Who counts can tell what is left."""
    buckets = [
        away.bucket(fallback, number)
        for number, fallback in enumerate(("allow", TokenBucket(8, 1, clock=ManualClock())))
    ]
    away.begin()

    free, counted = (world.enter(RateLimiter(bucket).acquire(3)).levels for bucket in buckets)

    assert free == {}
    assert counted[None].available_tokens == 5


def test_wait_while_away_waits_in_the_line_of_the_fallback(world, away):
    """P31: A local bucket has its callers wait, and a limiter tells for how long."""
    clock = ManualClock(auto_advance=True)
    bucket = away.bucket(TokenBucket(2, 1, initial_tokens=0, clock=clock))
    away.begin()

    world.run(bucket.wait(3))
    assert clock.elapsed == 3
    assert world.enter(RateLimiter(bucket).acquire(2)).waited == 2
    reservation = world.run(bucket.reserve(4))
    assert (reservation.delay, repr(reservation)) == (4, "Reservation(delay=4)")


@pytest.mark.parametrize("kind", ANSWERS)
def test_be_refused_by_a_server_that_is_there_asks_no_fallback(world, away, log, kind):
    """P31: A fallback is for when the server is away, and not for when it says no."""
    bucket = away.bucket(make_fallback(kind))
    assert world.run(bucket.allow(10))

    with log():
        assert not world.run(bucket.allow())
        assert world.run(bucket.retry_after()) == pytest.approx(1000, rel=0.05)
        with pytest.raises(RateLimitExceeded):
            world.run(bucket.wait(timeout=0))
        with pytest.raises(RateLimitExceeded):
            world.enter(RateLimiter(bucket, block=False))

    assert world.run(bucket.available_tokens) == about(0)


@pytest.mark.parametrize("kind", ANSWERS)
def test_reserve_beyond_what_can_be_counted_asks_no_fallback(world, away, log, kind):
    """P31: A debt of centuries is no reason to admit what comes on top of it."""
    run, bucket, century = world.run, away.bucket(make_fallback(kind)), 100 * 36_525 * 864
    for _ in range(2):
        run(bucket.reserve(century * SLOW))

    with log():
        for _ in range(2):
            with pytest.raises((BackendError, RateLimitExceeded), match="more than a century"):
                run(bucket.reserve(century * SLOW))
            assert not run(bucket.allow())


def test_lose_the_server_warns_once_for_all_buckets_and_tells_its_return(world, away, log):
    """P31: One warning for an outage, however many buckets and calls, and one line at its end."""
    kinds = ["allow", "deny", "deny", None]
    buckets = [away.bucket(kind, number) for number, kind in enumerate(kinds)]
    buckets.append(BucketGroup(*buckets[1:3]))
    for _ in range(2):
        away.begin()
        with log(GONE):
            for _ in range(3):
                for bucket in buckets:
                    answer_or_failure(world, bucket)
                away.clock.advance(1)
        away.pass_over()
        with log(RETURN):
            for bucket in buckets:
                assert world.run(bucket.allow())


@pytest.mark.parametrize("library", LIBRARIES, ids=name_of)
def test_have_no_connection_left_falls_back_for_that_call_alone(redis_server, name, library, log):
    """P39: A crowd of callers is no outage: who finds a connection asks the server."""
    with library(redis_server) as world:
        client = world.client(max_connections=1, socket_timeout=0.3)
        buckets = [world.bucket(client, name, fallback=kind) for kind in ("allow", "deny", None)]
        pool = client.connection_pool
        for expected in ("WARNING",), ():  # for the second comes soon after the first
            taken = world.run(pool.get_connection(*pool_arguments(pool)))
            with pytest.raises(BackendError, match="pool has no connection left") as failed:
                world.run(buckets[2].allow())
            text = f"{failed.value}; the fallback decides for calls that get none"
            with log(*((level, text) for level in expected)):
                assert world.run(buckets[0].allow(10)) is True
                assert world.run(buckets[1].allow()) is False
            world.run(pool.release(taken))
            with log():
                assert world.run(buckets[0].available_tokens) == 10
                assert world.run(buckets[1].allow()) is True
                world.run(buckets[1].refund(1))


def answer_or_failure(world, bucket):
    """Ask a bucket, which may have no fallback."""
    if bucket._core._fallback is None:
        with pytest.raises(BackendError):
            world.run(bucket.allow())
    else:
        world.run(bucket.allow())


def test_lose_the_server_without_a_fallback_says_nothing_and_tries_each_time(world, away, log):
    """P31: Who handles the errors is not told of them, nor kept from trying."""
    bucket = away.bucket()
    away.begin()

    with log():
        for number in range(5):
            answer_or_failure(world, bucket)
            assert away.tries == number + 1
        away.end()
        assert world.run(bucket.allow())


def test_succeed_without_a_fallback_ends_the_outage_for_all(world, away, log):
    """P31: Whoever reaches the server, the others of the client ask it again at once."""
    bold, careful = away.bucket(), away.bucket("deny", 2)
    away.begin()
    with log(GONE):
        for _ in range(4):
            assert not world.run(careful.allow())
    away.end()
    assert not world.run(careful.allow())

    with log(RETURN):
        assert world.run(bold.allow())
        assert world.run(careful.allow())


def test_ask_while_away_tries_the_server_once_a_second(world, away):
    """P31: Of all calls one a second pays for the attempt; the first after its return finds it."""
    buckets = [away.bucket("deny", number) for number in range(3)]
    away.begin()
    tries = []
    for _ in range(31):
        for bucket in buckets:
            world.run(bucket.allow())
            world.run(bucket.retry_after())
        tries.append(away.tries)
        away.clock.advance(0.1)
    assert tries == [4] * 10 + [5] * 10 + [6] * 10 + [7]  # three in a row, and one to make sure

    away.end()
    away.clock.advance(0.8)
    assert not world.run(buckets[0].allow())
    away.clock.advance(0.1)
    assert [world.run(bucket.allow()) for bucket in buckets] == [True] * 3


def test_use_two_clients_keeps_their_outages_apart(world, away, log):
    """P31: What one client cannot reach, another may."""
    lost = away.bucket("deny")
    reached = world.bucket(world.client(), "other", fallback="deny")
    away.begin()

    with log(GONE):
        for _ in range(9):
            assert not world.run(lost.allow())
        assert world.run(reached.allow())
    assert away.tries == 4


SPOILERS = {
    "list": lambda client, key: client.rpush(key, "a"),
    "text": lambda client, key: client.set(key, "what is this?", ex=60),
    "letters": lambda client, key: client.set(key, b"1abcdefghijklmno019", ex=60),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_spoil_one_key_leaves_other_buckets_to_the_server(world, away, client, log, spoil):
    """P33: A value that is not a bucket's is the failure of that bucket, and of no other."""
    spoilt, sound = away.bucket("deny"), away.bucket("deny", "sound")
    spoil(client, away.key)

    with log(SPOILT):
        for number in range(3):
            assert not world.run(spoilt.allow())
            assert world.run(sound.allow())
            assert not world.run(spoilt.allow())
            assert world.run(sound.available_tokens) == about(9 - number)
            away.clock.advance(1)

    client.delete(away.key)
    away.clock.advance(-0.5)
    assert not world.run(spoilt.allow())
    away.clock.advance(0.5)
    with log(RETURN):
        assert world.run(spoilt.allow())


def test_try_a_spoilt_key_first_does_not_keep_others_from_the_server(world, away, client):
    """P31: Other buckets return to a server that answers, whatever it answers to one of them."""
    spoilt, sound = away.bucket("deny"), away.bucket("deny", "sound")
    client.set(away.key, "what is this?", ex=60)
    away.begin()
    assert not world.run(sound.allow())
    away.end()

    admitted = []
    for _ in range(5):
        away.clock.advance(1)
        assert not world.run(spoilt.allow())
        admitted.append(world.run(sound.allow()))

    assert admitted[-1]


def ask_all(world, buckets):
    """Ask many buckets at one moment; return the different answers."""
    if world.bucket_type is RedisTokenBucket:
        start = Barrier(CALLERS)
        with ThreadPoolExecutor(CALLERS) as pool:
            return {*pool.map(lambda bucket: start.wait(5) < CALLERS and bucket.allow(), buckets)}

    async def ask():
        return {*await asyncio.gather(*(bucket.allow() for bucket in buckets))}

    return world.run(ask())


def test_fail_for_many_callers_at_once_warns_once_and_tries_once_a_second(world, away, log):
    """P31: Twenty callers that notice at one moment make one warning, and one attempt later."""
    buckets = [away.bucket("deny", number) for number in range(CALLERS)]
    away.begin()

    with log(GONE):
        assert ask_all(world, buckets) == {False}
        assert 3 <= away.tries <= CALLERS
        assert ask_all(world, buckets) == {False}  # of which one makes sure
        for _ in range(3):
            before = away.tries
            assert ask_all(world, buckets) == {False}
            assert away.tries == before
            away.clock.advance(1)
            assert ask_all(world, buckets) == {False}
            assert away.tries == before + 1
    away.pass_over()
    with log(RETURN):
        assert True in ask_all(world, buckets)
        assert ask_all(world, buckets) == {True}


def test_settle_what_the_fallback_was_paid_is_settled_there(world, away):
    """P31: Permits and reservations of the fallback stay with it, wherever the server is."""
    run, local = world.run, TokenBucket(100, 1, clock=ManualClock())
    bucket = away.bucket(local)
    limiter = RateLimiter(bucket)
    away.begin()
    permits = [world.enter(limiter.acquire(10)) for _ in range(3)]
    places = [run(bucket.reserve(10)) for _ in range(3)]
    assert local.available_tokens == 40

    for permit, place in zip(permits, places, strict=True):
        run(permit.settle(7))
        run(place.settle(4))
        away.pass_over()
    assert local.available_tokens == 67
    run(permits[0].refund())
    run(places[0].cancel())
    run(permits[1].settle(12))

    assert local.available_tokens == 73
    assert away.level == 10
    assert run(bucket.allow())


@pytest.mark.parametrize("kind", ["allow", "bucket"])
def test_settle_what_the_fallback_was_paid_never_reaches_the_server(world, away, kind):
    """P31: What was admitted while the server was away gives nothing back there."""
    bucket = away.bucket(make_fallback(kind))
    assert world.run(bucket.allow(8))
    away.begin()
    permit, place = world.enter(RateLimiter(bucket).acquire(3)), world.run(bucket.reserve(3))
    away.pass_over()

    world.run(permit.settle(1))
    world.run(permit.refund())
    world.run(place.settle(9))
    world.run(place.cancel())

    assert away.level == about(2)


@pytest.mark.parametrize("kind", ANSWERS)
def test_settle_while_away_what_the_server_was_paid_settles_nowhere(world, away, kind):
    """P31: Corrections that cannot reach the server are dropped, and reach no fallback."""
    run, fallback = world.run, make_fallback(kind)
    bucket = away.bucket(fallback)
    assert kind != "bucket" or fallback.allow(4)
    permits = [world.enter(RateLimiter(bucket)) for _ in range(2)]
    places = [run(bucket.reserve()) for _ in range(2)]
    away.begin()

    run(permits[0].settle(0))
    run(permits[1].refund())
    run(places[0].settle(5))
    run(places[1].cancel())

    if kind == "bucket":
        assert fallback.available_tokens == 4
    away.pass_over()
    assert away.level == about(6)
    run(places[1].cancel())
    run(permits[1].refund())
    assert away.level == about(6)


@pytest.mark.parametrize("what", ["permit", "reservation"])
@pytest.mark.parametrize(
    ("first", "then", "charged"), [(5, 0, 0), (5, 6, 6), (0, 0, 1), (0, 1, 2), (0, 5, 6)]
)
def test_settle_again_after_an_outage_gives_nothing_back_twice(  # noqa: PLR0917 - a table
    world, away, what, first, then, charged
):
    """P29: A charge that was lost is not taken as made, and what may have been given back is."""
    run, bucket = world.run, away.bucket("allow")
    assert run(bucket.allow(4))
    held = world.enter(RateLimiter(bucket)) if what == "permit" else run(bucket.reserve())
    away.begin()
    run(held.settle(first))
    away.pass_over()

    run(held.settle(then))

    assert away.level == about(6 - charged)


INVALID = {
    "allow": (lambda run, bucket: run(bucket.allow(0)), ValueError),
    "try_consume": (lambda run, bucket: run(bucket.try_consume("1")), TypeError),
    "wait": (lambda run, bucket: run(bucket.wait(-1)), ValueError),
    "timeout": (lambda run, bucket: run(bucket.wait(1, timeout=math.nan)), ValueError),
    "no timeout": (lambda run, bucket: run(bucket.wait(1, timeout="1")), TypeError),
    "reserve": (lambda run, bucket: run(bucket.reserve(math.nan)), ValueError),
    "reserve timeout": (lambda run, bucket: run(bucket.reserve(1, math.nan)), ValueError),
    "refund": (lambda run, bucket: run(bucket.refund(0)), ValueError),
    "pause": (lambda run, bucket: run(bucket.pause(-1)), ValueError),
    "pause for no time": (lambda run, bucket: run(bucket.pause(None)), TypeError),
    "retry_after": (lambda run, bucket: run(bucket.retry_after(True)), TypeError),
    "mapping": (lambda run, bucket: run(bucket.allow({"a": 1})), TypeError),
    "acquire": (lambda run, bucket: RateLimiter(bucket).acquire(10**400), ValueError),
    "a century": (lambda run, bucket: run(bucket.wait(1e300)), ValueError),
    "a century's pause": (lambda run, bucket: run(bucket.pause(1e300)), ValueError),
}


@pytest.mark.parametrize("present", [True, False], ids=["present", "away"])
@pytest.mark.parametrize("kind", ANSWERS)
def test_call_with_what_is_invalid_raises_whether_or_not_the_server_is_there(
    world, away, kind, present
):
    """P22: A mistake is told from the first day on, and not only while the server is there."""
    bucket = away.bucket(make_fallback(kind))
    if not present:
        away.begin()

    for call, error in INVALID.values():
        with pytest.raises(error):
            call(world.run, bucket)

    assert away.tries == 0
    assert (
        world.run(bucket.available_tokens)
        == {
            "allow": math.inf,
            "deny": 0,
            "bucket": 8,
        }[kind]
        if not present
        else 10
    )


@pytest.mark.parametrize("kind", [None, "allow", "bucket"])
@pytest.mark.parametrize(
    ("actual", "error"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
        ({}, TypeError),
    ],
)
def test_settle_with_what_is_invalid_raises_whoever_was_paid(world, away, kind, actual, error):
    """P22: What was used is checked whether the server, a bucket in its place or nobody counts."""
    bucket = away.bucket(make_fallback(kind))
    if kind:
        away.begin()
    held = [world.enter(RateLimiter(bucket)), world.run(bucket.reserve())]

    for one in held:
        with pytest.raises(error):
            world.run(one.settle(actual))


@pytest.mark.parametrize(
    ("fallback", "error"),
    [
        *(("Allow", ValueError), ("", ValueError), ("open", ValueError), ("none", ValueError)),
        *((b"allow", TypeError), (True, TypeError), (False, TypeError), (0, TypeError)),
        *((TokenBucket, TypeError), (["allow"], TypeError), (math.inf, TypeError)),
        (RateLimiter(TokenBucket(1, 1)), TypeError),
    ],
    ids=str,
)
def test_make_bucket_with_what_is_no_fallback_says_what_is_one(world, fallback, error):
    """P22: A fallback is one of four things, which the error names."""
    client = world.make_client()
    message = r"^fallback must be None, 'allow', 'deny' or a TokenBucket, got "

    with pytest.raises(error, match=message):
        world.bucket(client, "name", fallback=fallback)
    with pytest.raises(error, match=message):
        world.bucket_type.from_rate(client, "name", "1/second", fallback=fallback)


def test_make_bucket_with_a_bucket_elsewhere_as_fallback_is_refused(world):
    """P31: What is on a server cannot stand in for one; a group in this process can."""
    client = world.make_client()
    remote = world.bucket(client, "remote")

    with pytest.raises(
        TypeError, match=r"^fallback must be None, 'allow', 'deny' or a TokenBucket"
    ):
        world.bucket(client, "name", fallback=remote)

    group = BucketGroup(TokenBucket(1, 1), TokenBucket(2, 1))
    assert world.bucket(client, "name", fallback=group).capacity == 10
