"""Several buckets on a server at once: as the group in memory, in one call."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_clock import ServerClock, put_on_clock

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket

LIMITS = {"a": (3, 1), "b": (10, Fraction(100, 60)), "c": (1, 3)}
who = st.sampled_from([("a",), ("b",), ("c",), ("a", "b"), ("b", "c"), ("a", "b", "c")])
steps = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 3_000_000), st.just(())),
    st.tuples(st.just("allow"), st.integers(1, 3), who),
    st.tuples(st.just("reserve"), st.integers(1, 4), who),
)


@pytest.fixture
def clock(client, monkeypatch):
    """Stand still until told to move."""
    put_on_clock(monkeypatch)
    return ServerClock(client, start=1_790_000_000)


@pytest.fixture
def make_bucket(client, name, clock):
    """Make buckets on keys of this test."""

    def make_bucket(which, capacity, rate):
        bucket = RedisTokenBucket(client, f"{name}-{which}", capacity, rate)
        bucket._now = clock.now
        return bucket

    return make_bucket


@pytest.fixture
def make_groups(client, name, clock, make_bucket):
    """Make new buckets on the server and in memory, and give groups of any of them."""

    def make_groups():
        client.delete(*(f"rate_limiter:{name}-{which}" for which in LIMITS))
        remote = {which: make_bucket(which, *limit) for which, limit in LIMITS.items()}
        local = {which: TokenBucket(*limit, clock=clock) for which, limit in LIMITS.items()}
        return lambda which: [group_of(buckets, which, clock) for buckets in (remote, local)]

    return make_groups


def group_of(buckets, which, clock):
    if len(which) == 1:
        return buckets[which[0]]
    group = BucketGroup(**{name: buckets[name] for name in which})
    group._core._now = clock.now
    return group


def test_run_steps_agrees_with_the_groups_in_memory(make_groups, clock):
    """P7, P35: Groups that share buckets answer as they do in memory.

    Whoever is held back leaves at a tick of the server's clock, which those behind wait out.
    """

    @settings(max_examples=100)
    @given(st.lists(steps, max_size=25))
    def check(steps):
        groups = make_groups()
        ticks = pytest.approx(0, abs=1e-6 * (1.1 + len(steps)))
        for step, amount, which in steps:
            if step == "advance":
                clock.advance(Fraction(amount, 10**6))
                continue
            answers = [getattr(group, step)(amount) for group in groups(which)]
            delays = [getattr(answer, "delay", answer) for answer in answers]
            assert delays[0] - delays[1] == ticks
        for which in LIMITS:
            remote, local = (group.retry_after(1) for group in groups((which,)))
            assert remote - local == ticks

    check()


def test_allow_of_which_one_bucket_lacks_charges_none(make_bucket):
    """P7: From every bucket or from none."""
    few, many = make_bucket("few", 1, 1), make_bucket("many", 100, 1)
    group = BucketGroup(few=few, many=many)

    assert group.allow({"few": 1, "many": 60})
    assert not group.allow({"few": 1, "many": 1})
    assert not group.allow({"many": 41})

    assert (few.available_tokens, many.available_tokens) == (0, 40)


def test_leave_late_charges_each_bucket_at_that_time(make_bucket, clock):
    """P7: Callers held back by one bucket do not pile up in another, and leave over its limit."""
    slow, fast = make_bucket("slow", 1, 0.1), make_bucket("fast", 4, 0.2)
    group = BucketGroup(slow, fast)
    group._core._now = clock.now
    assert group.allow()

    places = [group.reserve()]

    assert (fast.retry_after(), fast.available_tokens) == (10, 0)  # nobody passes who waits
    places += [group.reserve() for _ in range(3)]
    assert [place.delay for place in places] == [10, 20, 30, 40]
    assert (fast.retry_after(), fast.available_tokens) == (40, 0)
    clock.advance(40)
    assert [fast.allow() for _ in range(4)] == [True, True, True, False]


def test_cancel_in_a_group_gives_back_everywhere(make_bucket, clock):
    """P11: Who leaves a line of several buckets leaves each of them."""
    slow, fast = make_bucket("slow", 1, 0.1), make_bucket("fast", 2, 1)
    group = BucketGroup(slow, fast)
    group._core._now = clock.now
    assert group.allow()

    for place in [group.reserve() for _ in range(3)]:
        place.cancel()

    assert (slow.retry_after(), fast.available_tokens) == (10, 1)


def test_settle_in_a_group_corrects_what_is_named(make_bucket, clock):
    """A correction goes to the buckets that it names, up and down in one call."""
    requests, tokens = make_bucket("requests", 10, 1), make_bucket("tokens", 1000, 1)
    group = BucketGroup(requests=requests, tokens=tokens)
    group._core._now = clock.now
    reservation = group.reserve({"requests": 2, "tokens": 600})

    reservation.settle({"requests": 1, "tokens": 800})

    assert (requests.available_tokens, tokens.available_tokens) == (9, 200)
    group.refund({"tokens": 100})
    group.pause(5)
    assert (requests.available_tokens, tokens.available_tokens) == (0, 0)
    assert group.retry_after({"requests": 1, "tokens": 3}) == 8


def test_group_of_groups_and_alone_share_their_buckets(make_bucket):
    """A bucket may be used alone and in other groups at the same time."""
    one, two = make_bucket("one", 5, 1), make_bucket("two", 7, 2)
    inner = BucketGroup(one=one)
    outer = BucketGroup(inner, two=two)

    assert (outer.allow(2), inner.allow({"one": 1}), two.allow()) == (True, True, True)

    assert (one.available_tokens, two.available_tokens) == (2, 4)
    assert (outer.capacity, outer.tokens_per_second, outer.available_tokens) == (5, 1, 2)
    assert outer.buckets == {"two": two}


@pytest.mark.parametrize("kind", [RedisTokenBucket, AsyncRedisTokenBucket])
def test_group_with_what_does_not_go_together_is_refused(
    client, async_client, redis_server, name, kind
):
    """A group must be able to decide in one step."""
    asynchronous = kind is AsyncRedisTokenBucket
    own = async_client() if asynchronous else client
    other = async_client() if asynchronous else redis_server.client()
    bucket = kind(own, name, 1, 1)

    with pytest.raises(TypeError, match="does not go with a"):
        BucketGroup(bucket, TokenBucket(1, 1))
    with pytest.raises(TypeError, match="does not go with a"):
        BucketGroup(TokenBucket(1, 1), bucket)
    with pytest.raises(ValueError, match="only once"):
        BucketGroup(bucket, kind(own, name, 2, 2))
    with pytest.raises(ValueError, match="same client"):
        BucketGroup(bucket, kind(other, name + "2", 1, 1))
    with pytest.raises(ValueError, match="fallbacks of one kind"):
        BucketGroup(bucket, kind(own, name + "2", 1, 1, fallback="allow"))
    with pytest.raises(ValueError, match="no bucket of this group is called 'x'"):
        BucketGroup(bucket)._check({"x": 1})
