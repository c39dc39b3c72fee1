"""Everything that is above a bucket works over those on a server, in threads and in tasks."""

import copy
import pickle
import socket
from functools import partial

import pytest
from redis_worlds import SLOW, WORLDS, Tasks, about, name_of
from servers import HOST

from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    per_instance,
    rate_limited,
)
from rate_limiter.testing import ManualClock


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def remote(world):
    """Be a client of the world's."""
    return world.client()


@pytest.fixture
def bucket(world, remote, name):
    """Hold ten tokens, of which hardly any come back."""
    return world.bucket(remote, name)


@pytest.fixture
def quick(world, remote, name):
    """Hold one token, and get fifty a second."""
    return world.bucket(remote, f"{name}-quick", 1, 50)


@pytest.fixture
def level(world):
    """Tell what is left in a bucket."""
    return lambda bucket: world.run(bucket.available_tokens)


def test_acquire_with_block_waits_for_the_tokens(world, quick):
    """A limiter waits by default, and the permit knows how long."""
    limiter = RateLimiter(quick)

    permits = [world.enter(limiter.acquire(tokens)) for tokens in (1, 2, 3)]

    assert [permit.tokens for permit in permits] == [1, 2, 3]
    assert permits[0].waited == 0
    assert permits[1].waited > 0.01  # for what is not there however late it asks
    assert permits[2].waited > 0.03


def test_acquire_by_await_gives_the_permit(redis_server, name):
    """In tasks a permit can be awaited as well, and its own calls are awaited."""
    with Tasks(redis_server) as world:
        bucket = world.bucket(world.client(), name)

        async def main():
            permit = await RateLimiter(bucket).acquire(3)
            await permit.settle(4)
            levels = [await bucket.available_tokens]
            await permit.refund()
            return [*levels, await bucket.available_tokens]

        assert world.run(main()) == [about(6), about(10)]


def test_acquire_without_block_refuses_and_tells_when_to_come_back(world, bucket, level):
    """A limiter that does not wait raises, with the time and the cost."""
    limiter = RateLimiter(bucket, block=False)
    world.enter(limiter.acquire(9))

    with pytest.raises(RateLimitExceeded) as refusal:
        world.enter(limiter.acquire(3))
    with pytest.raises(CostExceedsCapacity, match="a cost of 11 is above the capacity of 10"):
        world.enter(limiter.acquire(11))

    assert refusal.value.retry_after == pytest.approx(2 / SLOW, rel=0.05)
    assert refusal.value.tokens == 3
    assert level(bucket) == about(1)


def test_acquire_with_timeout_refuses_what_comes_later(world, quick, level):
    """P12: A wait that does not fit is refused at once, and takes nothing."""
    limiter = RateLimiter(quick, timeout=5)
    world.enter(limiter)

    for refused in (limiter.acquire(1000), limiter.acquire(2, timeout=0.001)):
        with pytest.raises(RateLimitExceeded, match="but the timeout is") as refusal:
            world.enter(refused)
        assert refusal.value.retry_after > 0.001

    assert 0 < world.enter(limiter.acquire(2)).waited < 5


def test_settle_a_permit_charges_what_was_used(world, bucket, level):
    """What was really used is charged, as often as more is known, in whichever direction."""
    permit = world.enter(RateLimiter(bucket).acquire(5))

    for actual, left in ((2, 8), (8.5, 1.5), (0, 10), (30, 0), (1, 9)):
        world.run(permit.settle(actual))
        assert level(bucket) == about(left)


def test_refund_a_permit_gives_all_back_once(world, bucket, level):
    """Work that never happened has cost nothing, and is not paid back twice."""
    limiter = RateLimiter(bucket)
    world.enter(limiter.acquire(4))
    permit = world.enter(limiter.acquire(5))

    world.run(permit.settle(6))
    world.run(permit.refund())
    world.run(permit.refund())

    assert level(bucket) == about(6)
    with pytest.raises(RuntimeError, match="cannot settle a permit that is refunded"):
        world.run(permit.settle(1))


def test_decorate_functions_charges_each_call(world, bucket, level):
    """`@limiter` and `@limiter.cost` charge functions, methods and generators of the world."""
    limiter = RateLimiter(bucket, block=False)
    one = limiter(world.function())
    by_arguments = limiter.cost(lambda *args: sum(args))(world.function())
    generator = limiter.cost(2)(world.generator())

    class Owner:
        method = limiter.cost(lambda self, cost: cost)(world.function(lambda self, cost: cost))
        of_class = classmethod(limiter.cost(0.5)(world.function()))

    assert world.run(one("a", "b")) == ("a", "b")
    assert level(bucket) == about(9)
    assert world.run(by_arguments(1, 2)) == (1, 2)
    assert level(bucket) == about(6)
    assert world.run(Owner().method(1.5)) == 1.5
    assert world.run(Owner.of_class(7)) == (Owner, 7)
    assert level(bucket) == about(4)
    generated = generator(5, 6)
    assert level(bucket) == about(4)
    assert world.collect(generated) == [5, 6]
    assert level(bucket) == about(2)
    with pytest.raises(RateLimitExceeded):
        world.run(by_arguments(1, 2))
    assert one.limiter is Owner.method.limiter is limiter
    assert level(bucket) == about(2)


