"""What a failure means: for the call, those after it, what is repeated, and the log."""

import asyncio
import copy
import importlib
import logging
import math
import shutil
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from redis_worlds import LIBRARIES, SLOW, WORLDS, Tasks, Threads, about, name_of
from servers import HOST, free_port

from rate_limiter import BackendError, RateLimiter
from rate_limiter.redis.client import AT_ONCE
from rate_limiter.redis.failures import code_of, failure_of, is_answer, is_shortage
from rate_limiter.shared.failures import (
    BucketFailure,
    NoAnswer,
    NoConnection,
    Refused,
    ReplyLost,
    TooMuch,
)

BUSY = "while true do end"
LATE = 0.5  # seconds after which a client gives a reply up: more than a busy machine needs


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def told(caplog):
    """Return how often each level has been logged."""
    caplog.set_level(logging.INFO, logger="rate_limiter")
    levels = ("WARNING", "INFO")
    return lambda: [[each.levelname for each in caplog.records].count(one) for one in levels]


@pytest.mark.parametrize("fallback", ["allow", "deny"])
def test_reply_that_is_late_once_leaves_the_next_calls_to_the_server(
    world, fault_proxy, name, fallback, told
):
    """P39: One late reply is decided by the fallback, and not one call more."""
    client = world.client(port=fault_proxy.port, socket_timeout=LATE)
    bucket = world.bucket(client, name, 5, SLOW, fallback=fallback)
    assert world.run(bucket.allow())
    fault_proxy.fail_next("delay")
    assert world.run(bucket.allow()) is (fallback == "allow")
    fault_proxy.release()

    assert sum(world.run(bucket.allow()) for _ in range(100)) == 3
    assert told() == [0, 0]


def test_one_reply_in_ten_that_is_late_breaks_no_limit(world, fault_proxy, name, told):
    """P39: However many single replies are late, the fallback decides for those calls alone."""
    client = world.client(port=fault_proxy.port, socket_timeout=LATE)
    bucket = world.bucket(client, name, 5, SLOW, fallback="allow")
    for _ in range(4):
        fault_proxy.fail_next("delay", seconds=LATE + 0.05)
        assert world.run(bucket.allow())
        assert sum(world.run(bucket.allow()) for _ in range(9)) <= 4

    assert sum(world.run(bucket.allow()) for _ in range(9)) == 0
    assert told() == [0, 0]


@pytest.mark.parametrize(("fallback", "admitted"), [("allow", 150), ("deny", 148)])
def test_one_reply_in_a_hundred_that_is_late_is_decided_by_the_fallback_alone(  # noqa: PLR0917
    world, fault_proxy, name, told, fallback, admitted
):
    """P39: The server charges the late ones too, and decides all the others to the token."""
    client = world.client(port=fault_proxy.port, socket_timeout=LATE)
    bucket = world.bucket(client, name, 150, SLOW, fallback=fallback)
    answers = []
    for call in range(200):
        if call % 100 == 0:
            fault_proxy.fail_next("delay", seconds=LATE + 0.05)
        answers.append(world.run(bucket.allow()))

    assert sum(answers) == admitted
    assert told() == [0, 0]


def test_freeze_the_server_is_an_outage_after_three_calls(make_server, name, told):
    """P39: After three calls without an answer the fallback decides at once, with one warning."""
    server = make_server()
    for kind in WORLDS:
        with kind(server) as world:
            client = world.client(socket_timeout=0.05)
            bucket = world.bucket(client, name, 5, SLOW, fallback="deny")
            world.run(bucket.available_tokens)
            server.freeze()
            world.meanwhile(lambda: None)
            began = time.monotonic()
            assert not any(world.run(bucket.allow()) for _ in range(50))
            assert time.monotonic() - began < 1
            server.thaw()
    assert told() == [2, 0]


