"""ManualClock.under: put a clock under what has another one, and take it away again."""

import asyncio

import pytest

from rate_limiter import (
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
    per_instance,
    rate_limited,
)
from rate_limiter.clock import SYSTEM_CLOCK
from rate_limiter.testing import ManualClock


@pytest.fixture
def own():
    return ManualClock(start=1000)


def use_up(bucket):
    while bucket.allow():
        pass


def test_put_clock_under_bucket_starts_full_and_gives_all_back(own):
    """Within the block a bucket is full and on the new clock; after it all is as it was."""
    bucket = TokenBucket(2, 1, initial_tokens=1.5, clock=own)
    with ManualClock().under(bucket) as clock:
        assert bucket.available_tokens == 2
        use_up(bucket)
        clock.advance(1)
        assert bucket.allow()
        own.advance(0.25)
        assert not bucket.allow()
    assert bucket.available_tokens == 1.75
    own.advance(0.25)
    assert bucket.available_tokens == 2


def test_put_clock_under_anything_gives_the_clock_itself(own):
    """`as clock` is the clock that was put there."""
    clock = ManualClock()
    with clock.under(TokenBucket(2, 1, clock=own)) as entered:
        assert entered is clock


@pytest.mark.parametrize("choose", [lambda f: f, lambda f: f.limiter, lambda f: f.limiter.bucket])
def test_raise_under_clock_gives_all_back(choose, own):
    """After an error in the block everything is as it was, too."""
    limited = rate_limited(2, 1, block=False, clock=own)(lambda x: 1 / x)
    limited(1)
    with pytest.raises(ZeroDivisionError), ManualClock().under(choose(limited)):
        limited(1 - limited(1))
    assert limited.limiter.bucket.available_tokens == 1
    own.advance(1)
    assert limited.limiter.bucket.available_tokens == 2


def test_raise_under_clock_gives_keys_back(own):
    """After an error in the block each key has its own tokens again, too."""
    limited = rate_limited(2, 1, block=False, key=abs, clock=own)(lambda x: 1 / x)
    limited(1)
    with pytest.raises(ZeroDivisionError), ManualClock().under(limited):
        limited(1 - limited(1))
    assert len(limited.limiter) == 1
    assert limited.limiter[1].bucket.available_tokens == 1


def test_put_clock_under_limiter(own):
    """A limiter's bucket is put on the clock, and so are all that share it."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=own))
    with ManualClock(auto_advance=True).under(limiter) as clock:
        for _ in range(3):
            with limiter:
                pass
        assert clock.elapsed == 2
    assert (limiter.bucket.available_tokens, own.elapsed) == (0, 0)


def test_put_clock_under_decorated_function():
    """A function on the machine's clock is tested in no time."""

    @rate_limited(capacity=1, rate=0.1)
    def report():
        return "done"

    with ManualClock(auto_advance=True).under(report) as clock:
        assert [report() for _ in range(3)] == ["done"] * 3
        assert clock.elapsed == 20
    assert report.limiter.bucket._clock is SYSTEM_CLOCK
    assert report.limiter.bucket.available_tokens == 1


@pytest.mark.parametrize("via_class", [True, False])
def test_put_clock_under_method(via_class, own):
    """The clock goes under a method through its class or through an instance."""

    class Client:
        @rate_limited(1, 1, block=False, clock=own)
        async def fetch(self):
            return self

    client = Client()
    asyncio.run(client.fetch())
    with ManualClock().under(Client.fetch if via_class else client.fetch) as clock:
        asyncio.run(client.fetch())
        with pytest.raises(RateLimitExceeded):
            asyncio.run(client.fetch())
        clock.advance(1)
        assert asyncio.run(client.fetch()) is client
    with pytest.raises(RateLimitExceeded):
        asyncio.run(client.fetch())
    own.advance(1)
    assert asyncio.run(client.fetch()) is client


def test_put_clock_under_priced_function(own):
    """A cost callable changes nothing about clocks."""
    limited = RateLimiter(TokenBucket(5, 1, clock=own)).cost(len)(len)
    with ManualClock(auto_advance=True).under(limited) as clock:
        limited("abcde"), limited("abc")
        assert clock.elapsed == 3
    assert limited.limiter.bucket.available_tokens == 5


def test_put_clock_under_keyed_function(own):
    """Within the block all keys start anew on the clock; after it each key's tokens are back."""
    fetch = rate_limited(2, 1, block=False, key=lambda user: user, clock=own)(len)
    fetch("ann"), fetch("ann"), fetch("bob")
    before = fetch.limiter["ann"]
    with ManualClock().under(fetch) as clock:
        fetch("ann"), fetch("ann"), fetch("eve")
        with pytest.raises(RateLimitExceeded):
            fetch("ann")
        clock.advance(1)
        assert fetch("ann") == 3
    assert fetch.limiter["ann"] is before
    assert len(fetch.limiter) == 2
    assert [fetch.limiter[user].bucket.available_tokens for user in ("ann", "bob")] == [0, 1]
    fetch("eve")
    own.advance(1)
    assert fetch.limiter["eve"].bucket.available_tokens == 2


