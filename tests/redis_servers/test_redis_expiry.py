"""When buckets on a server are forgotten: never before they are full, and soon after."""

import math
import time
from fractions import Fraction

import pytest
from redis_worlds import SLOW, WORLDS, expires_at, full_at, name_of

from rate_limiter import BucketGroup, RateLimiter, RateLimitExceeded
from rate_limiter.redis import RedisTokenBucket

MICROSECOND = Fraction(1, 10**6)
YEAR = 365 * 86_400
SPANS = [1e-6, 1e-5, 0.000999, 0.001, 0.001001, 0.5, 1, 60, 86_400, 30 * 86_400, YEAR, 10 * YEAR]
MARGIN = 1_100  # milliseconds after which a full bucket's key is gone, even of a busy server


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


class Key:
    """What is on the server under a key, and when it goes away."""

    def __init__(self, client, name):
        self.name = name
        self._client = client
        self._key = f"rate_limiter:{name}"

    @property
    def state(self):
        """The value, and the millisecond at which it expires."""
        return self._client.get(self._key), expires_at(self._client, self._key)

    @property
    def expires(self):
        """The microsecond at which it expires; in the past if there is no key or no expiry."""
        return expires_at(self._client, self._key) * 1000

    @property
    def now(self):
        """The microsecond that it is on the server."""
        seconds, microseconds = self._client.time()
        return seconds * 10**6 + microseconds

    def check(self):
        """See to it that it outlives its debts, and not by much."""
        full = max(full_at(self._client.get(self._key)), self.now)
        assert full <= self.expires <= full + MARGIN * 1000


@pytest.fixture
def key(client, name):
    """Look at the key of the test's bucket."""
    return Key(client, name)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("capacity", [1, 3, Fraction(1, 3), 1000])
def test_take_from_a_bucket_of_any_span_keeps_its_key_until_it_is_full(
    world, key, name, span, capacity
):
    """P30: From a microsecond to ten years, a key outlives the time to full by about a second."""
    bucket = world.bucket(world.client(), name, capacity, Fraction(capacity) / Fraction(str(span)))
    before = key.now

    assert world.run(bucket.allow(capacity))

    assert before + span * 10**6 <= key.expires <= key.now + span * 10**6 + MARGIN * 1000


@pytest.mark.parametrize("share", [1, Fraction(1, 2), Fraction(1, 3), Fraction(1, 1000)])
def test_take_a_part_keeps_the_key_for_as_long_as_that_part_takes(world, key, name, share):
    """P30: The expiry goes by what is lacking, not by the capacity."""
    bucket = world.bucket(world.client(), name, 1, Fraction(1, YEAR))
    before = key.now

    assert world.run(bucket.allow(share))

    lacks = share * YEAR * 10**6
    assert before + lacks - 1 <= key.expires <= key.now + lacks + MARGIN * 1000
    key.check()


def in_debt_by_reservation(world, bucket):
    """Reserve much more than there is."""
    world.run(bucket.reserve(1000))


def in_debt_by_settling(world, bucket):
    """Have used much more than there was."""
    world.run(world.enter(RateLimiter(bucket)).settle(1000))


def in_debt_by_settling_a_place_in_line(world, bucket):
    """Have reserved less than was used."""
    world.run(world.run(bucket.reserve(20)).settle(1000))


def in_debt_by_group(world, bucket):
    """Reserve together with a bucket that is in debt."""
    other = world.bucket(bucket._source, b"other-" + bucket._limits.limit.key, 1, SLOW)
    world.run(other.allow())
    world.run(BucketGroup(bucket, other=other).reserve(990))


def in_debt_by_pause(world, bucket):
    """Be paused for as long as a thousand tokens take."""
    world.run(bucket.pause(990 / SLOW))


DEBTS = [
    *(in_debt_by_reservation, in_debt_by_settling, in_debt_by_settling_a_place_in_line),
    *(in_debt_by_group, in_debt_by_pause),
]


@pytest.mark.parametrize("get_into_debt", DEBTS)
def test_get_into_debt_keeps_the_key_until_the_debt_is_over(world, key, name, get_into_debt):
    """P30: A debt of many times the capacity is not forgotten before it is paid."""
    bucket, before = world.bucket(world.client(), name), key.now

    get_into_debt(world, bucket)

    key.check()
    assert key.expires >= before + 999 / SLOW * 10**6