def test_nobody_at_the_port_is_told_at_once(name, told):
    """P31, P39: Where nobody listens, no call takes the seconds that a client tries again for."""
    for kind in LIBRARIES:
        began = time.monotonic()
        with kind(None) as world:
            client = world.keep(world.library_type("")(host="localhost", port=free_port()))
            with pytest.raises(Refused, match="nobody is there"):
                world.run(world.bucket(client, name).wait(timeout=0.1))
            with pytest.raises(Refused):
                world.run(world.bucket(client, name).allow())
            local = world.bucket(client, name, fallback="deny")
            assert not any(world.run(local.allow()) for _ in range(100))
        assert time.monotonic() - began < 1
    assert told() == [len(LIBRARIES), 0]


def test_nobody_at_a_socket_in_the_file_system_is_told_at_once(tmp_path, name):
    """P31: A socket that is not there is nobody either."""
    for kind in LIBRARIES:
        with kind(None) as world:
            client = world.keep(world.library_type("")(unix_socket_path=str(tmp_path / "none")))
            with pytest.raises(Refused):
                world.run(world.bucket(client, name).allow())


def test_use_a_client_for_other_things_leaves_its_own_tries_as_they_are(name):
    """P31: What a bucket is spared the application still has, which asked for it."""
    for kind in LIBRARIES:
        with kind(None) as world:
            library = world.library.__name__
            tries = importlib.import_module(f"{library}.retry")
            backoff = importlib.import_module(f"{library.partition('.')[0]}.backoff")
            retry = tries.Retry(backoff.NoBackoff(), 2)
            client = world.keep(world.library_type("")(port=free_port(), retry=retry))
            world.bucket(client, name), world.bucket(client, name)
            kept = client.get_retry()

            assert isinstance(kept, tries.Retry)
            assert kept._retries == 2
            assert world.run(tries_of(world, kept, at_once=False)) == 3
            assert world.run(tries_of(world, copy.deepcopy(kept), at_once=True)) == 1


def tries_of(world, retry, at_once):
    """Count how often something is tried that fails each time."""
    tried, failed, error = [], [], world.library.ConnectionError

    def do():
        tried.append(None)
        raise error

    async def do_async():
        do()

    async def fail_async(_):
        failed.append(None)

    async def count():
        AT_ONCE.set(at_once)
        with suppress(error):
            await retry.call_with_retry(do_async, fail_async)
        assert len(tried) == len(failed)
        return len(tried)

    if isinstance(world, Tasks):
        return count()
    before = AT_ONCE.set(at_once)
    with suppress(error):
        retry.call_with_retry(do, failed.append)
    AT_ONCE.reset(before)
    assert len(tried) == len(failed)
    return len(tried)


@contextmanager
def loading(server):
    """Have a server load its data for a while."""
    with server.client() as admin:
        # Before Redis 7.0 clients are answered once for each 2 MiB that are loaded.
        admin.mset({f"k{number}": b"v" * 2**18 for number in range(300)})
        admin.save()
    server._process.kill()
    server._process.wait()
    server._spawn()
    yield
    with server.client() as admin, suppress(Exception):  # which 6.2 refuses, and is loading still
        admin.config_set("key-load-delay", 0)
    server.wait_until(server._is_up, "it has loaded its data")


def failure_of_call(call):
    """Return what a call fails by, as soon as somebody is there."""
    while True:
        try:
            return f"no failure: {call()}"
        except Refused:
            time.sleep(0.001)
        except BackendError as error:
            return str(error)


def test_repeat_what_a_loading_server_refused_counts(make_server, name):
    """P29: A server that is loading has done nothing, so that a repeated cancel gives back."""
    server = make_server(key_load_delay=10_000, rdbcompression="no")
    with Threads(server) as world:
        bucket = world.bucket(world.client(), name)
        reservation = bucket.reserve(4)
        permit = world.enter(RateLimiter(bucket).acquire(3))
        with loading(server):
            for back in (reservation.cancel, permit.refund):
                assert "the server is loading its data" in failure_of_call(back)
        reservation.cancel()
        permit.refund()

        assert bucket.available_tokens == about(10)


