"""RateLimiter: wait or refuse, around a block, an await or a call."""

import asyncio

import pytest

from rate_limiter import CostExceedsCapacity, RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


@pytest.fixture
def bucket(clock):
    return TokenBucket(10, 1, clock=clock)


def enter(limiter, *args, **kwargs):
    with limiter.acquire(*args, **kwargs) as permit:
        return permit


def enter_async(limiter, *args, **kwargs):
    async def main():
        async with limiter.acquire(*args, **kwargs) as permit:
            return permit

    return asyncio.run(main())


def await_permit(limiter, *args, **kwargs):
    async def main():
        return await limiter.acquire(*args, **kwargs)

    return asyncio.run(main())


def call(limiter, *args):
    return limiter.cost(*args)(lambda: "called")()


def call_async(limiter, *args):
    @limiter.cost(*args)
    async def func():
        return "called"

    return asyncio.run(func())


every_way = pytest.mark.parametrize("take", [enter, enter_async, await_permit, call, call_async])


@every_way
def test_take_tokens_that_are_there_goes_on_at_once(take, bucket, clock):
    """Tokens that are there are taken on entry, whatever the policy."""
    take(RateLimiter(bucket), 3)
    take(RateLimiter(bucket, block=False), 2.5)
    take(RateLimiter(bucket, timeout=0), 4)
    assert (bucket.available_tokens, clock.elapsed) == (0.5, 0)


@every_way
def test_take_tokens_that_are_short_waits_for_them(take, bucket, clock):
    """A blocking limiter waits until the tokens are there, and no longer."""
    limiter = RateLimiter(bucket)
    take(limiter, 8)
    take(limiter, 5)
    assert (bucket.available_tokens, clock.elapsed) == (0, 3)


@every_way
def test_take_more_than_capacity_waits_for_all_of_it(take, bucket, clock):
    """A blocking limiter serves a cost above the capacity once all of it has accrued."""
    take(RateLimiter(bucket), 25)
    assert clock.elapsed == 15


@every_way
def test_refuse_without_blocking_says_when_and_how_much(take, bucket, clock):
    """P5, P6: A refusal names wait and cost, changes nothing, and its wait is enough."""
    limiter = RateLimiter(bucket, block=False)
    bucket.allow(8)
    with pytest.raises(RateLimitExceeded, match="a cost of 5 can be paid in 3 s") as refusal:
        take(limiter, 5)
    assert (refusal.value.retry_after, refusal.value.tokens) == (3.0, 5)
    assert (bucket.available_tokens, clock.elapsed) == (2, 0)
    clock.advance(refusal.value.retry_after)
    take(limiter, 5)
    assert bucket.available_tokens == 0


@every_way
def test_refuse_what_does_not_fit_timeout_at_once(take, bucket, clock):
    """P12: A timeout that cannot be met raises at once and takes nothing."""
    limiter = RateLimiter(bucket, timeout=2.5)
    bucket.allow(8)
    with pytest.raises(RateLimitExceeded, match=r"in 3 s, but the timeout is 2\.5 s") as refusal:
        take(limiter, 5)
    assert (refusal.value.retry_after, refusal.value.tokens) == (3.0, 5)
    assert (bucket.available_tokens, clock.elapsed) == (2, 0)
    take(limiter, 4.5)
    assert clock.elapsed == 2.5


@pytest.mark.parametrize("take", [enter, enter_async, await_permit])
def test_take_more_than_capacity_without_blocking_never_works(take, bucket):
    """A cost that no wait would help is another error, which is a ValueError, and costs nothing."""
    limiter = RateLimiter(bucket, block=False)
    with pytest.raises(CostExceedsCapacity, match="11 is above the capacity of 10; lower the cost"):
        take(limiter, 11)
    assert issubclass(CostExceedsCapacity, ValueError)
    assert not issubclass(CostExceedsCapacity, RateLimitExceeded)
    assert bucket.available_tokens == 10


def test_decorate_with_more_than_capacity_without_blocking_is_refused_at_once(bucket):
    """A constant cost that no call could pay is refused before there is a call."""
    with pytest.raises(CostExceedsCapacity):
        RateLimiter(bucket, block=False).cost(11)
    with pytest.raises(CostExceedsCapacity, match=r"a cost of 1 is above the capacity of 0\.5"):
        RateLimiter(TokenBucket(0.5, 1), block=False)(len)


