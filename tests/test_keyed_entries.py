"""Keys of one hash, and keys that come and go while others look at them."""

import gc

import pytest

from rate_limiter import (
    BucketGroup,
    KeyedRateLimiter,
    RateLimitExceeded,
    TokenBucket,
    key_table,
    rate_limited,
)
from rate_limiter.testing import ManualClock


class Same:
    """A key that has the hash of all others of its kind."""

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return 7

    def __eq__(self, other):
        return isinstance(other, Same) and self.name == other.name


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limiters(clock):
    return KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=clock), block=False, max_keys=8)


def empty(limiters, *names):
    for name in names:
        assert limiters[Same(name)].bucket.allow()


def test_keep_keys_of_one_hash_apart(limiters):
    """P25: Equal hashes are no equal keys; equal keys are one, whatever object they are."""
    empty(limiters, "a", "b", "c")
    assert len(limiters) == 3
    assert not any(limiters[Same(name)].bucket.allow() for name in "abc")
    assert limiters[Same("a")] is limiters[Same("a")]
    assert limiters[Same("c")] is not limiters[Same("b")]


@pytest.mark.parametrize("kept", ["a", "b", "c", "ab", "ac", "bc", ""])
def test_drop_some_of_one_hash_keeps_the_others(limiters, clock, kept):
    """P24: Whichever of a chain go, from its head, its middle or its end, the others stay."""
    empty(limiters, *"abc")
    clock.advance(1)
    if kept:
        empty(limiters, *kept)
    for number in range(5):
        limiters[number]
    for _ in range(4):
        limiters[object()]
        clock.advance(0)
    assert not any(limiters[Same(name)].bucket.allow() for name in kept)
    assert len(limiters) <= 8


def test_refuse_a_key_in_a_full_chain_tells_when(limiters, clock):
    """P24: The first of the old keys to be full again is told, and nobody is forgotten."""
    for name in "abcdefgh":
        empty(limiters, name)
        clock.advance(0.125 * (name != "h"))
    with pytest.raises(RateLimitExceeded) as caught:
        limiters[Same("new")]
    assert caught.value.retry_after == 0.125
    clock.advance(caught.value.retry_after)
    limiters[Same("new")]


def test_add_a_key_that_somebody_adds_meanwhile_gives_one_limiter(limiters, clock):
    """P25: Whoever made a bucket for a key in vain takes the one that is there."""
    make, other = limiters._make_limiter, []

    def slowly(key, bucket=None):
        made = make(key, bucket)
        if not other:
            other.append(make)
            other.append(limiters[key])
        return made

    limiters._make_limiter = slowly
    assert limiters["ada"] is other[1]
    assert len(limiters) == 1


@pytest.mark.parametrize("moment", ["link", "sweep"])
def test_add_a_key_while_others_of_its_hash_come_tries_again(limiters, moment):
    """P25: A chain that has changed since it was read is read again."""
    name = {"link": "_link", "sweep": "_sweep"}[moment]
    original, came = getattr(limiters, name), []

    def interrupted(*args):
        if not came:
            came.append(None)
            came[0] = limiters[Same("first")]
        return original(*args)

    setattr(limiters, name, interrupted)
    added = limiters[Same("second")]
    assert limiters[Same("first")].bucket is came[0].bucket
    assert limiters[Same("second")] is added
    assert len(limiters) == 2


@pytest.mark.parametrize("held", [True, False])
def test_drop_a_key_that_is_used_meanwhile_keeps_it(limiters, clock, monkeypatch, held):
    """P24: Between letting go of a key and dropping it somebody may come for it."""
    bucket = limiters["ada"].bucket
    if not held:
        del bucket
    came = []
    unlink = limiters._unlink

    def used_meanwhile(entry, *args):
        came.append(limiters["ada"].bucket.allow())
        return unlink(entry, *args)

    monkeypatch.setattr(limiters, "_unlink", used_meanwhile)
    gc.collect()
    limiters._drop_if_idle(limiters._find("ada"))
    assert not limiters["ada"].bucket.allow() or held
    assert bool(came) is not held
    assert len(limiters) == 1


def test_drop_a_key_twice_drops_it_once(limiters):
    """P24: Whoever looks at an entry that is gone finds nothing to do."""
    limiters["ada"]
    entry = limiters._find("ada")
    limiters._drop_if_idle(entry)
    assert (entry.gone, len(limiters)) == (True, 0)
    limiters._drop_if_idle(entry)
    assert limiters._unlink(entry, None, True) == (True, [])
    assert limiters._revive(entry) is None
    assert entry.take_back(None) == (None, [])
    assert limiters._full_in(entry, 0) is None


def test_let_go_of_a_limiter_that_was_replaced_does_nothing(limiters, monkeypatch):
    """P24: Two threads that drop one key do not both let go of it."""
    limiters["ada"]
    entry, step = limiters._find("ada"), key_table.step
    came = []

    def late(compute, *args):
        if not came:
            came.append(1)
            step(lambda: (None, [(setattr, entry, "limiter", None)]))
        return step(compute, *args)

    monkeypatch.setattr(key_table, "step", late)
    limiters._drop_if_idle(entry)
    assert not entry.gone


def test_list_keys_while_a_finalizer_changes_them_reads_again(limiters):
    """P19: The list of entries is read anew when it changed under the reader."""

    class Changing(dict):
        failures = 1

        def values(self):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().values()

    limiters["ada"]
    limiters._entries = Changing(limiters._entries)
    assert [entry.key for entry in limiters._all()] == ["ada"]


def test_decorate_with_rates_in_words_gives_each_key_all_of_them(clock):
    """A decorator may leave the capacity to the words, one rate or several."""
    one = rate_limited(rate="2/second", block=False, clock=clock)(len)
    several = rate_limited(rate="2/second; 3/minute", block=False, key=len, clock=clock)(len)

    assert one.limiter.bucket.capacity == 2
    assert isinstance(several.limiter[3].bucket, BucketGroup)
    assert [several("abc") for _ in range(2)] == [3, 3]
    with pytest.raises(RateLimitExceeded) as caught:
        several("abc")
    assert caught.value.refused_by == "2/second"
    clock.advance(5)
    assert several("abc") == 3
    with pytest.raises(RateLimitExceeded) as caught:
        several("abc")
    assert caught.value.refused_by == "3/minute"