@contextmanager
def busy(server):
    """Have a server run a script that does not end."""

    def run():
        with server.client(socket_timeout=30) as client, suppress(Exception):
            client.eval(BUSY, 0)

    with server.client() as admin:
        admin.config_set("lua-time-limit", 20)
        thread = threading.Thread(target=run)
        thread.start()
        while True:
            try:
                admin.ping()
            except Exception as error:  # noqa: BLE001 - of whichever kind
                if "BUSY" in str(error):
                    break
        yield
        admin.script_kill()
    thread.join()


@contextmanager
def setting(server, name, value, before):
    """Set a server so, and back."""
    with server.client() as admin:
        admin.config_set(name, value)
        yield
        admin.config_set(name, before)


@contextmanager
def unable_to_save(server):
    """Have a server refuse writes, because its data cannot be saved."""
    with server.client() as admin:
        admin.config_set("save", "3600 1")
        (server._folder / "dump.rdb" / "in the way").mkdir(parents=True)
        admin.set("something", "to save")
        with suppress(Exception):
            admin.bgsave()
        server.wait_until(
            lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err", "it cannot save"
        )
        yield
        admin.config_set("stop-writes-on-bgsave-error", "no")
        shutil.rmtree(server._folder / "dump.rdb")


TROUBLE = {
    "BUSY": (busy, "the server is busy with a script that does not end"),
    "MISCONF": (unable_to_save, "the server cannot save its data"),
    "NOREPLICAS": (
        lambda server: setting(server, "min-replicas-to-write", 1, 0),
        "the server has fewer replicas than its min-replicas-to-write",
    ),
    "OOM": (
        lambda server: setting(server, "maxmemory", 1, 0),
        "the server has reached its maxmemory",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("kind", WORLDS, ids=name_of)
def test_call_while_the_server_refuses_says_why_and_may_be_repeated(
    make_server, name, trouble, kind
):
    """P31: The server's own code says what is wrong; it has done nothing, so a repeat counts."""
    cause, message = TROUBLE[trouble]
    server = make_server()
    with kind(server) as world:
        bucket = world.bucket(world.client(socket_timeout=5), name)
        held = world.run(bucket.reserve(4))
        permit = world.enter(RateLimiter(bucket).acquire(3))
        with cause(server):
            for call in (bucket.allow, held.cancel, permit.refund):
                with pytest.raises(BackendError, match=message) as failure:
                    world.run(call())
                assert not isinstance(failure.value, ReplyLost | Refused | NoConnection)
        world.run(held.cancel())
        world.run(permit.refund())
        assert world.run(bucket.available_tokens) == about(10)


def test_replica_without_its_primary_says_so(make_server, name):
    """P31: A replica that answers nobody while its primary is away is told of."""
    server = make_server(replicaof=f"{HOST} {free_port()}", replica_serve_stale_data="no")
    for kind in WORLDS:
        with kind(server) as world:
            client = world.keep(world.make_client())
            with pytest.raises(BackendError, match="the server is a replica, and its primary is"):
                world.run(world.bucket(client, name).allow())


def test_cluster_without_its_slots_says_so(make_server, name):
    """P31: A node of a cluster that is not complete is told of."""
    server = make_server(cluster_enabled="yes")
    with Threads(server) as world:
        bucket = world.bucket(world.client(), name)
        with pytest.raises(BackendError, match="the cluster is down, or no node serves the slot"):
            bucket.allow()


def test_server_without_memory_is_one_outage_until_it_takes_writes(small_server, name, told):
    """P39: An answer without a write ends no outage: one warning, and one word at its end."""
    with Threads(small_server) as world:
        bucket = world.bucket(world.client(), name, 10, 5, fallback="allow")
        small_server.fill()
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            bucket.retry_after()
            bucket.available_tokens  # noqa: B018 - it asks the server
            [bucket.allow() for _ in range(3)]
            time.sleep(0.01)
        assert told() == [1, 0]
        small_server.free()
        end = time.monotonic() + 5
        while told() == [1, 0] and time.monotonic() < end:
            bucket.allow()
            time.sleep(0.01)
        assert told() == [1, 1]


def test_restart_the_server_ends_the_outage_within_about_a_second(make_server, name, told):
    """P39: A server that is back is noticed by the one call that tries it."""
    server = make_server()
    with Threads(server) as world:
        bucket = world.bucket(world.client(), name, 5, SLOW, fallback="deny")
        assert bucket.allow()
        server.kill()
        assert not any(bucket.allow() for _ in range(20))
        server.restart()
        deadline = time.monotonic() + 3
        while not bucket.allow() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert bucket.allow()
        assert told() == [1, 1]


def test_answer_of_a_probe_that_is_a_refusal_has_everybody_ask(make_server, name):
    """P39: While an empty bucket's server answers, no fallback admits in its place."""
    server = make_server()
    with Threads(server) as world:
        client = world.client(socket_timeout=LATE)
        bucket = world.bucket(client, name, 2, SLOW, fallback="allow")
        assert [bucket.allow(), bucket.allow(), bucket.allow()] == [True, True, False]
        server.freeze()
        assert all(bucket.allow() for _ in range(5))
        server.thaw()
        time.sleep(1.1)
        assert not any(bucket.allow() for _ in range(50))


def error_of(name, text, bases=(Exception,)):
    """Make an error such as a client raises."""
    parents = tuple(
        type(base, (Exception,), {}) if isinstance(base, str) else base for base in bases
    )
    return type(name, parents, {})(text)


ANSWERS = {
    "LOADING": ("BusyLoadingError", "Redis is loading the dataset in memory", BackendError),
    "BUSY": ("ResponseError", "BUSY Redis is busy running a script.", BackendError),
    "MISCONF": ("ResponseError", "MISCONF Redis is configured to save", BackendError),
    "NOREPLICAS": ("ResponseError", "NOREPLICAS Not enough good replicas", BackendError),
    "CLUSTERDOWN": ("ClusterDownError", "The cluster is down", BackendError),
    "TRYAGAIN": ("TryAgainError", "Multiple keys request during rehashing", BucketFailure),
    "ASK": ("AskError", "3999 127.0.0.1:6381", BucketFailure),
    "MASTERDOWN": ("MasterDownError", "Link with MASTER is down", BackendError),
    "READONLY": ("ReadOnlyError", "You can't write against a read only replica.", BackendError),
    "OOM": ("OutOfMemoryError", "command not allowed when used memory", BackendError),
    "NOAUTH": ("AuthenticationError", "Authentication required.", BackendError),
    "AUTH": ("AuthenticationError", "invalid username-password pair", BackendError),
    "WRONGPASS": ("ResponseError", "WRONGPASS invalid username-password pair", BackendError),
    "NOPERM": ("NoPermissionError", "No permissions to access a key", BucketFailure),
    "NORUN": ("NoPermissionError", "this user has no permissions to run the 'eval'", BackendError),
    "CROSSSLOT": ("ClusterCrossSlotError", "Keys don't hash to the same slot", BucketFailure),
    "MOVED": ("MovedError", "3999 127.0.0.1:6381", BackendError),
    "UNKILLABLE": ("ResponseError", "UNKILLABLE Sorry the script already executed", BackendError),
    "CORRUPT": ("ResponseError", "CORRUPT the value is not that of a bucket", BucketFailure),
    "OVERFLOW": ("ResponseError", "OVERFLOW the bucket would be empty for", TooMuch),
    "UNKNOWN": ("ResponseError", "unknown command 'EVALSHA'", BackendError),
    "NOPROTO": ("ResponseError", "NOPROTO unsupported protocol version", BackendError),
    "DENIED": ("ResponseError", "DENIED Redis is running in protected mode", BackendError),
}


@pytest.mark.parametrize("code", ANSWERS)
def test_read_an_answer_tells_what_is_wrong_and_that_nothing_was_done(code):
    """P29, P31: Each code of a server has a hint in plain words, and is no lost reply."""
    name, text, kind = ANSWERS[code]
    error = error_of(name, text, ["ResponseError"] if name != "BusyLoadingError" else (OSError,))
    failure = failure_of(error, sent=True)

    assert code_of(error) == code
    assert is_answer(error)
    assert not is_shortage(error)
    assert type(failure) is kind
    assert "answer" not in str(failure)
    assert code not in str(failure)


def test_read_an_answer_within_that_of_a_script_finds_its_code():
    """P31: Before Redis 7.0 the code of a command stands amid the error of its script."""
    text = "Error running script (call to f_1): @user_script:57: -NOREPLICAS Not enough replicas"

    assert code_of(error_of("ResponseError", text)) == "NOREPLICAS"


def test_read_words_of_the_client_finds_no_code_of_the_server():
    """P31: What a library says by itself may hold the same words, and is no answer."""
    lost = error_of("ConnectionError", "Error UNKNOWN while writing to socket. Connection lost.")

    assert code_of(lost) == ""
    assert type(failure_of(lost, sent=True)) is ReplyLost


def test_read_an_answer_that_is_unknown_says_that_it_is_one():
    """P31: A code of later versions is no lost reply either."""
    failure = failure_of(error_of("ResponseError", "NEWCODE what is this?"), sent=True)

    assert type(failure) is BackendError
    assert "it answered with an error (ResponseError)" in str(failure)


def test_lose_a_reply_is_told_from_never_having_asked():
    """P29: Only what was sent leaves open what has been done."""
    lost = error_of("TimeoutError", "Timeout reading from socket")

    assert type(failure_of(lost, sent=True)) is ReplyLost
    assert type(failure_of(lost, sent=False)) is NoAnswer


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("[Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed", True),
        ("[Errno 99] Cannot assign ('::1', 1), [Errno 111] Connect call failed", True),
        ("[Errno 110] Timed out, [Errno 111] Connect call failed", False),
    ],
)
def test_read_that_all_addresses_refuse_is_that_nobody_is_there(text, refused):
    """P31: A name may have several addresses, and asyncio tells of all in one text."""
    error = error_of("ConnectionError", "Error connecting")
    error.__cause__ = OSError(f"Multiple exceptions: {text}")

    assert (type(failure_of(error, sent=False)) is Refused) is refused


