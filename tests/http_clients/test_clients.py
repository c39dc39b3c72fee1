"""What every client does with a limit, whichever the library."""

from __future__ import annotations

import asyncio
import socket
import threading
from itertools import pairwise

import pytest
from stub_api import Reply

from each import each
from rate_limiter import (
    BucketGroup,
    CostExceedsCapacity,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.instrumentation import Event, set_hooks
from rate_limiter.testing import ManualClock

REFUSING = RateLimiter(TokenBucket(10, 1), block=False)
CLOSED = "http://127.0.0.1:1"  # a port where nobody listens


@pytest.fixture
def clock():
    return ManualClock(auto_advance=True)


@pytest.fixture
def bucket(clock):
    return TokenBucket(capacity=10, tokens_per_second=1, clock=clock)


@pytest.fixture
def heard():
    """Return the events so far, but for admissions."""
    events = []
    set_hooks([events.append])
    yield events
    set_hooks([])


def test_send_within_limit_takes_a_token(caller, api, url, bucket):
    """A request takes its token and is answered as it would be without."""
    with caller.session(RateLimiter(bucket)) as client:
        answer = client.send("POST", f"{url}/path", b"body")
    assert (answer.status, answer.body) == (200, b"{}")
    assert api.requests == [("POST", "/path", b"body")]
    assert bucket.available_tokens == 9


def test_send_above_limit_waits(caller, api, url, bucket, clock):
    """A request that finds no token waits for one; a limiter that refuses raises its own error."""
    with caller.session(RateLimiter(bucket)) as client:
        for _ in range(12):
            client.send("GET", url)
    assert clock.elapsed == 2
    refusing = RateLimiter(bucket, block=False)
    with caller.session(refusing) as client, pytest.raises(RateLimitExceeded):
        client.send("GET", url)
    assert len(api.requests) == 12


@pytest.mark.parametrize(
    ("status", "headers", "pause"),
    [
        (429, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": "7"}, 7),
        (403, {"Retry-After": "7"}, 7),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 1),
        (403, {}, 0),
        (429, {}, 0),
        (429, {"Retry-After": "soon"}, 0),
        (429, {"Retry-After": "99999"}, 3600),
        (200, {"RateLimit": '"default";r=0;t=30'}, 30),
        (200, {"RateLimit": '"default";r=1;t=30'}, 0),
        (200, {"Retry-After": "7"}, 0),
    ],
)
def test_receive_response_pauses_as_it_says(caller, api, url, bucket, status, headers, pause):  # noqa: PLR0917
    """P43: The response is handed on as it is, and its bucket paused for as long as it says."""
    api.replies.append(Reply(status, headers, (b"as it is",)))
    with caller.session(RateLimiter(bucket)) as client:
        answer = client.send("GET", url)
    assert (answer.status, answer.body) == (status, b"as it is")
    assert {name: answer.headers[name] for name in headers} == headers
    assert bucket.level.paused_for == pause


@pytest.mark.parametrize(
    ("fields", "pause"),
    [
        ([("Retry-After", "5"), ("Retry-After", "7")], 7),
        ([("Retry-After", "soon"), ("Retry-After", "7")], 7),
        ([("RateLimit", '"a";r=0;t=5'), ("RateLimit", '"b";r=0;t=9')], 9),
        ([("Age", "0"), ("Age", "9"), ("Retry-After", "7")], 0),
    ],
)
def test_receive_several_fields_of_a_name_reads_each(caller, api, url, bucket, fields, pause):  # noqa: PLR0917
    """P43: A proxy may add a field to that of the server: the longer pause counts everywhere."""
    api.replies.append(Reply(429, fields))
    with caller.session(RateLimiter(bucket)) as client:
        client.send("GET", url)
    assert bucket.level.paused_for == pause


def test_receive_429_pauses_everybody_who_shares_the_bucket(caller, api, url, bucket, clock):
    """P43: Others are held as well, also those who call something else, but not for longer."""
    api.replies.append(Reply(429, {"Retry-After": "500"}))
    with caller.session(RateLimiter(bucket), max_pause=20) as client:
        client.send("GET", url)
        client.send("GET", url)
    assert clock.elapsed == 20
    assert not bucket.allow()


def test_send_by_host_asks_the_limiter_of_the_host(caller, api, url, clock):
    """A keyed limiter has a limit for each host, unless the key is something else."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(2, 1, clock=clock))
    api.replies.append(Reply(429, {"Retry-After": "9"}))
    with caller.session(limiters) as client:
        client.send("GET", url)
    assert limiters["127.0.0.1"].bucket.level.paused_for == 9
    assert limiters["localhost"].bucket.available_tokens == 2
    with caller.session(limiters, key=lambda request: request.method) as client:
        client.send("PUT", url)
    assert limiters["PUT"].bucket.available_tokens == 1


def test_send_at_a_computed_cost_takes_that(caller, api, url, clock):
    """A cost may be a number, a mapping, or computed for the request; at 0 it is free."""
    group = BucketGroup(
        requests=TokenBucket(10, 1, clock=clock), tokens=TokenBucket(1000, 1, clock=clock)
    )
    left = lambda: [group.buckets[name].available_tokens for name in ("requests", "tokens")]  # noqa: E731
    with caller.session(RateLimiter(group), cost={"requests": 1, "tokens": 900}) as client:
        client.send("GET", url)
    assert left() == [9, 100]
    costs = {"PUT": {"requests": 2, "tokens": 0}, "HEAD": 0, "DELETE": {"requests": 0}}
    with caller.session(RateLimiter(group), cost=lambda request: costs[request.method]) as client:
        client.send("PUT", url)
        assert left() == [7, 100]
        group.pause(50)
        client.send("HEAD", url)
        client.send("DELETE", url)
    assert clock.elapsed == 0
    assert group.level.paused_for == 50


def test_receive_429_to_a_free_request_pauses(caller, api, url, bucket):
    """P43: A free request pays nothing, and what its response says counts."""
    api.replies.append(Reply(429, {"Retry-After": "7"}))
    with caller.session(RateLimiter(bucket), cost=lambda request: 0, settle=fail) as client:
        client.send("GET", url)
    assert bucket.level.paused_for == 7


def fail(*_):
    raise LookupError("on purpose")


@pytest.mark.parametrize("option", ["key", "cost", "settle"])
def test_raise_in_a_function_is_seen_and_costs_nothing(caller, api, url, clock, option):
    """P43: The caller sees what a function of theirs raises, and nothing stays charged."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(10, 1, clock=clock))
    raising = pytest.raises(LookupError, match="on purpose")
    with caller.session(limiters, **{option: fail}) as client, raising:
        client.send("GET", url)
    assert len(api.requests) == (option == "settle")
    assert limiters["127.0.0.1"].bucket.available_tokens == 10


async def later(*_):
    return 1


class Later:
    """Something to await that is no coroutine."""

    def __await__(self):
        yield


@each(
    ("option", "function"),
    [
        ("key", lambda request: []),
        ("key", lambda request: later()),
        ("cost", lambda request: "1"),
        ("cost", lambda request: None),
        ("cost", lambda request: False),
        ("cost", lambda request: later()),
        ("cost", lambda request: Later()),
        ("settle", lambda response, tail: "1"),
        ("settle", lambda response, tail: {"tokens": 1}),
        ("settle", lambda response, tail: True),
        ("settle", lambda response, tail: later()),
    ],
)
def test_return_of_a_wrong_type_is_refused(caller, api, url, clock, option, function):  # noqa: PLR0917
    """P43: What a function returns is checked: the caller sees it, and nothing stays charged."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(10, 1, clock=clock))
    with caller.session(limiters, **{option: function}) as client, pytest.raises(TypeError):
        client.send("GET", url)
    assert limiters["127.0.0.1"].bucket.available_tokens == 10


@each(
    ("options", "error", "words"),
    [
        ({"limiter": None}, TypeError, "a RateLimiter or a KeyedRateLimiter, such as .*, got None"),
        ({"limiter": TokenBucket(1, 1)}, TypeError, r"write RateLimiter\(TokenBucket"),
        ({"limiter": RateLimiter}, TypeError, "limiter must be"),
        ({"limiter": "10/s"}, TypeError, r"KeyedRateLimiter.from_rate\('10/second'\), got '10/s'"),
        ({"key": str}, TypeError, "key needs a KeyedRateLimiter"),
        ({"cost": 0}, ValueError, "cost must be above 0, got 0"),
        ({"cost": -1}, ValueError, "cost must be above 0, got -1"),
        ({"limiter": REFUSING, "cost": 11}, CostExceedsCapacity, "11 is above the capacity of 10"),
        ({"limiter": REFUSING, "retries": 3}, ValueError, "retries=3 needs .* block=True"),
        ({"cost": "1"}, TypeError, "'1'"),
        ({"cost": later}, TypeError, "cost must be a plain function"),
        ({"cost": {"a": 1}}, TypeError, "a"),
        ({"settle": 5}, TypeError, "settle must be a function, got 5"),
        ({"settle": later}, TypeError, "settle must be a plain function"),
        ({"max_pause": -1}, ValueError, "max_pause must be 0 or more"),
        ({"max_pause": float("nan")}, ValueError, "max_pause"),
        ({"max_pause": "1"}, TypeError, "max_pause"),
        ({"retries": -1}, ValueError, "retries must be 0 or more, got -1"),
        ({"retries": 1.5}, TypeError, "retries must be an int, got 1.5"),
        ({"retries": True}, TypeError, "retries must be an int, got True"),
    ],
)
def test_refuse_arguments_that_make_no_sense(caller, options, error, words):
    """What makes no sense is refused when the client is made, in words that name it."""
    limiter = RateLimiter(TokenBucket(10, 1))
    with pytest.raises(error, match=words), caller.session(**{"limiter": limiter, **options}):
        pass


@each(
    ("options", "error", "words"),
    [
        ({"key": later}, TypeError, "key must be a plain function"),
        ({"key": "host"}, TypeError, "key must be a function, got 'host'"),
        ({"cost": 0}, ValueError, "cost must be above 0"),
        ({"cost": "1"}, TypeError, "cost must be a real number"),
        ({"cost": 11}, CostExceedsCapacity, "11 is above the capacity of 10"),
        ({"cost": {"a": 1}}, TypeError, "a TokenBucket takes a number"),
        ({"retries": 3}, ValueError, "retries=3 needs .* block=True"),
    ],
)
def test_refuse_arguments_of_a_keyed_limiter(caller, options, error, words):
    """So it is for a keyed limiter, which has no bucket yet, but knows what they will be like."""
    limiters = KeyedRateLimiter.from_rate("10/second", block=False)
    with pytest.raises(error, match=words), caller.session(limiters, **options):
        pass


def test_accept_any_cost_for_buckets_that_are_not_known(caller, api, url):
    """A keyed limiter whose buckets are made by a function makes none to see what they are like."""
    limiters = KeyedRateLimiter(lambda key: pytest.fail("made"), block=False)
    with caller.session(limiters, cost={"a": 99}) as client:
        assert client is not None
    assert len(limiters) == 0


def test_accept_a_mapping_for_a_keyed_limiter(caller, api, url):
    """A mapping is checked by the bucket of the key."""
    limiters = KeyedRateLimiter.from_rate("10/second; 100/minute")
    with caller.session(limiters, cost={"10/second": 1, "100/minute": 2}) as client:
        client.send("GET", url)
    assert limiters["127.0.0.1"].bucket.buckets["100/minute"].available_tokens <= 99


def test_fail_to_connect_costs_nothing(caller, bucket):
    """P43: A request that never left gives its tokens back; the caller sees the library's error."""
    with caller.session(RateLimiter(bucket)) as client:
        with pytest.raises(caller.connect_error):
            client.send("GET", CLOSED)
        with pytest.raises(caller.connect_error):
            client.send("GET", CLOSED)
    assert bucket.available_tokens == 10


def test_fail_to_connect_a_free_request_raises_the_same(caller, bucket):
    """P43: There is nothing to give back for a free one."""
    free = caller.session(RateLimiter(bucket), cost=lambda request: 0)
    with free as client, pytest.raises(caller.connect_error):
        client.send("GET", CLOSED)
    assert bucket.available_tokens == 10


def test_time_out_reading_stays_charged(caller, bucket):
    """P43: A request that may have arrived stays charged."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hasty = caller.session(RateLimiter(bucket), wait=0.05)
        with hasty as client, pytest.raises(caller.timeout):
            client.send("GET", address)
    assert bucket.available_tokens == 9


def test_cancel_wait_gives_back(awaiting_caller, api, url):
    """P43: A wait that is cancelled costs nothing, and no request leaves."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock)
    limiter = RateLimiter(bucket)

    async def cancel_second(client):
        await client.send_async("GET", url)
        task = asyncio.create_task(client.send_async("GET", url))
        await asyncio.to_thread(clock.wait_for_sleepers)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with awaiting_caller.session(limiter) as client:
        client.runner.run(cancel_second(client))
    clock.advance(1)
    assert bucket.allow()
    assert len(api.requests) == 1


def test_cancel_request_stays_charged(awaiting_caller, api, url, bucket):
    """P43: A request that is cancelled on its way may have arrived, and stays charged."""
    gate = threading.Event()
    api.replies.append(Reply(chunks=(b"a", b"b"), gate=gate))

    async def cancel(client):
        task = asyncio.create_task(client.send_async("GET", url))
        await asyncio.to_thread(api.arrived.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with awaiting_caller.session(RateLimiter(bucket), settle=fail) as client:
        client.runner.run(cancel(client))
    gate.set()
    assert bucket.available_tokens == 9


def test_retry_sends_again_through_the_limiter(caller, api, url, bucket, clock):
    """A request is sent again when it may be, with its body, and each attempt takes a token."""
    refused = Reply(429, {"Retry-After": "7"})
    api.replies += [refused, Reply(503), Reply(403, {"Retry-After": "1"})]
    with caller.session(RateLimiter(bucket), retries=3) as client:
        answer = client.send("POST", f"{url}/x", b"body")
    assert answer.status == 200
    assert api.requests == [("POST", "/x", b"body")] * 4
    # One token is there after the first pause, one comes in for each other attempt.
    assert clock.elapsed == 7 + 1 + 1


@pytest.mark.parametrize(
    ("policy", "options", "reply"),
    [
        ({}, {"retries": 0}, Reply(429)),
        ({}, {"retries": 2}, Reply(500)),
        ({}, {"retries": 2}, Reply(403)),
        ({}, {"retries": 2, "max_pause": 5}, Reply(429, {"Retry-After": "7"})),
        ({"timeout": 5}, {"retries": 2}, Reply(429, {"Retry-After": "7"})),
        ({"timeout": 0.5}, {"retries": 2}, Reply(429)),
        ({"dry_run": True}, {"retries": 2}, Reply(429)),
    ],
)
def test_retry_only_what_can_help(caller, api, url, bucket, policy, options, reply):  # noqa: PLR0917
    """What is not about a limit, or would be refused, is handed on at once."""
    api.replies.append(reply)
    with caller.session(RateLimiter(bucket, **policy), **options) as client:
        assert client.send("GET", url).status == reply.status
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}])
@pytest.mark.parametrize(("longest", "waits"), [(3600, [1, 2, 4, 8]), (3, [1, 2, 3, 3])])
def test_retry_without_being_told_when_waits_longer_each_time(  # noqa: PLR0917
    caller, api, url, clock, status, headers, longest, waits
):
    """What says nothing is asked again later and later, on the bucket's clock; others go on."""
    bucket = TokenBucket(10, 0.001, clock=clock)
    sent = []
    api.replies += [Reply(status, headers)] * 5
    api.on_request = lambda: sent.append((clock.elapsed, bucket.level.paused_for))
    with caller.session(RateLimiter(bucket), retries=4, max_pause=longest) as client:
        assert client.send("GET", url).status == status
    assert [later[0] - before[0] for before, later in pairwise(sent)] == waits
    assert {paused for _, paused in sent} == {0}