def test_decorate_at_a_cost_that_never_fits_is_refused(world, bucket, level):
    """P22: A limiter that does not wait could admit no call at all."""
    limiter = RateLimiter(bucket, block=False)

    with pytest.raises(CostExceedsCapacity, match="cost of 11 is above the capacity of 10"):
        limiter.cost(11)

    assert level(bucket) == 10
    assert world.enter(limiter).levels[None].available_tokens == about(9)


def test_decorate_with_a_group_charges_by_mapping(world, remote, bucket, name, level):
    """A mapping costs each bucket of a group its own, fixed or from the call's arguments."""
    words = world.bucket(remote, f"{name}-words", 1000)
    limiter = RateLimiter(BucketGroup(calls=bucket, words=words), block=False)
    fixed = limiter.cost({"calls": 1, "words": 100})(world.function())
    counted = limiter.cost(lambda text: {"words": len(text)})(world.function(len))

    world.run(fixed())
    assert world.run(counted("abc")) == 3
    assert [level(bucket), level(words)] == [about(9), about(897)]

    with pytest.raises(RateLimitExceeded):
        world.run(counted("a" * 900))
    permit = world.enter(limiter.acquire({"calls": 2, "words": 7}))
    world.run(permit.settle({"words": 10}))
    assert [level(bucket), level(words)] == [about(7), about(887)]
    world.run(permit.refund())
    assert [level(bucket), level(words)] == [about(9), about(897)]


@pytest.mark.parametrize(
    ("cost", "error"),
    [
        ({"nobody": 1}, r"no bucket of this group is called 'nobody'; its names are: 'calls'"),
        ({}, "a cost mapping must name at least one bucket of: 'calls'"),
        ({"calls": -1}, "tokens must be above 0, got -1"),
    ],
)
def test_acquire_by_a_wrong_mapping_says_what_is_wrong(world, bucket, level, cost, error):
    """P22: A mapping that means nothing to the group is refused, and charges nothing."""
    group = BucketGroup(calls=bucket)

    for ask in (RateLimiter(group).acquire, group.reserve, group.allow, group.retry_after):
        with pytest.raises(ValueError, match=error):
            world.run(ask(cost))
    with pytest.raises(TypeError, match="several named buckets needs a BucketGroup"):
        world.run(bucket.allow({"calls": 1}))

    assert level(bucket) == 10


def test_rate_limited_with_a_bucket_of_a_name_shares_it(world, remote, bucket, name, level):
    """`make_bucket=partial(RedisTokenBucket, client, name)` gets the terms of the decorator."""
    make_bucket = partial(world.bucket_type, remote, name)

    @rate_limited(10, SLOW, 3, block=False, make_bucket=make_bucket)
    def unused():
        """Be decorated alone, and take nothing."""

    called = rate_limited(10, "86.4 per day", 3, False, make_bucket=make_bucket)(world.function())

    assert world.run(called(1)) == (1,)
    assert level(bucket) == about(7)
    assert (called.limiter.bucket.capacity, called.limiter.bucket.tokens_per_second) == (10, SLOW)


def test_rate_limited_with_a_key_has_a_bucket_for_each(world, remote, bucket, name, level):
    """With `key=` the maker is given the key, to name the bucket by."""

    def make_bucket(capacity, rate, user):
        return world.bucket(remote, f"{name}-{user}", capacity, rate)

    called = rate_limited(2, SLOW, block=False, key=lambda user, *_: user, make_bucket=make_bucket)(
        world.function()
    )

    for user in ("ann", "bob", "ann", "bob"):
        assert world.run(called(user)) == (user,)
    with pytest.raises(RateLimitExceeded):
        world.run(called("ann"))
    assert level(world.bucket(remote, f"{name}-ann", 2)) == about(0)


def test_rate_limited_per_instance_has_a_bucket_for_each(world, remote, name):
    """With `key=per_instance` the maker is given the instance, to name the bucket by."""

    def make_bucket(capacity, rate, account):
        return world.bucket(remote, f"{name}-{account.number}", capacity, rate)

    class Account:
        def __init__(self, number):
            self.number = number

        call = rate_limited(1, SLOW, block=False, key=per_instance, make_bucket=make_bucket)(
            world.function(lambda self: self.number)
        )

    first, second, again = Account(1), Account(2), Account(1)

    assert [world.run(account.call()) for account in (first, second)] == [1, 2]
    for account in (first, second, again):  # the name says which bucket it is, not the object
        with pytest.raises(RateLimitExceeded):
            world.run(account.call())


def test_rate_limited_with_a_key_and_one_name_is_refused(world, remote, name):
    """A maker that is not given the key would have all keys share one bucket, unnoticed."""
    make_bucket = partial(world.bucket_type, remote, name)

    with pytest.raises(TypeError, match="key"):  # when it is decorated, or at the latest called
        world.run(rate_limited(2, SLOW, key=len, make_bucket=make_bucket)(world.function())("word"))


