"""What a limited service does, whichever interface it has."""

from __future__ import annotations

import http_sf
import pytest

from rate_limiter import (
    BucketGroup,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.instrumentation import set_hooks
from rate_limiter.testing import ManualClock

TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
FORGED = {
    "x_forwarded_for": "203.0.113.{}",
    "x_real_ip": "203.0.113.{}",
    "forwarded": "for=203.0.113.{}",
    "cf_connecting_ip": "203.0.113.{}",
    "true_client_ip": "203.0.113.{}",
    "client_ip": "203.0.113.{}",
}


def statuses(world, count, **options):
    return [world.get(**options).status for _ in range(count)]


def test_answer_tells_no_key(world, limiters):
    """P26: No answer has the key of its client."""
    world.limit(limiters, key=lambda _: "a secret token")
    assert not [n for n in range(4) if "secret" in str(world.get())]


def test_ask_more_than_the_limit_is_refused_until_its_time(world, limiters, clock):
    """P44: A client gets its three; then 429 until the seconds of Retry-After have passed."""
    world.limit(limiters)
    assert statuses(world, 4) == [200, 200, 200, 429]
    clock.advance(19.999)
    assert world.get().status == 429
    clock.advance(0.001)
    assert world.get().status == 200
    assert world.served == 4


def test_ask_as_told_by_retry_after_is_served(world, limiters, clock):
    """P44: Retry-After is whole seconds, and never too early."""
    world.limit(limiters)
    statuses(world, 3)
    clock.advance(2.5)
    refused = world.get()
    assert refused.field("Retry-After") == "18"
    clock.advance(18)
    assert world.get().status == 200


def test_ask_from_several_clients_limits_each(world, limiters):
    """P44: Without a key each client has a limit of its own, by its peer's address."""
    world.limit(limiters)
    assert statuses(world, 4, client="10.0.0.1") == [200, 200, 200, 429]
    assert statuses(world, 4, client="10.0.0.2") == [200, 200, 200, 429]


def test_ask_from_addresses_of_one_ipv6_network_shares_a_limit(world, limiters):
    """P44: Who has a /64 of IPv6 addresses has one limit all the same."""
    world.limit(limiters)
    replies = [world.get(client=f"2001:db8:0:1::{n}").status for n in range(4)]
    assert replies == [200, 200, 200, 429]
    assert world.get(client="2001:db8:0:2::1").status == 200


def test_ask_over_both_protocols_shares_a_limit(world, limiters):
    """P44: An IPv4 address within IPv6 is that IPv4 address."""
    world.limit(limiters)
    clients = ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:0a00:1", "10.0.0.1"]
    assert [world.get(client=client).status for client in clients] == [200, 200, 200, 429]


def test_ask_without_a_peer_is_limited(world, limiters):
    """P44: Clients that come over a socket without an address are not exempt."""
    world.limit(limiters)
    assert statuses(world, 4, client=None) == [200, 200, 200, 429]


def test_forge_headers_changes_nothing(world, limiters):
    """P44: No header makes a client somebody else."""
    world.limit(limiters)
    replies = [
        world.get(**{name: value.format(n) for name, value in FORGED.items()}).status
        for n in range(4)
    ]
    assert replies == [200, 200, 200, 429]


def test_answer_success_tells_what_is_left(world, limiters):
    """Headers are on successes as well, and parse as structured fields."""
    world.limit(limiters, name="calls")
    reply = world.get()
    assert (reply.status, reply.field("RateLimit")) == (200, '"calls";r=2;t=20')
    assert reply.field("RateLimit-Policy") == '"calls";q=3;w=60'
    assert reply.field("Retry-After") is None
    assert reply.field("X-RateLimit-Limit") is None
    for name in ("RateLimit", "RateLimit-Policy"):
        assert http_sf.parse(reply.field(name).encode(), tltype="list")


def test_answer_last_success_tells_when_there_is_a_token(world, limiters):
    """Where nothing is left the reset is the time until a token, not until all of them."""
    world.limit(limiters)
    statuses(world, 2)
    assert world.get().field("RateLimit") == '"default";r=0;t=20'


def test_answer_refusal_tells_why_and_when(world, limiters):
    """A refusal has Retry-After, both fields, and problem details that name the policy."""
    world.limit(limiters)
    statuses(world, 3)
    reply = world.get()
    assert reply.status == 429
    assert reply.field("Retry-After") == "20"
    assert reply.field("RateLimit") == '"default";r=0;t=20'
    assert reply.field("RateLimit-Policy") == '"default";q=3;w=60'
    assert reply.field("Content-Length") == str(len(reply.body))
    assert reply.problem["type"] == TYPE
    assert reply.problem["status"] == 429
    assert reply.problem["violated-policies"] == ["default"]
    assert "20 s" in reply.problem["detail"]


def test_answer_head_has_no_body(world, limiters):
    """A refused HEAD has the fields of the answer, and no body."""
    world.limit(limiters)
    statuses(world, 3)
    reply = world.get(method="HEAD")
    assert (reply.status, reply.body) == (429, b"")
    assert int(reply.field("Content-Length")) > 0


def test_answer_with_legacy_headers_has_the_old_names(world, limiters):
    """The old names come on request, on successes and refusals alike."""
    world.limit(limiters, legacy_headers=True)
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    first, _, _, refused = [world.get() for _ in range(4)]
    assert [first.field(name) for name in names] == ["3", "2", "20"]
    assert [refused.field(name) for name in names] == ["3", "0", "20"]


def test_answer_of_a_group_has_a_member_for_each_limit(world, clock):
    """A group's fields have all its limits, and a refusal names the one that refused."""
    limiters = KeyedRateLimiter.from_rate("2/second; 3/minute", block=False, clock=clock)
    world.limit(limiters)
    assert world.get().field("RateLimit") == '"2/second";r=1;t=1, "3/minute";r=2;t=20'
    world.get()
    first = world.get()
    assert first.problem["violated-policies"] == ["2/second"]
    assert first.field("Retry-After") == "1"
    clock.advance(1)
    world.get()
    second = world.get()
    assert second.problem["violated-policies"] == ["3/minute"]
    assert second.field("RateLimit-Policy") == '"2/second";q=2;w=1, "3/minute";q=3;w=60'
    assert second.field("Retry-After") == "19"
    assert '"3/minute";r=0;t=19' in second.field("RateLimit")


def test_answer_of_unnamed_buckets_names_their_positions(world, clock):
    """Buckets without a name are called by their position, as in `refused_by`."""
    group = BucketGroup(TokenBucket(5, 1, clock=clock), TokenBucket(1, 0.1, clock=clock))
    world.limit(RateLimiter(group, block=False))
    world.get()
    assert world.get().problem["violated-policies"] == ["1"]


def test_limit_all_together_with_a_single_limiter(world, clock):
    """A single limiter is a limit for all clients together, because it was chosen."""
    bucket = TokenBucket.from_rate("3/minute", clock=clock)
    world.limit(RateLimiter(bucket, block=False))
    clients = [f"10.0.0.{n}" for n in range(4)]
    assert [world.get(client=client).status for client in clients] == [200, 200, 200, 429]


def test_exempt_a_client_by_a_key_of_none(world, limiters):
    """A key of None exempts: nothing is charged, and nothing is told."""
    world.limit(limiters, lambda _: None)
    replies = [world.get() for _ in range(5)]
    assert {reply.status for reply in replies} == {200}
    assert replies[0].field("RateLimit") is None
    assert len(limiters) == 0


def test_exempt_a_client_from_a_single_limiter(world, clock):
    """Who is exempt does not pay into the limit of all."""
    bucket = TokenBucket.from_rate("1/minute", clock=clock)
    world.limit(RateLimiter(bucket, block=False), key=lambda _: None)
    assert statuses(world, 3) == [200] * 3
    assert bucket.available_tokens == 1


@pytest.mark.parametrize("key", ["", 0, False, (), b""])
def test_limit_a_client_whose_key_is_empty(world, limiters, key):
    """P44: Only None exempts; an empty key is a key."""
    world.limit(limiters, key=lambda _: key)
    assert statuses(world, 4) == [200, 200, 200, 429]


def test_charge_a_fixed_cost(world, limiters):
    """A request costs what the service says."""
    world.limit(limiters, cost=2)
    replies = [world.get() for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 429]
    assert replies[0].field("RateLimit") == '"default";r=1;t=40'
    assert replies[1].field("RateLimit") == '"default";r=1;t=40'
    assert replies[1].field("Retry-After") == "20"


def test_charge_a_computed_cost(world, limiters):
    """A function of the request says what it costs; 0 is free."""
    costs = iter([0, 2, 0, 1.0, 1, 0.0])
    world.limit(limiters, cost=lambda _: next(costs))
    replies = [world.get() for _ in range(6)]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 429, 200]
    assert replies[0].field("RateLimit") is None
    assert replies[1].field("RateLimit") == '"default";r=1;t=40'


