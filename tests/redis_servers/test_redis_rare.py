"""What clients do now and then: stubs do it here whenever they are asked."""

import asyncio
from threading import Lock
from time import monotonic
from types import SimpleNamespace

import pytest
import redis
import redis.asyncio
import trio
from servers import TIMEOUTS

from rate_limiter import BackendError
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket, awaiting, blocking
from rate_limiter.redis import client as client_module
from rate_limiter.redis.asking import Broken
from rate_limiter.redis.failures import failure_of
from rate_limiter.redis.turns import ThreadTurns, _Turn
from rate_limiter.shared.background import unfinished
from rate_limiter.shared.failures import Refused, ReplyLost
from rate_limiter.shared.store import Question


class Connection:
    """A connection whose first reading is cancelled by nobody who waits for it."""

    is_connected = True

    def __init__(self, *readings):
        self._readings = list(readings)

    async def send_packed_command(self, _):
        pass

    async def read_response(self, **_):
        reading = self._readings.pop(0)
        if isinstance(reading, BaseException):
            raise reading
        return reading

    async def disconnect(self, **_):
        pass


@pytest.fixture
def bucket():
    """Make a bucket whose client never connects."""
    return AsyncRedisTokenBucket(redis.asyncio.Redis(), "name", 10, 1)


async def rest():
    """Let what runs in the background end."""
    while left := unfinished():
        await asyncio.wait(left)


def test_lose_a_reply_because_a_task_of_the_client_is_cancelled_is_a_lost_reply(
    bucket, monkeypatch
):
    """P29: What was sent may have been done, so that it is not sent again."""
    store = bucket._async_store
    connection = Connection(asyncio.CancelledError(), 1_000_000)

    async def connection_for(_):
        return connection

    async def release(*_):
        pass

    monkeypatch.setattr(store, "_connection_for", connection_for)
    monkeypatch.setattr(store, "_release", release)

    async def main():
        with pytest.raises(ReplyLost):
            await bucket.wait()
        await rest()

    asyncio.run(main())


def test_cancel_while_a_connection_goes_back_hands_the_answer_over(bucket, monkeypatch):
    """P32: Neither the connection nor what it has answered is lost."""
    store, released, heard = bucket._async_store, [asyncio.CancelledError(), None], []

    async def release(*_):
        outcome = released.pop(0)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(store, "_release", release)

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await store._return(None, "reply", heard.append)
        await rest()

    asyncio.run(main())
    assert (heard, released) == (["reply"], [])


@pytest.mark.parametrize(
    ("outcomes", "left"),
    [
        ([None, None], 1),
        ([Refused("no"), None], 1),
        ([ReplyLost("lost"), None], 1),
        ([BackendError("closed"), None, None], 1),
        ([BackendError("closed"), BackendError("closed"), None], 1),
    ],
)
def test_give_back_is_tried_once_more_unless_it_may_have_been_done(
    bucket, monkeypatch, outcomes, left
):
    """P29: What was not sent goes over another connection, once; nobody is told of a failure."""
    store = bucket._async_store

    async def ask(*_):
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(store, "ask", ask)
    question = Question("cancel", bucket._limits.charges(1))
    asyncio.run(store.give_back(question))
    assert len(outcomes) == left


def test_go_on_in_another_loop_replaces_locks_of_one_that_is_closed():
    """P15: A pool with a lock of a loop that is over works in the next one."""
    loop = asyncio.new_event_loop()
    loop.close()
    old = asyncio.Lock()
    old._loop = loop
    pool = SimpleNamespace(_lock=old)
    awaiting._leave_loop(pool)
    assert isinstance(pool._lock, asyncio.Lock)
    assert pool._lock is not old