def test_look_up_a_key_makes_a_bucket_of_its_name(world, remote, name, level):
    """`KeyedRateLimiter` has a bucket for each key, and its own memory of none is needed."""

    def make():
        return KeyedRateLimiter(
            lambda key: world.bucket(remote, f"{name}-{key}", 2), block=False, max_keys=3
        )

    limiters, others = make(), make()

    for key in range(20):
        world.enter(limiters[key])
    assert len(limiters) <= 3
    for key in range(20):
        world.enter(others[key])
        with pytest.raises(RateLimitExceeded):
            world.enter(limiters[key])


def test_group_of_groups_takes_from_all_and_knows_names(world, remote, bucket, name, level):
    """A group is a bucket, and goes into other groups."""
    wide, wider = (world.bucket(remote, f"{name}-{size}", size) for size in (20, 30))
    inner = BucketGroup(bucket, wide=wide)
    group = BucketGroup(inner=inner, wider=wider)

    assert world.run(group.allow(4))
    assert world.run(group.allow({"inner": 1}))
    assert world.run(group.allow({"wider": 20}))
    assert not world.run(group.allow(6))

    assert [level(each) for each in (bucket, wide, wider)] == [about(5), about(15), about(6)]
    assert level(group) == about(5)
    assert (group.capacity, group.tokens_per_second) == (10, SLOW)
    assert group.buckets == {"inner": inner, "wider": wider}
    assert repr(group).startswith("BucketGroup(inner=BucketGroup(")


def test_configure_a_bucket_of_a_group_changes_the_group(world, remote, bucket, name):
    """P9: A group goes by what its buckets are now."""
    group = BucketGroup(bucket, world.bucket(remote, f"{name}-other", 100))
    world.run(group.allow(10))

    bucket.configure(capacity=15)

    assert group.capacity == 15
    assert [world.run(group.allow(1)), world.run(bucket.available_tokens)] == [False, about(0)]


def test_group_of_other_kinds_twice_or_of_other_clients_is_refused(
    world, redis_server, remote, bucket, name
):
    """What cannot decide in one step is refused when the group is made."""
    other_kind = next(kind for kind in WORLDS if kind is not type(world))
    with other_kind(redis_server) as other:
        foreign = [other.bucket(other.make_client(), name), TokenBucket(10, 1)]
        for stranger in (*foreign, BucketGroup(foreign[0]), BucketGroup(foreign[1])):
            for members in ([bucket, stranger], [stranger, bucket]):
                with pytest.raises(TypeError, match="does not go with a"):
                    BucketGroup(*members)
    same = world.bucket(remote, name.encode(), 99)
    for members in ([bucket, bucket], [bucket, same], [BucketGroup(bucket), same]):
        with pytest.raises(ValueError, match="can be in a BucketGroup only once"):
            BucketGroup(*members)
    with pytest.raises(ValueError, match="in one store, by one client"):
        BucketGroup(bucket, world.bucket(world.client(), f"{name}-other"))
    with pytest.raises(TypeError, match="a BucketGroup holds buckets, got 'name'"):
        BucketGroup(bucket, "name")


def test_copy_or_pickle_is_refused_and_says_what_to_do(world, bucket):
    """P21: A bucket is shared by its name; a copy of the object would be of no use."""
    group, held = BucketGroup(bucket), world.run(bucket.reserve())
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a reservation cannot be pickled or copied"):
            duplicate(held)
    for live in (bucket, group, RateLimiter(bucket), RateLimiter(group)):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            if duplicate is copy.copy and live not in (bucket, group):
                continue  # another handle to the same bucket
            with pytest.raises(TypeError, match="make one in each process"):
                duplicate(live)


def test_put_a_manual_clock_under_says_what_to_do(world, bucket, level):
    """A server's clock is not for tests to set; the error says what to test with."""
    limiter = RateLimiter(bucket)
    for target in (bucket, BucketGroup(bucket), limiter, limiter(world.function())):
        with (
            pytest.raises(TypeError, match="put a TokenBucket in its place"),
            ManualClock().under(target),
        ):
            pass

    assert world.run(bucket.allow())
    assert level(bucket) == about(9)


def test_decorate_connects_to_nobody(world, name):
    """P28: Modules that decorate can be imported where no server is, or is not to be bothered."""
    with socket.create_server((HOST, 0)) as listening:
        listening.setblocking(False)
        client = world.keep(world.make_client(port=listening.getsockname()[1]))
        make_bucket = partial(world.bucket_type, client, name)
        limiter = RateLimiter(BucketGroup(make_bucket(10, 1), other=world.bucket(client, "other")))
        limiter(world.function())
        limiter.cost({"other": 2})(world.generator())
        rate_limited(10, 1, 3, block=False, make_bucket=make_bucket)(world.function())
        rate_limited(10, 1, key=len, make_bucket=lambda _, rate, key: make_bucket(key, rate))(len)
        with pytest.raises(CostExceedsCapacity):
            rate_limited(10, 1, 11, block=False, make_bucket=make_bucket)

        with pytest.raises(BlockingIOError):
            listening.accept()