def test_put_clock_under_per_instance_method(own):
    """Within the block each instance starts anew on the clock, born before or in it."""

    class Client:
        @rate_limited(2, 1, key=per_instance, clock=own)
        def fetch(self):
            return self

    old = Client()
    old.fetch()
    with ManualClock(auto_advance=True).under(old.fetch) as clock:
        new = Client()
        for client in (old, new):
            assert [client.fetch() for _ in range(3)] == [client] * 3
        assert clock.elapsed == 2
        assert len(Client.fetch.limiter._entries) == 2
    assert [Client.fetch.limiter[client].bucket.available_tokens for client in (old, new)] == [1, 2]


def test_drop_instance_under_clock_drops_its_limiters(own):
    """P25: An instance that dies in the block leaves nothing behind, in it or after it."""

    class Client:
        @rate_limited(2, 1, key=per_instance, clock=own)
        def fetch(self):
            return self

    client = Client()
    client.fetch()
    with ManualClock().under(Client.fetch):
        client.fetch()
        del client
        assert not Client.fetch.limiter._entries
    assert not Client.fetch.limiter._entries


def test_put_clock_under_clock(own):
    """Blocks nest, and each gives back what it found."""
    bucket = TokenBucket(4, 1, initial_tokens=1, clock=own)
    with ManualClock().under(bucket):
        bucket.allow(2)
        with ManualClock().under(bucket):
            bucket.allow(3)
            assert bucket.available_tokens == 1
        assert bucket.available_tokens == 2
    assert bucket.available_tokens == 1


def test_put_one_clock_under_several(own):
    """One clock may be under several things at a time."""
    first, second = TokenBucket(1, 1, clock=own), TokenBucket(1, 2, clock=own)
    clock = ManualClock(auto_advance=True)
    with clock.under(first), clock.under(second):
        first.wait(2), second.wait(3)
    assert clock.elapsed == 1 + 1


@pytest.mark.parametrize("target", [None, 3, len, "fetch", ManualClock(), TokenBucket])
def test_put_clock_under_anything_else_is_refused(target):
    """A clock goes under nothing else, and says what it does go under."""
    with (
        pytest.raises(TypeError, match="a decorated callable, a limiter or a bucket, got"),
        ManualClock().under(target),
    ):
        pass


def test_put_a_clock_under_keys_that_share_a_bucket_and_back():
    """A bucket that several keys share is moved once, and comes back with its tokens."""
    everyone = TokenBucket(1000, 0.001)
    users = KeyedRateLimiter(lambda: BucketGroup(everyone, TokenBucket(2, 0.001)))
    assert everyone.allow(400)

    with ManualClock().under(users) as clock:
        for user in ("ada", "bob", "eve"):
            with users[user].acquire():
                pass
        assert everyone.clock is clock
        assert everyone.available_tokens == 997
        assert users["bob"].bucket.level.available_tokens == 1

    assert everyone.clock is not clock
    assert everyone.available_tokens == pytest.approx(600, abs=1)
    with users["new"].acquire():
        pass
    assert everyone.available_tokens == pytest.approx(599, abs=1)


def test_put_a_clock_under_keys_with_one_bucket_fills_it_once():
    """A new key does not fill the bucket of all others."""
    one = TokenBucket(3, 0.001)
    users = KeyedRateLimiter(lambda key: one, block=False)
    with ManualClock().under(users):
        assert [users[key].bucket.allow() for key in range(6)] == [True] * 3 + [False] * 3
    assert one.available_tokens == pytest.approx(3, abs=0.1)


def fail(key):
    """Make no bucket."""
    raise ValueError("on purpose")


def test_put_a_clock_under_keys_whose_buckets_cannot_be_made_says_so():
    """What is wrong for another reason stays wrong."""
    users = KeyedRateLimiter(fail)
    with ManualClock().under(users), pytest.raises(ValueError, match="on purpose"):
        users["ada"]


def test_put_a_clock_under_what_is_on_it_starts_full_and_gives_all_back():
    """A clock goes under its own buckets as under others, shared by keys or not."""
    clock = ManualClock()
    bucket = TokenBucket(2, 1, clock=clock)
    users = KeyedRateLimiter(lambda key: bucket)
    for target in (bucket, RateLimiter(bucket), BucketGroup(bucket)):
        use_up(bucket)
        with clock.under(target):
            assert bucket.available_tokens == 2
            assert bucket.allow()
        assert bucket.available_tokens == 0
    with clock.under(users):
        assert [users[key].bucket.allow() for key in range(3)] == [True, True, False]
    assert bucket.available_tokens == 0