def test_retry_after_what_says_when_begins_with_a_second(caller, api, url, clock):
    """Only the silent refusals make the wait grow; those that say when are obeyed."""
    bucket = TokenBucket(10, 10, clock=clock)
    api.replies += [Reply(429, {"Retry-After": "9"}), Reply(429), Reply(429)]
    with caller.session(RateLimiter(bucket), retries=3) as client:
        assert client.send("GET", url).status == 200
    assert clock.elapsed == 9 + 1 + 2


def test_cancel_the_wait_before_a_retry_sends_nothing(awaiting_caller, api, url):
    """P43: A task that is cancelled while it waits for another attempt makes none."""
    clock = ManualClock()
    bucket = TokenBucket(5, 1, clock=clock)
    api.replies.append(Reply(429))

    async def cancel(client):
        task = asyncio.create_task(client.send_async("GET", url))
        await asyncio.to_thread(clock.wait_for_sleepers)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with awaiting_caller.session(RateLimiter(bucket), retries=1) as client:
        client.runner.run(cancel(client))
    assert len(api.requests) == 1
    assert bucket.available_tokens == 4


def test_retry_at_most_that_often(caller, api, url, bucket):
    """The last response is handed on as it is."""
    api.replies += [Reply(429, chunks=(str(number).encode(),)) for number in range(5)]
    with caller.session(RateLimiter(bucket), retries=2) as client:
        answer = client.send("GET", url)
    assert (answer.status, answer.body) == (429, b"2")