def test_fail_at_once_with_a_plain_function_for_failures_raises():
    """P31: A client may be told of a failure by a function that is not awaited."""
    retries, told = object.__new__(client_module._SparedTasks), []

    async def fail_to_connect():
        raise OSError("nobody is there")

    async def main():
        spared = client_module.AT_ONCE.set(True)
        try:
            with pytest.raises(OSError, match="nobody is there"):
                await retries.call_with_retry(fail_to_connect, told.append)
        finally:
            client_module.AT_ONCE.reset(spared)

    asyncio.run(main())
    assert len(told) == 1


def test_wake_turns_of_which_none_counts_wakes_nobody():
    """P20: A turn that a fork has left behind is passed over, and a late one does not wait."""
    turns = ThreadTurns()
    gone = _Turn(monotonic() - 60)
    turns._waiting.append(gone)
    turns.wake()
    assert gone.woken.locked()
    turns._wait(_Turn(monotonic() - 1), first=False, pause=0.01)
    assert list(turns._waiting) == [gone]
    assert isinstance(gone.woken, type(Lock()))


def test_take_a_turn_behind_those_whom_a_fork_has_left_waits_for_nobody(monkeypatch):
    """P20: A child of a process whose threads waited for connections does not wait for them."""
    turns = ThreadTurns()
    turns._waiting.append(_Turn(monotonic() - 60))
    monkeypatch.setattr(turns, "_wait", None)  # which nobody calls
    assert turns.get(lambda: "connection", 1.0) == "connection"


def test_use_a_client_with_a_cache_asks_the_server(redis_server, name):
    """P31: A client that caches what it reads sends commands in its own way."""
    options = {"host": redis_server.host, "port": redis_server.port, **TIMEOUTS}
    with redis.Redis(**options, protocol=3) as client:
        bucket = RedisTokenBucket(client, name, 2, 0.001)
        bucket._store._caches = True
        assert [bucket.allow(), bucket.allow(), bucket.allow()] == [True, True, False]


def test_find_a_connection_that_the_server_has_ended_takes_another(client, name, monkeypatch):
    """P31: A server that is full hangs up, and the next connection may do."""
    bucket, pool = RedisTokenBucket(client, name, 2, 0.001), client.connection_pool
    get, ended = pool.get_connection, [redis.ConnectionError("Connection closed by server.")]

    def get_connection(*args):
        if ended:
            raise ended.pop()
        return get(*args)

    monkeypatch.setattr(pool, "get_connection", get_connection)
    assert bucket.allow()


def test_find_a_connection_that_the_server_has_ended_takes_another_from_a_task(
    redis_server, name, monkeypatch
):
    """P31: The same for tasks."""
    options = {"host": redis_server.host, "port": redis_server.port, **TIMEOUTS}

    async def main():
        async with redis.asyncio.Redis(**options) as client:
            bucket, pool = AsyncRedisTokenBucket(client, name, 2, 0.001), client.connection_pool
            get = pool.get_connection
            ended = [redis.ConnectionError("Connection closed by server.")]

            async def get_connection(*args):
                if ended:
                    raise ended.pop()
                return await get(*args)

            monkeypatch.setattr(pool, "get_connection", get_connection)
            assert await bucket.allow()
            assert not ended

    asyncio.run(main())


class Credentials(redis.CredentialProvider):
    """What an application tells its client, until the cloud that it asks is away."""

    away = False

    def __init__(self, word):
        self._word = word

    def get_credentials(self):
        if self.away:
            raise LookupError("no token from the cloud")
        return ("default", self._word)


@pytest.mark.parametrize("sending", [False, True])
def test_fail_to_tell_the_password_is_a_failed_call(password_server, name, monkeypatch, sending):
    """P31, P39: Whatever an application's own code raises while a client connects, is one."""
    credentials = Credentials(password_server.password)
    options = {"host": password_server.host, "port": password_server.port, **TIMEOUTS}
    with redis.Redis(**options, credential_provider=credentials) as client:
        bare = RedisTokenBucket(client, name, 2, 0.001)
        bucket = RedisTokenBucket(client, name, 2, 0.001, fallback="deny")
        assert bare.allow()
        credentials.away = True
        client.connection_pool.disconnect()
        if sending:  # a connection that is made anew when something is sent
            pool = client.connection_pool
            monkeypatch.setattr(pool, "get_connection", lambda *_: pool.make_connection())
            monkeypatch.setattr(pool, "release", lambda _: None)
        with pytest.raises(BackendError) as failure:
            bare.allow()
        assert isinstance(failure.value.__cause__, LookupError)
        assert not bucket.allow()
        monkeypatch.undo()
        credentials.away = False
        assert bare.allow()