@pytest.mark.parametrize("wrong", [10, None, "10/second", print])
def test_refuse_what_is_no_bucket(wrong):
    """Only a bucket can be limited with."""
    with pytest.raises(TypeError, match="bucket must be a TokenBucket"):
        RateLimiter(wrong)


def test_refuse_class_of_buckets_tells_to_make_one():
    """Whoever forgets to make a bucket is shown how to."""
    with pytest.raises(TypeError, match=r"got the class TokenBucket; .*RateLimiter\(TokenBucket\("):
        RateLimiter(TokenBucket)


def test_refuse_limiter_for_bucket(bucket):
    """A limiter is not a bucket."""
    with pytest.raises(
        TypeError, match=r"bucket must be a TokenBucket or BucketGroup, got .*RateLimiter\)"
    ):
        RateLimiter(RateLimiter(bucket))


def test_show_policy(bucket):
    """A limiter shows its bucket and policy, as attributes that stay what they are."""
    limiter = RateLimiter(bucket, timeout=5)
    assert (limiter.bucket, limiter.block, limiter.timeout) == (bucket, True, 5)
    for name in ("bucket", "block", "timeout"):
        with pytest.raises(AttributeError):
            setattr(limiter, name, None)


@pytest.mark.parametrize(
    ("options", "shown"),
    [({}, "timeout=None"), ({"timeout": 2}, "timeout=2"), ({"block": False}, "block=False")],
)
def test_repr_shows_bucket_and_policy(options, shown, bucket):
    """The repr shows what a reader of a log needs."""
    limiter = RateLimiter(bucket, **options)
    assert repr(limiter) == f"RateLimiter({bucket!r}, {shown})"


def test_enter_limiter_itself_takes_one(bucket, clock):
    """`with limiter:` and `async with limiter:` take one token and wait like any call."""
    limiter = RateLimiter(bucket)

    async def main():
        async with limiter as permit:
            return permit

    with limiter as permit:
        assert (permit.tokens, permit.waited) == (1, 0)
    assert bucket.available_tokens == 9
    bucket.allow(9)
    permit = asyncio.run(main())
    assert (permit.tokens, permit.waited, clock.elapsed) == (1, 1, 1)


def test_nest_limiter_in_itself_takes_one_each(bucket):
    """A limiter may be entered as often as one likes, within itself too."""
    limiter = RateLimiter(bucket, block=False)
    with limiter, limiter:
        assert bucket.available_tokens == 8
    assert bucket.available_tokens == 8


@pytest.mark.parametrize("enter_it", [lambda one: one, lambda one: one.acquire(1)])
def test_raise_within_block_passes_through_and_changes_nothing(enter_it, bucket):
    """An error inside the block comes out of it as it was, and the tokens stay spent."""
    limiter, error = RateLimiter(bucket), LookupError("own")

    async def main():
        async with enter_it(limiter):
            raise error

    with pytest.raises(LookupError) as caught, enter_it(limiter):
        raise error
    assert caught.value is error
    with pytest.raises(LookupError) as caught:
        asyncio.run(main())
    assert caught.value is error
    assert bucket.available_tokens == 8


def test_share_bucket_between_limiters(bucket):
    """Two policies over one bucket draw on the same tokens."""
    patient, strict = RateLimiter(bucket), RateLimiter(bucket, block=False)
    with patient.acquire(10):
        pass
    with pytest.raises(RateLimitExceeded), strict:
        pass
    assert patient.bucket is strict.bucket


def test_decorate_by_limiter_takes_one_per_call(bucket):
    """`@limiter` charges one token, and several callables may share it."""
    limiter = RateLimiter(bucket)
    shorten, count = limiter(lambda text: text[:1]), limiter(len)
    assert (shorten("abc"), count("abc"), count("")) == ("a", 3, 0)
    assert bucket.available_tokens == 7


def test_cancel_wait_gives_tokens_back(bucket):
    """P11: A task that is cancelled while it waits for a permit costs nothing."""
    still = ManualClock()
    bucket = TokenBucket(10, 1, initial_tokens=4, clock=still)

    async def main():
        task = asyncio.ensure_future(await_later(RateLimiter(bucket)))
        await asyncio.sleep(0)
        assert (still.sleepers, bucket.available_tokens) == (1, 0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    async def await_later(limiter):
        await limiter.acquire(5)

    assert asyncio.run(main())
    assert (bucket.available_tokens, still.sleepers) == (4, 0)
