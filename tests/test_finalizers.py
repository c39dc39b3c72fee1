"""Finalizers and collections that use the bucket they came in between."""

import gc

from rate_limiter import TokenBucket
from rate_limiter.testing import ManualClock


class Mortal:
    """Something that uses a bucket when it dies, at the collector's whim."""

    def __init__(self, use):
        self.use = use
        self.me = self

    def __del__(self):
        self.use()


def test_allow_in_finalizers_and_collector_callbacks_shares_the_bucket_exactly():
    """P19: Finalizers and collections that come in between neither hang nor miscount."""
    bucket = TokenBucket(10**6, 1, clock=ManualClock())
    taken = {"here": 0, "dying": 0, "collecting": 0}

    def use(who):
        taken[who] += bucket.allow()

    def collecting(phase, info):
        use("collecting")

    threshold = gc.get_threshold()
    gc.callbacks.append(collecting)
    gc.set_threshold(1)
    try:
        for _ in range(2_000):
            Mortal(lambda: use("dying"))
            use("here")
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collecting)
    gc.collect()

    assert (taken["here"], taken["dying"]) == (2_000, 2_000)
    assert taken["collecting"] > 0
    assert bucket.available_tokens == 10**6 - sum(taken.values())
