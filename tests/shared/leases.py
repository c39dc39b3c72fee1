"""What tests of leases have in common."""

import time

from rate_limiter.shared import returning
from rate_limiter.shared.lease import Lease

PATIENCE = 5.0  # seconds for something that takes microseconds, unless it hangs


def lease_of(bucket, tokens=10, seconds=0.5):
    bucket._lease(Lease(tokens, seconds))
    return bucket


def eventually(condition):
    """Wait until a thread has done something."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.001)


def returners_of(store):
    """Return the threads that give back leases of a store."""
    return [each for each in list(returning._returners.values()) if each._source is store]
