"""Memory follows the keys in use, and nothing that is in use is ever forgotten."""

import gc
import threading
import tracemalloc

import pytest

from rate_limiter import BucketGroup, KeyedRateLimiter, RateLimitExceeded, TokenBucket, compiled
from rate_limiter.testing import ManualClock

NANO = 1e-9


def make_limiters(clock, capacity=1, rate=1, **options):
    """Limiters whose buckets are full again after a second."""
    return KeyedRateLimiter(lambda: TokenBucket(capacity, rate, clock=clock), **options)


def flood(limiters, keys):
    """Take one look at each of so many new keys, which leaves their buckets full."""
    for key in range(keys):
        limiters[("flood", keys, key)]


def in_use(limiters, key):
    """Tell whether a key is in use, without using it."""
    return hash(key) in limiters._entries


@pytest.mark.no_cover
def test_flood_with_one_shot_keys_keeps_those_in_use():
    """P24: At 1,000 keys a second, each in use for a second, about 1,000 are there at any time."""
    clock = ManualClock()
    limiters = make_limiters(clock)
    sizes = []
    for key in range(20_000):
        assert limiters[key].bucket.allow()
        clock.advance(0.001)
        sizes.append(len(limiters))
    assert min(sizes[1_000:]) >= 1_000
    assert max(sizes[2_000:]) <= 1_300


@pytest.mark.no_cover
@pytest.mark.parametrize("capacity", [1, 5])
def test_flood_never_refills_an_empty_bucket(capacity):
    """P24: However many new keys come, a victim gets what its own bucket accrues and no more."""
    clock = ManualClock()
    limiters = make_limiters(clock, capacity=capacity)
    assert limiters["victim"].bucket.allow(capacity)
    served = []
    for key in range(5_000):
        limiters[key].bucket.allow()
        if limiters["victim"].bucket.allow():
            served.append(key)
        clock.advance(0.001)
    assert served == [1_000, 2_000, 3_000, 4_000]


def test_flood_drops_only_full_buckets():
    """P24: A bucket that lacks a nanosecond's worth of its tokens stays; a full one goes."""
    clock = ManualClock()
    limiters = make_limiters(clock)
    limiters["kept"].bucket.allow()
    clock.advance(1 - NANO)
    flood(limiters, 100)
    assert limiters["kept"].bucket.available_tokens < 1
    assert len(limiters) < 50
    clock.advance(NANO)
    flood(limiters, 101)
    assert not in_use(limiters, "kept")


def charge_limiter(limiter):
    """Have somebody hold the limiter itself; return how it charges three tokens later."""
    return lambda: limiter.bucket.allow(3)


def charge_bucket(limiter):
    """Have somebody hold only the bucket."""
    bucket = limiter.bucket
    return lambda: bucket.allow(3)


def charge_method(limiter):
    """Have somebody hold only a method of the bucket."""
    allow = limiter.bucket.allow
    return lambda: allow(3)


def charge_permit(limiter):
    """Have somebody hold a permit that is settled later."""
    permit = limiter.acquire(1).__enter__()
    limiter.bucket._clock.advance(1)
    return lambda: permit.settle(4)


def charge_new_permit(limiter):
    """Have somebody hold a permit that is yet to be entered."""
    permit = limiter.acquire(3)
    return permit.__enter__


def charge_reservation(limiter):
    """Have somebody hold a reservation that is settled later."""
    reservation = limiter.bucket.reserve(1)
    limiter.bucket._clock.advance(1)
    return lambda: reservation.settle(4)


HOLDERS = [
    charge_limiter,
    charge_bucket,
    charge_method,
    charge_permit,
    charge_new_permit,
    charge_reservation,
]


@pytest.mark.parametrize("hold", HOLDERS)
def test_flood_loses_no_tokens_that_somebody_may_charge(hold):
    """P24: What is charged through something held from before the flood is charged to its key."""
    clock = ManualClock()
    limiters = make_limiters(clock, capacity=5)
    charge = hold(limiters["held"])
    flood(limiters, 200)
    charge()
    assert limiters["held"].bucket.available_tokens == 2
    flood(limiters, 201)
    assert limiters["held"].bucket.available_tokens == 2


def test_flood_keeps_a_key_that_somebody_waits_for():
    """P24: The bucket of a waiting caller is in use, and the next caller stands behind."""
    clock = ManualClock()
    limiters = make_limiters(clock)
    limiters["waiting"].bucket.allow()
    caller = threading.Thread(target=limiters["waiting"].bucket.wait, args=(2,), daemon=True)
    caller.start()
    clock.wait_for_sleepers()
    clock.advance(1)
    flood(limiters, 200)
    assert limiters["waiting"].bucket.retry_after() == 2
    clock.advance(1)
    caller.join(10)
    assert not caller.is_alive()
    assert limiters["waiting"].bucket.available_tokens == 0