def test_hit_a_host_that_answers_nothing_takes_the_connect_timeout_at_most(name):
    """P31: A host that cannot be reached takes what the client allows for it, and no retries."""
    for kind in LIBRARIES:
        with kind(None) as world, _full_backlog() as port:
            client = world.keep(
                world.library_type("")(host=HOST, port=port, socket_connect_timeout=0.1)
            )
            began = time.monotonic()
            with pytest.raises(BackendError, match="no answer"):
                world.run(world.bucket(client, name).allow())
            assert 0.09 < time.monotonic() - began < 1


@contextmanager
def _full_backlog():
    """Be a port at which connections are neither accepted nor refused."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen(0)
        clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            clients.append(client)
        try:
            yield server.getsockname()[1]
        finally:
            for client in clients:
                client.close()


def test_cancel_who_tries_the_store_leaves_the_turn_to_the_next(redis_server, fault_proxy, name):
    """P19: A probe that is cancelled reports nothing, and the next call tries at once."""
    with Tasks(redis_server) as world:
        client = world.client(port=fault_proxy.port, socket_timeout=5)
        bucket = world.bucket(client, name, 5, SLOW, fallback="deny")

        async def main():
            fault_proxy.fail_next("drop_before", 3)
            assert not any([await bucket.allow() for _ in range(3)])
            fault_proxy.fail_next("delay", math.inf)
            probe = asyncio.ensure_future(bucket.allow())
            await asyncio.to_thread(fault_proxy.wait_for_hits, 4)
            assert not await bucket.allow()
            probe.cancel()
            await asyncio.wait([probe])
            fault_proxy.clear()
            fault_proxy.release()
            assert await bucket.allow()

        world.run(main())