def test_do_anything_leaves_an_expiry_that_fits_the_value(world, client, key, name):
    """P30: Whatever is done to a bucket, its key has an expiry, after it is full and soon after."""
    run, bucket = world.run, world.bucket(world.client(), name)
    limiter, held = RateLimiter(bucket, block=False), []
    group = BucketGroup(bucket, wide=world.bucket(bucket._source, f"{name}-wide", 100))
    for do in (
        lambda: run(bucket.allow(3)),
        lambda: held.append(run(bucket.reserve(9))),
        lambda: held.append(run(bucket.reserve(Fraction(1, 3)))),
        lambda: held.append(run(group.reserve(Fraction(1, 7)))),
        lambda: run(held[1].cancel()),
        lambda: run(held[0].settle(30)),
        lambda: run(bucket.refund(5)),
        lambda: bucket.configure(capacity=1000, tokens_per_second=math.pi),
        lambda: run(bucket.allow(900)),
        lambda: run(held[0].cancel()),
        lambda: run(bucket.pause(60)),
        lambda: run(held[2].cancel()),
        lambda: run(bucket.resume()),
        lambda: bucket.configure(tokens_per_second=1e-6),
        lambda: run(bucket.refund(600)),
        lambda: run(world.enter(limiter.acquire(7)).refund()),
    ):
        do()
        key.check()
    run(bucket.refund(1e300))
    assert key.expires <= key.now + MARGIN * 1000  # it is full, and needs no key
    assert Key(client, f"{name}-wide").state == (None, -2)  # it has all its tokens back


def test_give_back_to_a_full_bucket_makes_no_key(world, client, key, name):
    """P30: What is full and was never used needs no key, so that none has to expire."""
    run, bucket = world.run, world.bucket(world.client(), name)

    run(bucket.refund(5))
    run(bucket.available_tokens), run(bucket.retry_after())

    assert key.state == (None, -2)


def refuse_allow(world, bucket):
    """Ask for what is not there."""
    assert not world.run(bucket.allow(6))


def refuse_wait(world, bucket):
    """Wait for less time than it would take."""
    with pytest.raises(RateLimitExceeded):
        world.run(bucket.wait(6, timeout=1))


def refuse_reserve(world, bucket):
    """Reserve what comes too late."""
    with pytest.raises(RateLimitExceeded):
        world.run(bucket.reserve(600, timeout=1))


def refuse_acquire(world, bucket):
    """Enter a limiter that does not wait."""
    with pytest.raises(RateLimitExceeded):
        world.enter(RateLimiter(bucket, block=False).acquire(6))


def refuse_group(world, bucket):
    """Ask for what this bucket has, and another has not."""
    other = world.bucket(bucket._source, b"other-" + bucket._limits.limit.key, 1)
    group = BucketGroup(bucket, other=other)
    world.run(other.allow())
    assert not world.run(group.allow())
    with pytest.raises(RateLimitExceeded):
        world.run(group.wait({"other": 1}, timeout=1))


def look(world, bucket):
    """Ask, and take nothing."""
    assert world.run(bucket.retry_after(6)) > 0
    assert world.run(bucket.available_tokens) > 0 or world.run(bucket.retry_after(1)) > 0


REFUSALS = [refuse_allow, refuse_wait, refuse_reserve, refuse_acquire, refuse_group, look]


@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize(("rate", "taken"), [(SLOW, [5]), (math.pi / 1e4, [5]), (SLOW, [5, 7])])
def test_refuse_leaves_value_and_expiry_as_they_are(world, key, refuse, rate, taken):
    """P5: Whatever refuses, or only looks, writes neither the value nor its expiry."""
    bucket = world.bucket(world.client(), key.name, 10, rate)
    for tokens in taken:  # the second waits in line
        world.run(bucket.reserve(tokens))
    before = key.state

    for _ in range(3):
        refuse(world, bucket)

    assert key.state == before


def test_leave_a_full_bucket_alone_removes_its_key(client, name):
    """P30: The key of a bucket that has been full for a second goes away by itself."""
    quick = RedisTokenBucket(client, name, 1, 1e6)
    paid_back = RedisTokenBucket(client, f"{name}-paid-back", 10, SLOW)
    assert quick.allow()
    assert paid_back.allow()
    paid_back.refund(1)
    keys = [f"rate_limiter:{name}", f"rate_limiter:{name}-paid-back"]
    assert client.exists(keys[0]) == 1  # what was paid back may be gone already

    time.sleep(MARGIN / 1000)

    assert client.exists(*keys) == 0
    assert (quick.available_tokens, paid_back.available_tokens) == (1, 10)
