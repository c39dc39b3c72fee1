"""Steps of keyed limiters that find something else than what was there a moment ago."""

from fractions import Fraction

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.entries import GONE, Entry
from rate_limiter.memory.at_rest import KeysAtRest
from rate_limiter.memory.ledger import Ledger
from rate_limiter.testing import ManualClock
from rate_limiter.units import Limit

ONE = Fraction(1)


def test_lay_a_bucket_with_a_limit_of_its_own_keeps_it():
    """P24: Only what is nothing but time is laid to rest."""
    own = Ledger(Limit(ONE, ONE), 0)
    for limit in (None, Limit(ONE, ONE)):
        assert KeysAtRest(limit, ManualClock().now, 1).lay("ada", own) is None


def test_link_when_others_have_taken_the_last_place_is_refused():
    """P24: Two that look for a place at once do not both get the last one."""
    clock = ManualClock()
    keyed = KeyedRateLimiter.from_rate("1/second", max_keys=1, clock=clock)
    keyed["ada"].bucket.allow()
    bucket = TokenBucket(1, 1, clock=clock)
    assert keyed._link(Entry("bob", RateLimiter(bucket), None), []) == (False, [])


def test_unlink_what_has_come_into_use_again_leaves_it():
    """P24: A bucket that has a pause by now is more than time, and stays."""
    keyed = KeyedRateLimiter.from_rate("1/second", clock=ManualClock())
    limiter = keyed["ada"]
    limiter.bucket.pause(5)
    (entry,) = keyed._keys.in_use.values()
    entry.let_go_of = let_go = (lambda: None, limiter.bucket)
    assert keyed._unlink(entry, let_go, full=False) == (False, [])


def test_find_a_key_that_is_dropped_meanwhile_makes_it_anew(monkeypatch):
    """P24: What was found a moment ago, and is gone, is made again."""
    keyed = KeyedRateLimiter.from_rate("1/second", clock=ManualClock())
    keyed["ada"].bucket.allow()
    (entry,) = keyed._keys.in_use.values()
    entry.let_go_of, entry.limiter = GONE, None
    found, find = [entry], keyed._find
    monkeypatch.setattr(keyed, "_find", lambda key: found.pop() if found else find(key))
    keyed._keys.in_use.clear()
    assert keyed._add("ada").bucket.available_tokens == 1
    assert not found
