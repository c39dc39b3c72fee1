"""A clock that a test moves, for the script on a real server as well as for this process."""

import hashlib

from rate_limiter.redis import script, wire
from rate_limiter.testing import ManualClock

DAY = 86_400 * 10**9  # nanoseconds
TIME = b"call('TIME')"
MARGIN = b"local MARGIN = 1000 "
_CLOCK = "test:clock"


class ServerClock(ManualClock):
    """A ManualClock that the scripts on a server go by; the server itself does not.

    It takes the time that passes off what keys have left to live, from a day on.

    Args:
        client: Where to tell the time.
        options: As for ManualClock.
    """

    def __init__(self, client, **options):
        super().__init__(**options)
        self._client = client
        self._expired_at = self._now
        self._tell(self._now)

    def _set_to(self, instant):
        self._tell(instant)
        if instant >= self._expired_at + DAY:
            self._expire((instant - self._expired_at) // 10**6)
            self._expired_at = instant
        super()._set_to(instant)

    def _expire(self, milliseconds):
        """Let the keys of buckets grow older, and go if that was too long."""
        for key in set(self._client.scan_iter()):  # which may tell one twice
            left = self._client.pttl(key)
            if left > 0:
                self._client.pexpire(key, max(left - milliseconds, 0))

    def _tell(self, instant):
        seconds, microseconds = divmod(instant // 1000, 10**6)
        self._client.hset(_CLOCK, mapping={"s": seconds, "us": microseconds})


def put_on_clock(monkeypatch):
    """Have every bucket call the script as it is, but for where it gets the time from.

    Their keys outlive a second of the server's own clock, which runs on.
    """
    source = script.SOURCE
    assert (source.count(TIME), source.count(MARGIN)) == (1, 1)
    source = source.replace(TIME, f"call('HMGET', '{_CLOCK}', 's', 'us')".encode())
    source = source.replace(MARGIN, b"local MARGIN = 10000000 ")
    digest = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    monkeypatch.setattr(script, "_SHA", digest)
    monkeypatch.setattr(wire, "_SOURCED", (b"EVAL", source))