@pytest.mark.parametrize("computed", [True, False])
def test_charge_the_buckets_that_a_mapping_names(world, clock, computed):
    """A cost may name the buckets of a group, as everywhere."""
    group = BucketGroup(
        requests=TokenBucket(5, 1, clock=clock), pages=TokenBucket(50, 1, clock=clock)
    )
    cost = {"requests": 1, "pages": 40}
    world.limit(RateLimiter(group, block=False), cost=(lambda _: cost) if computed else cost)
    assert world.get().field("RateLimit") == '"requests";r=4;t=1, "pages";r=10;t=40'
    refused = world.get()
    assert refused.problem["violated-policies"] == ["pages"]
    assert refused.field("Retry-After") == "30"


def test_keep_a_cost_mapping_when_the_callers_changes(world, clock):
    """What a request costs is read once."""
    group = BucketGroup(a=TokenBucket(9, 1, clock=clock), b=TokenBucket(9, 1, clock=clock))
    cost = {"a": 1, "b": 0}
    world.limit(RateLimiter(group, block=False), cost=cost)
    cost["a"] = 9
    assert world.get().field("RateLimit") == '"a";r=8;t=1, "b";r=9;t=0'


def test_refuse_a_cost_that_never_fits_without_a_retry_after(world, limiters):
    """P44: What no wait can help is refused without one, and says so."""
    world.limit(limiters, cost=lambda _: 4)
    reply = world.get()
    assert (reply.status, reply.field("Retry-After")) == (429, None)
    assert reply.field("RateLimit") == '"default";r=3;t=0'
    assert reply.problem["violated-policies"] == ["default"]
    assert "costs more" in reply.problem["detail"]


