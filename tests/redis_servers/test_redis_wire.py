"""What buckets on a server send: one command for each decision, and none for what they know."""

import pytest
from redis_worlds import LIBRARIES, WORLDS, name_of
from servers import command_names, wire_log

from rate_limiter import BucketGroup, CostExceedsCapacity, RateLimiter, RateLimitExceeded


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture(params=["bucket", "group"])
def bucket(request, world, name):
    """Hold ten tokens, in one bucket or in three at once, on a server that knows the script."""
    client = world.client()
    bucket = world.bucket(client, name)
    world.run(bucket.available_tokens)
    if request.param == "bucket":
        return bucket
    wide = [world.bucket(client, f"{name}-{number}", 20 * number) for number in (1, 2)]
    return BucketGroup(*wide, narrow=bucket)


def refused(ask):
    """Ask, and be refused."""
    with pytest.raises(RateLimitExceeded):
        ask()


ONE_COMMAND = {
    "allow": lambda world, bucket: world.run(bucket.allow(3)),
    "allow a fraction": lambda world, bucket: world.run(bucket.allow(1 / 3)),
    "try_consume": lambda world, bucket: world.run(bucket.try_consume()),
    "wait": lambda world, bucket: world.run(bucket.wait(10)),
    "wait, refused": lambda world, bucket: refused(lambda: world.run(bucket.wait(11, timeout=1))),
    "reserve": lambda world, bucket: world.run(bucket.reserve(3)),
    "reserve and look": lambda world, bucket: world.run(bucket.reserve(30)).delay,
    "reserve, refused": lambda world, bucket: refused(lambda: world.run(bucket.reserve(11, 1))),
    "refund": lambda world, bucket: world.run(bucket.refund(3)),
    "pause": lambda world, bucket: world.run(bucket.pause(3)),
    "retry_after": lambda world, bucket: world.run(bucket.retry_after(3)),
    "available_tokens": lambda world, bucket: world.run(bucket.available_tokens),
    "limiter": lambda world, bucket: world.enter(RateLimiter(bucket)),
    "acquire": lambda world, bucket: world.enter(RateLimiter(bucket).acquire(3)),
    "acquire, refused": lambda world, bucket: refused(
        lambda: world.enter(RateLimiter(bucket, timeout=1).acquire(11))
    ),
    "function": lambda world, bucket: world.run(RateLimiter(bucket)(world.function())()),
    "function of a cost": lambda world, bucket: world.run(
        RateLimiter(bucket).cost(lambda cost: cost)(world.function())(3)
    ),
    "generator": lambda world, bucket: world.collect(
        RateLimiter(bucket)(world.generator())(1, 2, 3)
    ),
}


@pytest.mark.parametrize("use", ONE_COMMAND.values(), ids=ONE_COMMAND)
def test_use_a_bucket_is_one_command(world, redis_server, bucket, use):
    """P28: Whatever is asked, of one bucket or of several, is one command and one round trip."""
    with wire_log(redis_server) as commands:
        use(world, bucket)

    assert command_names(commands) == ["EVALSHA"]


def refuse_now(world, bucket):
    """Be refused what is not there, without waiting."""
    refused(lambda: world.enter(RateLimiter(bucket, block=False)))


def refuse_function(world, bucket):
    """Be refused a call, without waiting."""
    limiter = RateLimiter(bucket, block=False)
    refused(lambda: world.run(limiter(world.function())()))


@pytest.mark.parametrize("use", [refuse_now, refuse_function])
def test_be_refused_without_waiting_is_one_command(world, redis_server, bucket, use):
    """P28: The time to retry comes with the refusal; nobody asks for it."""
    world.run(bucket.allow(10))
    with wire_log(redis_server) as commands:
        use(world, bucket)

    assert command_names(commands) == ["EVALSHA"]


CORRECTIONS = {
    "cancel": lambda world, held, permit: world.run(held.cancel()),
    "settle for less": lambda world, held, permit: world.run(held.settle(1)),
    "settle for more": lambda world, held, permit: world.run(held.settle(100)),
    "permit.settle": lambda world, held, permit: world.run(permit.settle(1)),
    "permit.refund": lambda world, held, permit: world.run(permit.refund()),
}


