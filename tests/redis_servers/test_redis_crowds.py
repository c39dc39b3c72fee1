"""More callers than connections, files or clients: they take turns, and the limit decides."""

import asyncio
import errno
import os
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from redis_worlds import LIBRARIES, SLOW, Tasks, Threads, ValkeyTasks, name_of
from servers import HOST

from rate_limiter import BackendError
from rate_limiter.redis.client import pool_arguments
from rate_limiter.redis.failures import is_shortage
from rate_limiter.redis.turns import Shortage, TaskTurns, ThreadTurns, thread_turns
from rate_limiter.shared.failures import NoConnection

QUICK = 0.2  # seconds that a client waits where nothing is to come


@pytest.fixture(params=LIBRARIES, ids=name_of)
def world(request, redis_server):
    """Be a world with a library."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture(params=[Tasks, ValkeyTasks], ids=name_of)
def tasks(request, redis_server):
    """Be a world of tasks, with either library."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def threads(redis_server):
    """Be a world of threads."""
    with Threads(redis_server) as world:
        yield world


def in_threads(count, work):
    """Do something in so many threads at once."""
    start = threading.Barrier(count)

    def begin():
        start.wait()
        work()

    crowd = [threading.Thread(target=begin) for _ in range(count)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()


@contextmanager
def taken(world, client):
    """Have all that a pool of one connection has for oneself."""
    pool = client.connection_pool
    connection = world.run(pool.get_connection(*pool_arguments(pool)))
    yield
    world.run(pool.release(connection))


def blocking_pool(world, **options):
    """Connect a client over a pool that makes its callers wait."""
    pool = world.library.BlockingConnectionPool(host=HOST, port=world.server.port, **options)
    return world.keep(world.library_type("")(connection_pool=pool))


def test_crowd_of_tasks_on_the_default_pool_is_admitted_exactly(tasks, name):
    """P39: Of three hundred tasks at once ten find a token, and the fallback decides for none."""

    async def main():
        client = tasks.make_client(max_connections=20)
        bucket = tasks.bucket(client, name, 10, SLOW, fallback="allow")
        async with client:
            return sum(await asyncio.gather(*(bucket.allow() for _ in range(300))))

    assert tasks.run(main()) == 10


def test_crowd_of_waiters_on_five_connections_all_get_their_turn(tasks, name):
    """P39: A hundred waits over five connections are a hundred waits, and none fails."""

    async def main():
        client = tasks.make_client(max_connections=5)
        bucket = tasks.bucket(client, name, 100, 100)
        async with client:
            await asyncio.gather(*(bucket.wait() for _ in range(100)))

    tasks.run(main())


def test_crowd_of_threads_on_two_connections_is_admitted_exactly(threads, name):
    """P39: Thirty threads over two connections take all there is, and no error comes of it."""
    bucket = threads.bucket(threads.make_client(max_connections=2), name, 150, SLOW)
    got = []
    in_threads(30, lambda: got.extend(bucket.allow() for _ in range(5)))

    assert got.count(True) == 150


def test_crowd_on_a_cluster_is_admitted_exactly(cluster_server, name):
    """P39: Clients of clusters have pools as well, one for each node."""
    with Threads(cluster_server) as world:
        client = cluster_server.cluster_client(max_connections=2)
        bucket, got = world.bucket(client, name, 150, SLOW), []
        in_threads(30, lambda: got.extend(bucket.allow() for _ in range(5)))

    assert got.count(True) == 150


def test_crowd_of_tasks_on_a_cluster_is_admitted_exactly(cluster_server, name):
    """P39: The same holds for tasks."""
    with Tasks(cluster_server) as world:

        async def main():
            client = world.library.RedisCluster(
                host=HOST, port=cluster_server.port, max_connections=5
            )
            bucket = world.bucket(client, name, 10, SLOW, fallback="allow")
            async with client:
                return sum(await asyncio.gather(*(bucket.allow() for _ in range(200))))

        assert world.run(main()) == 10


def test_find_no_connection_fails_that_call_alone(world, name):
    """P39: A call that finds none within the pool's own timeout falls back, and no other does."""
    client = blocking_pool(world, max_connections=1, timeout=QUICK)
    bucket = world.bucket(client, name, 3, SLOW, fallback="allow")
    with taken(world, client):
        assert world.run(bucket.allow())

    assert sum(world.run(bucket.allow()) for _ in range(60)) == 3


def test_find_no_connection_says_so_within_the_timeout_of_the_client(world, name):
    """P31: Without a fallback the error says that the pool is too small, and in time."""
    client = world.make_client(max_connections=1, socket_timeout=QUICK)
    world.keep(client)
    bucket = world.bucket(client, name)
    with taken(world, client):
        began = time.monotonic()
        with pytest.raises(NoConnection, match="the client's pool has no connection left"):
            world.run(bucket.allow())
        assert QUICK <= time.monotonic() - began < QUICK + 1

    assert world.run(bucket.allow())


def test_wait_with_a_timeout_waits_no_longer_for_a_connection(world, name):
    """P12: A caller's own timeout counts where it is the shorter one."""
    client = world.keep(world.make_client(max_connections=1, socket_timeout=5))
    bucket = world.bucket(client, name)
    with taken(world, client):
        began = time.monotonic()
        with pytest.raises(NoConnection):
            world.run(bucket.wait(timeout=QUICK))
        assert QUICK <= time.monotonic() - began < QUICK + 1


def test_release_by_the_application_is_noticed(threads, name, in_background):
    """P39: The pool is the application's too, which does not say when it gives one back."""
    client = threads.keep(threads.make_client(max_connections=1))
    bucket = threads.bucket(client, name)
    with taken(threads, client):
        asked = in_background(bucket.allow)
        while not thread_turns(client.connection_pool)._waiting:
            time.sleep(0.001)

    assert asked.result(timeout=5)


def test_fill_the_server_leaves_connections_that_exist_to_be_used(make_server, name):
    """P39: A server that takes no more clients has one caller wait, and no other hears of it."""
    with Threads(make_server(maxclients=2)) as world:
        client, other = world.client(socket_timeout=QUICK), world.client()
        bucket = world.bucket(client, name, 3, SLOW, fallback="deny")
        with taken(world, client):
            assert not bucket.allow()
            alone = world.bucket(client, name)
            with pytest.raises(NoConnection, match="the server takes no more clients"):
                alone.allow()

        assert sum(bucket.allow() for _ in range(60)) == 3
        other.close()


@contextmanager
def no_file_left():
    """Have every file descriptor of the process open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as files:
        highest = os.open(os.devnull, os.O_RDONLY)
        os.close(highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        try:
            while True:
                files.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE  # noqa: PT017 - any other is raised
        yield


@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_open_no_more_files_fails_that_call_alone(world, name, host):
    """P39: Without a file for a connection a caller waits for one that exists."""
    client = world.client(host=host, socket_timeout=QUICK)
    bucket = world.bucket(client, name, 3, SLOW, fallback="allow")
    alone = world.bucket(client, name)
    world.run(alone.available_tokens)
    with taken(world, client), no_file_left():
        assert world.run(bucket.allow())
        with pytest.raises(NoConnection, match="the process has no file descriptor left"):
            world.run(alone.allow())

    assert sum(world.run(bucket.allow()) for _ in range(60)) == 3


def test_look_up_no_name_for_want_of_a_file_is_a_shortage_of_files():
    """P39: Without a file a host's name is not found, which is then all that the system says."""
    error = ConnectionError("Error -3 connecting to somewhere")
    error.__cause__ = socket.gaierror(-3, "Temporary failure in name resolution")

    assert not is_shortage(error)
    with no_file_left():
        assert is_shortage(error)


class Pool:
    """Connections that are counted, and given out while there are some."""

    def __init__(self, free):
        self.free, self.tries = free, 0

    def get(self):
        """Take one."""
        self.tries += 1
        if not self.free:
            raise Shortage
        self.free -= 1
        return self.free

    async def get_async(self):
        """Take one, from a task."""
        return self.get()


def test_wait_in_turn_serves_threads_in_the_order_of_their_coming(in_background):
    """P10: Who came first gets the first connection that is given back."""
    turns, pool, served = ThreadTurns(), Pool(0), []

    def wait(number):
        turns.get(pool.get, 5)
        served.append(number)

    waits = []
    for number in range(4):
        waits.append(in_background(wait, number))
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    for number in range(4):
        pool.free += 1
        turns.wake()
        waits[number].result(timeout=5)

    assert served == [0, 1, 2, 3]
    assert not turns._waiting


def test_wait_in_turn_serves_tasks_in_the_order_of_their_coming():
    """P10: The same holds for tasks, and for newcomers who find one free that others wait for."""
    turns, pool, served = TaskTurns(), Pool(0), []

    async def wait(number, urgent=False):
        await turns.get(pool.get_async, 5, urgent=urgent)
        served.append(number)

    async def main():
        waits = []
        for number in range(4):
            waits.append(asyncio.ensure_future(wait(number)))
            await asyncio.sleep(0)
        pool.free = 1
        waits.append(asyncio.ensure_future(wait(4)))
        waits.append(asyncio.ensure_future(wait("urgent", urgent=True)))
        for _ in range(5):
            await asyncio.sleep(0.01)
            pool.free += 1
            turns.wake()
        await asyncio.gather(*waits)

    asyncio.run(main())
    assert served == ["urgent", 0, 1, 2, 3, 4]


def test_cancel_in_turn_lets_the_next_one_go():
    """P11: A task that leaves passes on what it had been woken for."""
    turns, pool = TaskTurns(), Pool(0)

    async def main():
        first, second = [asyncio.ensure_future(turns.get(pool.get_async, 5)) for _ in range(2)]
        await asyncio.sleep(0)
        pool.free = 1
        turns.wake()
        first.cancel()
        await second
        assert first.cancelled()

    asyncio.run(main())


def test_wait_in_turn_looks_seldom(in_background):
    """P13: A crowd does not poll: the first looks every 50 ms, and the others are told."""
    turns, pool = ThreadTurns(), Pool(0)
    waits = [in_background(turns.get, pool.get, 0.3) for _ in range(4)]
    for wait in waits:
        with pytest.raises(Shortage):
            wait.result(timeout=5)

    assert pool.tries < 40


class Interrupt(Exception):
    """Raised by a signal handler."""


def test_interrupt_in_turn_leaves_nobody_stuck(in_background):
    """P19: A thread that a signal handler throws out leaves its place to the next."""
    turns, pool = ThreadTurns(), Pool(0)

    def interrupt(*_):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(Interrupt):
            turns.get(pool.get, 5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    waiting = in_background(turns.get, pool.get, 5)
    pool.free = 1
    turns.wake()

    assert waiting.result(timeout=1) == 0


def test_ask_in_a_signal_handler_goes_before_what_it_interrupts():
    """P19: A handler whose thread waits in turn does not wait for itself."""
    turns, pool, got = ThreadTurns(), Pool(0), []

    def handle(*_):
        pool.free = 2
        got.append(turns.get(pool.get, 5))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        began = time.monotonic()
        got.append(turns.get(pool.get, 5))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert sorted(got) == [0, 1]
    assert time.monotonic() - began < 1


def test_fork_while_others_wait_in_turn_does_not_wait_for_them(in_background):
    """P20: The threads of the parent are not ahead of a child's."""
    turns, pool = ThreadTurns(), Pool(0)
    waiting = in_background(turns.get, pool.get, 5)
    while not turns._waiting:
        time.sleep(0.001)
    child = os.fork()
    if not child:
        pool.free = 1
        began = time.monotonic()
        turns.get(pool.get, 5)
        os._exit(time.monotonic() - began > 1)
    _, status = os.waitpid(child, 0)
    pool.free = 1
    turns.wake()

    assert status == 0
    assert waiting.result(timeout=5) == 0


def test_fail_for_another_reason_in_turn_is_raised_and_passes_the_turn_on(in_background):
    """P39: What is no shortage is not tried again."""
    turns, pool = ThreadTurns(), Pool(0)
    waiting = in_background(turns.get, pool.get, 5)
    while not turns._waiting:
        time.sleep(0.001)

    def fail():
        raise BackendError

    failing = in_background(turns.get, fail, 5)
    pool.free = 1
    assert waiting.result(timeout=5) == 0
    with pytest.raises(BackendError):
        failing.result(timeout=5)