def test_refuse_a_key_that_finds_no_room(world, clock):
    """A new client beyond `max_keys` is refused until there is room."""
    limiters = KeyedRateLimiter.from_rate("3/minute", block=False, max_keys=1, clock=clock)
    world.limit(limiters)
    assert world.get(client="10.0.0.1").status == 200
    refused = world.get(client="10.0.0.2")
    assert (refused.status, refused.field("Retry-After")) == (429, "20")
    assert refused.field("RateLimit") is None
    clock.advance(20)
    assert world.get(client="10.0.0.2").status == 200


def test_hold_clients_while_a_bucket_is_paused(world, clock):
    """A pause of the bucket is a Retry-After to all."""
    bucket = TokenBucket(10, 10, clock=clock)
    world.limit(RateLimiter(bucket, block=False))
    bucket.pause(30.5)
    reply = world.get()
    assert (reply.status, reply.field("Retry-After")) == (429, "31")
    assert reply.field("RateLimit") == '"default";r=0;t=31'


def test_replace_the_body_keeps_status_and_fields(world, limiters):
    """A service may write its own body, knowing the request and the problem."""
    seen = []

    def body(request, problem):
        seen.append(request)
        return "text/plain", f"slow down: {problem['detail']} {problem['violated-policies']}"

    world.limit(limiters, body=body)
    statuses(world, 3)
    assert not seen
    reply = world.get()
    assert (reply.status, reply.field("Content-Type")) == (429, "text/plain")
    assert reply.body.decode().startswith("slow down: Too many requests; try again in 20 s.")
    assert reply.field("Content-Length") == str(len(reply.body))
    assert reply.field("Retry-After") == "20"
    assert len(seen) == 1