@pytest.mark.parametrize("sending", [False, True])
def test_fail_to_tell_the_password_from_a_task_is_a_failed_call(
    password_server, name, monkeypatch, sending
):
    """P31, P39: The same for tasks."""
    credentials = Credentials(password_server.password)
    options = {"host": password_server.host, "port": password_server.port, **TIMEOUTS}

    async def main():
        async with redis.asyncio.Redis(**options, credential_provider=credentials) as client:
            bare = AsyncRedisTokenBucket(client, name, 2, 0.001)
            bucket = AsyncRedisTokenBucket(client, name, 2, 0.001, fallback="deny")
            assert await bare.allow()
            credentials.away = True
            await client.connection_pool.disconnect()
            if sending:
                pool = client.connection_pool

                async def get_connection(*_):
                    return pool.make_connection()

                async def release(_):
                    pass

                monkeypatch.setattr(pool, "get_connection", get_connection)
                monkeypatch.setattr(pool, "release", release)
            with pytest.raises(BackendError) as failure:
                await bare.allow()
            assert isinstance(failure.value.__cause__, LookupError)
            assert not await bucket.allow()
            monkeypatch.undo()
            credentials.away = False
            assert await bare.allow()

    asyncio.run(main())


def test_fail_in_the_code_of_an_application_amid_a_call_of_a_cluster_is_a_failed_call():
    """P29: What a cluster's client had sent by then is unknown."""

    class Cluster:
        def __init__(self, execute):
            self.execute_command = execute

        def get_node_from_key(self, _):
            return None

    def execute(*_, **__):
        raise LookupError("no token from the cloud")

    async def execute_async(*_, **__):
        raise LookupError("no token from the cloud")

    async def initialize():
        pass

    blocks = object.__new__(blocking._ClusterStore)
    blocks._client = Cluster(execute)
    with pytest.raises(Broken):
        blocks._execute((b"EVALSHA", b"sha", b"1", b"key"))
    awaits = object.__new__(awaiting._ClusterStore)
    awaits._client = Cluster(execute_async)
    awaits._client.initialize = initialize
    with pytest.raises(Broken):
        asyncio.run(awaits._execute((b"EVALSHA", b"sha", b"1", b"key")))


def test_ask_in_a_task_of_trio_says_what_to_use(bucket):
    """P15: The clients of Redis know asyncio alone, and an error says what to do."""

    async def main():
        for call in (bucket.allow, bucket.wait, lambda: bucket.pause_async(1)):
            with pytest.raises(TypeError, match=r"trio.to_thread.run_sync\(bucket.wait\)"):
                await call()

    trio.run(main)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("Error 111 connecting to server:6379. Connect call failed.", "nobody is there"),
        ("Error 2 connecting to /no/socket. No such file or directory.", "nobody is there"),
        ("Error 113 connecting to server:6379. No route to host.", "no answer"),
        ("Error while reading from server:6379 : (104, 'reset')", "no answer"),
        ("1 of Error 111 connecting to server:6379.", "no answer"),
    ],
)
def test_refuse_in_the_words_of_the_client_alone_is_a_refusal(words, hint):
    """P31: Some clients leave what the system has said in their words only."""
    failure = failure_of(redis.ConnectionError(words), sent=False)

    assert hint in str(failure)
    assert isinstance(failure, Refused) == (hint == "nobody is there")
