"""What happens in shared buckets when two come at the same moment, and in the wrong world."""

import asyncio
from types import SimpleNamespace

import pytest
from dict_store import AsyncDictStore, DictTokenBucket

from rate_limiter.exceptions import BackendError
from rate_limiter.shared import returning
from rate_limiter.shared.failures import Refused
from rate_limiter.shared.outage import Outage
from rate_limiter.testing import ManualClock


class LateReceipt:
    """A permit whose payment another thread notes between two looks."""

    _tokens = 1

    def __init__(self):
        self._looks = [None]

    @property
    def _paid(self):
        return self._looks.pop() if self._looks else "noted by another"


def test_note_a_payment_that_another_thread_has_noted_keeps_that(make_bucket):
    """P29: There is one payment for a permit, whoever comes first."""
    assert make_bucket()._payment_of(LateReceipt()) == "noted by another"


def test_ask_a_blocking_bucket_in_a_task_is_refused(store, clock):
    """A store without a side for tasks says so; what was paid is corrected by blocking."""
    bucket = DictTokenBucket(store, "bucket", 10, 0.001, clock=clock)
    bucket._async_store = None
    with pytest.raises(TypeError, match="would block the event loop"):
        asyncio.run(bucket.wait_async())

    class Receipt:
        _tokens, _paid = 4, None

    receipt = Receipt()
    assert bucket.allow(4)
    assert asyncio.run(bucket._settle_async(receipt, 6)) is True
    assert bucket.available_tokens == 4
    asyncio.run(bucket._give_back_async(receipt))
    assert bucket.available_tokens == 10
    assert asyncio.run(AsyncDictStore(store).give_back(store.questions[-1])) is None


class Emptied(dict):
    """A dictionary that another thread empties just before anything is popped."""

    def pop(self, *_):
        self.clear()


def test_end_an_outage_that_another_thread_has_ended_says_nothing(caplog):
    """P39: There is one word at the end of an outage."""
    outage = Outage(ManualClock().now)
    outage.failed(Refused("nobody is there"))
    outage._away = Emptied(outage._away)
    with caplog.at_level("INFO", "rate_limiter"):
        outage.worked(wrote=True)
    assert "the store of the bucket is back" not in caplog.text
    assert isinstance(Refused("x"), BackendError)


def test_add_a_lease_before_its_thread_sleeps_is_taken_in():
    """P42: A lease is not missed because the thread has not begun to sleep."""
    bucket = SimpleNamespace(_clock=ManualClock(), _source=None)
    returner = returning._Returner("key", bucket)
    returner.add(bucket, 5, follows=True)
    leases = []
    returner._collect(leases)
    assert [(when, leased) for when, _, leased, _ in leases] == [(5, bucket)]