def test_replace_the_body_by_bytes(world, limiters):
    """A body of bytes is sent as it is."""
    world.limit(limiters, body=lambda request, problem: ("image/png", b"\x89PNG"))
    statuses(world, 3)
    assert world.get().body == b"\x89PNG"


@pytest.mark.parametrize("where", ["limiters", "service"])
def test_dry_run_counts_and_refuses_nobody(world, clock, where):
    """A dry run lets everybody pass, and tells clients nothing that could hold them up."""
    limiters = KeyedRateLimiter.from_rate(
        "3/minute", block=False, clock=clock, dry_run=where == "limiters", max_keys=1
    )
    world.limit(limiters, dry_run=where == "service")
    replies = [world.get() for _ in range(5)]
    assert {reply.status for reply in replies} == {200}
    assert {reply.field("RateLimit") for reply in replies} == {None}
    assert limiters["10.0.0.1"].bucket.available_tokens == 0
    assert world.get(client="no room for another").status == 200


@pytest.mark.parametrize("keyed", [True, False])
def test_dry_run_of_a_service_keeps_the_name_of_its_limiter(world, clock, keyed):
    """P45: Events and metrics of a service's dry run are under the limiter's name."""
    heard = []
    set_hooks([heard.append])
    options = {"block": False, "name": "api"}
    if keyed:
        limiters = KeyedRateLimiter.from_rate("1/minute", clock=clock, **options)
    else:
        limiters = RateLimiter(TokenBucket(1, 1, clock=clock), **options)
    try:
        world.limit(limiters, dry_run=True)
        assert statuses(world, 2) == [200, 200]
    finally:
        set_hooks([])
    assert [(event.kind, event.limiter) for event in heard] == [("would_refuse", "api")]


def test_dry_run_of_a_single_limiter_charges_its_bucket(world, clock):
    """A dry run of the service charges the very bucket of the limiter."""
    bucket = TokenBucket.from_rate("2/minute", clock=clock)
    world.limit(RateLimiter(bucket, block=False), dry_run=True)
    assert statuses(world, 3) == [200] * 3
    assert bucket.available_tokens == 0


def test_wait_if_asked_for(world):
    """A limiter that waits does so when the service says that it may; beyond the timeout is 429."""
    clock = ManualClock(auto_advance=True)
    limiters = KeyedRateLimiter.from_rate("1/second", timeout=1.5, clock=clock)
    world.limit(limiters, block=True)
    assert statuses(world, 2) == [200, 200]
    limiters["10.0.0.1"].bucket.pause(10)
    refused = world.get()
    assert (refused.status, refused.field("Retry-After")) == (429, "10")


class Watched(ManualClock):
    """A clock that counts how often it is read."""

    reads = 0

    def now(self):
        self.reads += 1
        return super().now()


def test_ask_once_for_each_request(world):
    """P37: One request is one decision at one instant: all its fields are made of that."""
    clock = Watched()
    world.limit(RateLimiter(TokenBucket(2, 1, clock=clock), block=False), legacy_headers=True)
    reads = []
    for status in (200, 200, 429):
        before = clock.reads
        assert world.get().status == status
        reads.append(clock.reads - before)
    assert reads[:2] == [1, 1]
    assert reads[2] <= 2  # the fast path leaves it to the decision


def test_let_errors_of_the_application_pass(world, limiters):
    """What the application raises is the server's to see; the request stays charged."""
    world.limit(limiters)
    with pytest.raises(ZeroDivisionError):
        world.get("/raise")
    assert limiters["10.0.0.1"].bucket.available_tokens == 2


def test_let_refusals_of_the_application_pass(world, limiters):
    """A limiter within the application is none of ours: its refusal is not answered with 429."""

    def status_of(path):
        raise RateLimitExceeded(retry_after=1.0)

    world.status_of = status_of
    world.limit(limiters)
    with pytest.raises(RateLimitExceeded):
        world.get()