@pytest.mark.parametrize("correct", CORRECTIONS.values(), ids=CORRECTIONS)
def test_correct_a_charge_is_one_command(world, redis_server, bucket, correct):
    """P28: What has been taken is given back, or settled, in one call."""
    permit = world.enter(RateLimiter(bucket).acquire(5))
    held = world.run(bucket.reserve(7))
    with wire_log(redis_server) as commands:
        correct(world, held, permit)

    assert command_names(commands) == ["EVALSHA"]


def test_know_the_answer_sends_nothing(world, redis_server, bucket):
    """P28: What is known without the server, or changes nothing, is no command."""
    limiter = RateLimiter(bucket, block=False)
    permit, held = world.enter(limiter.acquire(2)), world.run(bucket.reserve(2))
    cancelled = world.run(bucket.reserve(1))
    world.run(cancelled.cancel())
    refunded = world.enter(limiter.acquire(2))
    world.run(refunded.refund())
    with wire_log(redis_server) as commands:
        assert not world.run(bucket.allow(10.5))
        world.run(bucket.retry_after(10.5))
        with pytest.raises(CostExceedsCapacity):
            world.enter(limiter.acquire(10.5))
        assert held.delay == 0
        repr(held), repr(bucket), repr(limiter)
        world.run(permit.settle(2))
        world.run(held.settle(2))
        world.run(cancelled.cancel())
        world.run(refunded.refund())

    assert commands == []


@pytest.mark.parametrize("grouped", [False, True])
def test_wait_for_tokens_is_one_command_however_long(world, redis_server, name, grouped):
    """P28: A wait is asked for once, and slept out once; nobody polls."""
    bucket = world.bucket(world.client(), name, 1, 10)
    asked = BucketGroup(bucket) if grouped else bucket
    world.run(asked.allow())
    with wire_log(redis_server) as commands:
        world.run(asked.wait(2))
        permit = world.enter(RateLimiter(asked))

    assert command_names(commands) == ["EVALSHA"] * 2
    assert permit.waited > 0.01


def test_flush_scripts_costs_one_command_once(make_server, name):
    """P28: The script is sent when the server does not know it, and only then."""
    server = make_server()
    for kind in WORLDS:
        with kind(server) as world:
            client = world.client()
            bucket = world.bucket(client, name)
            group = BucketGroup(bucket, world.bucket(client, f"{name}-other"))
            world.run(client.script_flush())
            with wire_log(server) as commands:
                for _ in range(3):
                    assert world.run(bucket.allow())
                    world.run(world.run(group.reserve()).cancel())

            assert command_names(commands) == ["EVALSHA", "EVAL", *["EVALSHA"] * 8]
            world.run(bucket.refund(10))


def test_flush_scripts_at_any_moment_changes_no_answer(world, redis_server, bucket):
    """P28: Whatever is asked of a server that has lost the script, it is answered."""
    run, client = world.run, world.client()
    held = run(bucket.reserve(2))
    for ask, expected in (
        (lambda: run(bucket.allow()), True),
        (lambda: run(held.settle(1)), None),
        (lambda: run(held.cancel()), None),
        (lambda: run(bucket.wait(2)), None),
        (lambda: run(bucket.refund(2)), None),
        (lambda: run(bucket.retry_after(9)), 0),
        (lambda: run(bucket.pause(10)), None),
        (lambda: run(bucket.available_tokens), 0),
        (lambda: run(bucket.allow()), False),
    ):
        run(client.script_flush())
        assert ask() == expected


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", LIBRARIES, ids=name_of)
def test_restart_the_server_is_not_noticed(make_server, name, kind, protocol):
    """P28: After a restart the next call connects, sends the script and is answered."""
    server = make_server()
    with kind(server) as world:
        bucket = world.bucket(world.client(protocol=protocol), name)
        assert world.run(bucket.allow(10))
        world.meanwhile(server.restart)

        assert [world.run(bucket.allow(10)), world.run(bucket.allow())] == [True, False]


def test_make_and_show_a_bucket_connects_to_nothing(redis_server, name):
    """P28: Until something is asked, nothing is sent, not even by who connects."""
    for kind in WORLDS:
        with kind(redis_server) as world, wire_log(redis_server) as commands:
            client = world.keep(world.make_client())
            bucket = world.bucket(client, name)
            bucket.configure(capacity=5)
            group = BucketGroup(bucket, world.bucket_type.from_rate(client, b"b", "1/second"))
            limiter = RateLimiter(group)
            limiter(world.function())
            limiter.cost(2)(world.function())
            repr(limiter)

        assert commands == []