def test_flood_drops_keys_of_groups():
    """P24: A key whose bucket is a group goes when all its buckets are full, and not before."""
    clock = ManualClock()
    limiters = KeyedRateLimiter(
        lambda: BucketGroup(TokenBucket(1, 1, clock=clock), slow=TokenBucket(2, 1, clock=clock))
    )
    limiters["kept"].bucket.allow({"slow": 2})
    clock.advance(1)
    flood(limiters, 100)
    assert in_use(limiters, "kept")
    clock.advance(1)
    flood(limiters, 101)
    assert not in_use(limiters, "kept")


def test_add_a_key_beyond_max_keys_is_refused_until_one_can_go():
    """P24: A new key is told exactly when the first old one goes; no old one is forgotten."""
    clock = ManualClock()
    limiters = make_limiters(clock, capacity=4, max_keys=3)
    for key, cost in (("a", 4), ("b", 2), ("c", 3)):
        assert limiters[key].bucket.allow(cost)
    with pytest.raises(RateLimitExceeded, match="max_keys=3") as caught:
        limiters["new"]
    assert caught.value.retry_after == 2
    clock.advance(2 - NANO)
    with pytest.raises(RateLimitExceeded) as caught:
        limiters["new"]
    assert caught.value.retry_after == NANO
    clock.advance(NANO)
    assert limiters["new"].bucket.allow(4)
    assert [limiters[key].bucket.available_tokens for key in ("a", "c", "new")] == [2, 3, 0]
    assert len(limiters) == 3


def test_add_a_key_beyond_max_keys_serves_those_in_use():
    """P24: However many new keys are refused, those in use go on as they were."""
    clock = ManualClock()
    limiters = make_limiters(clock, max_keys=10)
    for key in range(10):
        assert limiters[key].bucket.allow()
    for key in range(10, 500):
        with pytest.raises(RateLimitExceeded):
            limiters[key]
    assert not any(limiters[key].bucket.allow() for key in range(10))
    clock.advance(1)
    assert all(limiters[key].bucket.allow() for key in range(10))


def test_add_a_key_when_all_that_are_idle_are_held_tells_no_time_to_retry():
    """P6: While full buckets are held by somebody, nobody knows when; a retry at once is no use."""
    limiters = make_limiters(ManualClock(), max_keys=1)
    held = limiters["held"]
    with pytest.raises(RateLimitExceeded) as caught:
        limiters["new"]
    assert caught.value.retry_after != 0
    assert limiters["held"].bucket is held.bucket


def test_flood_under_another_clock_drops_keys():
    """P24: A clock put under the keys changes nothing about which of them are dropped."""
    limiters = make_limiters(ManualClock(), max_keys=2)
    with ManualClock().under(limiters) as clock:
        for key in range(2):
            limiters[key].bucket.allow()
        clock.advance(1)
        assert limiters["new"].bucket.allow()


@pytest.mark.fast_path
@pytest.mark.no_cover
def test_keep_a_key_in_use_takes_at_most_450_bytes():
    """P24: All that a key with a bucket adds to memory is 430 bytes, 20 more if it is compiled."""
    count = 5_000
    keys = [f"user-{number}" for number in range(count)]
    limiters = make_limiters(ManualClock())
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            limiters[key].bucket.allow()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(limiters) == count
    assert used / count < (450 if compiled else 430)


def test_add_key_when_one_far_down_is_idle_drops_that_one():
    """P24: When all places are taken, an idle key is found wherever it is."""
    clock = ManualClock()
    limiters = make_limiters(clock, capacity=5, max_keys=20)
    for key in range(20):
        limiters[key].bucket.allow(1 if key == 19 else 5)
    clock.advance(1)
    limiters["new"].bucket.allow(5)
    assert (len(limiters), in_use(limiters, 19)) == (20, False)
    with pytest.raises(RateLimitExceeded) as refusal:
        limiters["another"]
    assert refusal.value.retry_after == 4


def test_add_keys_when_crowded_again_forgets_those_dropped_meanwhile():
    """P24: Keys that went while there was room again are not waited for, nor kept in mind."""
    clock = ManualClock()
    limiters = make_limiters(clock, max_keys=20)
    for start in (0, 100, 200):
        for key in range(start, start + 20):
            limiters[key].bucket.allow()
        with pytest.raises(RateLimitExceeded) as refusal:
            limiters["new"]
        assert refusal.value.retry_after == 1
        clock.advance(1)
    for key in range(300, 340):
        limiters[key]
        clock.advance(1)
    assert len(limiters) < 20
    assert len(limiters._queue) <= 40


def test_add_keys_when_some_went_in_their_turn_finds_the_next_to_drop():
    """P24: A key that was dropped in its turn is no longer among those that may be dropped."""
    clock = ManualClock()
    limiters = make_limiters(clock, capacity=5, max_keys=20)
    for key in range(20):
        limiters[key].bucket.allow(1 if key < 5 else 5)
    with pytest.raises(RateLimitExceeded):
        limiters["new"]
    clock.advance(1)
    for key in range(100, 105):
        limiters[key].bucket.allow(5)
    with pytest.raises(RateLimitExceeded) as refusal:
        limiters["new"]
    assert refusal.value.retry_after == 4