def test_retry_no_body_that_is_gone(caller, api, url, bucket):
    """A body that can be sent only once is sent only once."""
    api.replies.append(Reply(429))
    with caller.session(RateLimiter(bucket), retries=2) as client:
        assert client.send("POST", url, caller.body_once(b"body")).status == 429
    assert api.requests == [("POST", "/", b"body")]


def test_fail_to_pause_closes_the_response(caller, api, url, bucket, monkeypatch):
    """What a bucket of the caller's own raises when it is paused is seen, and nothing leaks."""
    api.replies.append(Reply(429, {"Retry-After": "7"}))
    monkeypatch.setattr(TokenBucket, "pause", fail)
    with caller.session(RateLimiter(bucket)) as client, pytest.raises(LookupError):
        client.send("GET", url)
    assert bucket.available_tokens == 9


def test_receive_429_tells_of_the_pause(caller, api, url, clock, heard):
    """P43, P45: A pause is an event of the limiter, capped as the pause is; it has no key."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(10, 1, clock=clock), name="api")
    api.replies += [Reply(), Reply(429), Reply(429, {"Retry-After": "500"})]
    with caller.session(limiters, max_pause=20) as client:
        for _ in range(3):
            client.send("GET", url)
    assert heard == [Event("paused", "api", seconds=20.0)]


def test_receive_429_for_a_group_tells_of_one_pause(caller, api, url, clock, heard):
    """P45: One response is one event, however many buckets it pauses."""
    group = BucketGroup(one=TokenBucket(10, 1, clock=clock), two=TokenBucket(9, 1, clock=clock))
    api.replies.append(Reply(429, {"Retry-After": "7"}))
    with caller.session(RateLimiter(group)) as client:
        client.send("GET", url)
    assert heard == [Event("paused", None, seconds=7.0)]


def test_raise_in_a_hook_of_a_pause_changes_nothing(caller, api, url, bucket, caplog):
    """P45: A hook that fails when it is told of a pause leaves the response as it is."""
    api.replies.append(Reply(429, {"Retry-After": "7"}))
    set_hooks([fail])
    try:
        with caller.session(RateLimiter(bucket)) as client:
            assert client.send("GET", url).status == 429
    finally:
        set_hooks([])
    assert bucket.level.paused_for == 7
    assert "the hook" in caplog.text
