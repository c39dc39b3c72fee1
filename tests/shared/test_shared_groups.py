"""Several buckets in a store at once: as the group in memory, by one question."""

from fractions import Fraction

import pytest
from dict_store import DictStore, DictTokenBucket
from hypothesis import given, settings
from hypothesis import strategies as st

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.testing import ManualClock

LIMITS = {"a": (3, 1), "b": (10, Fraction(100, 60)), "c": (1, 3)}
who = st.sampled_from([("a",), ("b",), ("c",), ("a", "b"), ("b", "c"), ("a", "b", "c")])
steps = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 3_000_000), st.just(())),
    st.tuples(st.just("allow"), st.integers(1, 3), who),
    st.tuples(st.just("reserve"), st.integers(1, 4), who),
)


@pytest.fixture
def make_groups(store, clock, make_bucket):
    """Make new buckets in a store and in memory, and give groups of any of them."""

    def make_groups():
        store.values.clear()
        remote = {which: make_bucket(*limit, name=which) for which, limit in LIMITS.items()}
        local = {which: TokenBucket(*limit, clock=clock) for which, limit in LIMITS.items()}
        return lambda which: [group_of(buckets, which) for buckets in (remote, local)]

    return make_groups


def group_of(buckets, which):
    if len(which) == 1:
        return buckets[which[0]]
    return BucketGroup(**{name: buckets[name] for name in which})


def test_run_steps_agrees_with_the_groups_in_memory(make_groups, clock):
    """P7, P35: Groups that share buckets answer as they do in memory.

    Whoever is held back leaves at a tick of the store's clock, which those behind wait out.
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
    few, many = make_bucket(1, 1, name="few"), make_bucket(100, 1, name="many")
    group = BucketGroup(few=few, many=many)

    assert group.allow({"few": 1, "many": 60})
    assert not group.allow({"few": 1, "many": 1})
    assert not group.allow({"many": 41})

    assert (few.available_tokens, many.available_tokens) == (0, 40)


def test_leave_late_charges_each_bucket_at_that_time(make_bucket, clock):
    """P7: Callers held back by one bucket do not pile up in another, and leave over its limit."""
    slow, fast = make_bucket(1, 0.1, name="slow"), make_bucket(4, 0.2, name="fast")
    group = BucketGroup(slow, fast)
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
    slow, fast = make_bucket(1, 0.1, name="slow"), make_bucket(2, 1, name="fast")
    group = BucketGroup(slow, fast)
    assert group.allow()

    for place in [group.reserve() for _ in range(3)]:
        place.cancel()

    assert (slow.retry_after(), fast.available_tokens) == (10, 1)


def test_settle_in_a_group_corrects_what_is_named(make_bucket, clock):
    """A correction goes to the buckets that it names, up and down in one call."""
    requests, tokens = make_bucket(10, 1, name="requests"), make_bucket(1000, 1, name="tokens")
    group = BucketGroup(requests=requests, tokens=tokens)
    reservation = group.reserve({"requests": 2, "tokens": 600})

    reservation.settle({"requests": 1, "tokens": 800})

    assert (requests.available_tokens, tokens.available_tokens) == (9, 200)
    group.refund({"tokens": 100})
    group.pause(5)
    assert (requests.available_tokens, tokens.available_tokens) == (0, 0)
    assert group.retry_after({"requests": 1, "tokens": 3}) == 7  # one is there when it ends


def test_group_of_groups_and_alone_share_their_buckets(make_bucket):
    """A bucket may be used alone and in other groups at the same time."""
    one, two = make_bucket(5, 1, name="one"), make_bucket(7, 2, name="two")
    inner = BucketGroup(one=one)
    outer = BucketGroup(inner, two=two)

    assert (outer.allow(2), inner.allow({"one": 1}), two.allow()) == (True, True, True)

    assert (one.available_tokens, two.available_tokens) == (2, 4)
    assert (outer.capacity, outer.tokens_per_second, outer.available_tokens) == (5, 1, 2)
    assert outer.buckets == {"two": two}


def test_group_what_does_not_go_together_is_refused(make_bucket, make_async_bucket, clock):
    """A group must be able to decide in one step."""
    bucket = make_bucket(1, 1, name="one")
    with pytest.raises(ValueError, match="only once"):
        BucketGroup(bucket, make_bucket(2, 2, name="one"))
    with pytest.raises(ValueError, match="on the same clock"):
        BucketGroup(bucket, make_bucket(1, 1, name="two", clock=ManualClock()))
    with pytest.raises(ValueError, match="in one store, by one client"):
        BucketGroup(bucket, DictTokenBucket(DictStore(), "two", 1, 1, clock=clock))
    with pytest.raises(ValueError, match="fallbacks of one kind"):
        BucketGroup(bucket, make_bucket(1, 1, name="two", fallback="allow"))
    with pytest.raises(TypeError, match="does not go with a"):
        BucketGroup(bucket, make_async_bucket(1, 1, name="two"))
