"""A clock that a test moves, for the script on a real server as well as for this process."""

import hashlib

from rate_limiter.redis import script, wire
from rate_limiter.testing import ManualClock

CALL = b"= redis.call,"
CLOCK = "test:clock"
EXPIRIES = "test:expiries"
# The server's own clock runs on meanwhile, so that it is not asked, neither for the time nor to
# expire keys: by that of the test they go as they would by its own.
ON_TEST_CLOCK = f"""
local function on_test_clock(command, key, value, _, life)
    local time = redis.call('HMGET', '{CLOCK}', 's', 'us')
    if command == 'TIME' then return time end
    local millisecond = time[1] * 1000 + math.floor(time[2] / 1000)
    if command == 'SET' then
        redis.call('HSET', '{EXPIRIES}', key, string.format('%.0f', millisecond + life))
        return redis.call('SET', key, value, 'EX', 3600)
    end
    local expiry = redis.call('HGET', '{EXPIRIES}', key)
    if expiry and millisecond > expiry + 0 then redis.call('DEL', key) end
    return redis.call(command, key)
end
""".encode()


class ServerClock(ManualClock):
    """A ManualClock that the scripts on a server go by; the server itself does not.

    Args:
        client: Where to tell the time.
        options: As for ManualClock.
    """

    def __init__(self, client, **options):
        super().__init__(**options)
        self._client = client
        self._tell(self._now)

    def _set_to(self, instant):
        self._tell(instant)
        super()._set_to(instant)

    def _tell(self, instant):
        seconds, microseconds = divmod(instant // 1000, 10**6)
        self._client.hset(CLOCK, mapping={"s": seconds, "us": microseconds})


def put_on_clock(monkeypatch):
    """Have every bucket call the script as it is, but for where it gets the time from."""
    assert script.SOURCE.count(CALL) == 1
    source = ON_TEST_CLOCK + script.SOURCE.replace(CALL, b"= on_test_clock,")
    digest = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    monkeypatch.setattr(script, "_SHA", digest)
    monkeypatch.setattr(wire, "_SOURCED", (b"EVAL", source))
