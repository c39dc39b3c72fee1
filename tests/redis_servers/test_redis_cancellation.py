"""Calls that are cut short: none leaves its reply to the next caller, nor its tokens taken."""

import asyncio
import random
import signal
import threading
import time

import pytest
from fault_proxy import FaultProxy
from redis_worlds import SLOW, Tasks, Threads, ValkeyTasks, ValkeyThreads, about, name_of
from servers import HOST, TIMEOUTS

from rate_limiter import BucketGroup, RateLimiter
from rate_limiter.redis import RedisTokenBucket
from rate_limiter.shared.background import unfinished
from rate_limiter.testing import ManualClock

PATIENCE = 40.0  # seconds for what takes a few milliseconds, unless it hangs or all are busy
MANY = 300


def mixed(things):
    """Return things in an order that is arbitrary, and the same in every run."""
    return random.Random(1).sample(things, len(things))  # noqa: S311 - no secret


async def turn(count):
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    """Wait for something that nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the server knows no events, nor does the clock
            await asyncio.sleep(0.001)


def working():
    """Tell what goes on in the background for those who were cancelled."""
    return unfinished()


class Line:
    """Calls over a proxy that keeps replies back, on one loop, and what comes of them."""

    def __init__(self, world, proxy, client, direct, name):
        self.world, self.proxy, self.client = world, proxy, client
        self._direct, self._name = direct, name
        self.other = self.bucket("other")

    def bucket(self, part=""):
        """Make a bucket whose replies may be kept back."""
        return self.world.bucket(self.client, f"{self._name}{part}")

    def direct(self, part=""):
        """Make the same bucket, for a look at the server."""
        return RedisTokenBucket(self._direct, f"{self._name}{part}", 10, SLOW)

    async def begin(self):
        """Take four tokens of ten from the other bucket, on a server that knows the script."""
        assert await self.other.allow(4)

    def delay(self, match=b"EVALSHA"):
        """Keep the next reply back."""
        self.proxy.fail_next("delay", match=match)

    async def finish(self, *tasks):
        """Deliver what is kept back, until tasks and what goes on in the background are over."""
        self.proxy.clear()

        def over():
            self.proxy.release()
            return not working() and all(task.done() for task in tasks)

        await until(over)

    def ask_others(self):
        """Have other callers ask things at once, each of which has an answer of its own."""
        asking = (
            self.other.available_tokens,
            self.other.retry_after(10),
            self.other.allow(7),
            self.other.available_tokens,
        )
        return [asyncio.ensure_future(question) for question in asking]

    async def check_others(self, others):
        """See to it that each of them gets its own answer, once there are any."""
        await self.finish(*others)
        answers = [other.result() for other in others]
        assert answers == [about(6), pytest.approx(4000, rel=0.05), False, about(6)]
        assert await self.other.retry_after(7) == pytest.approx(1000, rel=0.05)

    async def check(self, task, part=""):
        """See to it that a task which takes three tokens has them, or was cancelled."""
        await self.finish(task)
        level = self.direct(part).available_tokens
        assert (part, level) == (part, about(10 if task.cancelled() else 7))


def over_a_pool(kind, **options):
    """Return what connects a client over a pool."""

    def connect(world, port):
        pool = getattr(world.library, kind)(host=HOST, port=port, **options)
        client = getattr(world.library, "Valkey", None) or world.library.Redis
        return client(connection_pool=pool)

    return connect


ONE = {"max_connections": 1, "timeout": PATIENCE, **TIMEOUTS}
CLIENTS = {
    "RESP3": over_a_pool("ConnectionPool", protocol=3, **TIMEOUTS),
    "no timeout": over_a_pool("ConnectionPool", protocol=3, **dict.fromkeys(TIMEOUTS)),
    "one connection": over_a_pool("BlockingConnectionPool", protocol=2, **ONE),
}


@pytest.fixture(params=[Tasks, ValkeyTasks], ids=name_of)
def world(request, redis_server):
    """Be a world of tasks, with either library."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def make_line(world, fault_proxy, client, name):
    """Give what connects a client in some way."""

    def make_line(connect):
        connected = world.keep(connect(world, fault_proxy.port))
        return Line(world, fault_proxy, connected, client, name)

    return make_line


@pytest.fixture(params=CLIENTS.values(), ids=CLIENTS)
def any_line(request, make_line):
    """Be connected in one of many ways."""
    return make_line(request.param)


@pytest.fixture
def line(make_line):
    """Be connected with one connection, which everybody needs."""
    return make_line(CLIENTS["one connection"])


async def acquire(bucket):
    """Enter a limiter."""
    async with RateLimiter(bucket).acquire(3):
        pass


CALLS = {
    "allow": lambda bucket: bucket.allow(3),
    "wait": lambda bucket: bucket.wait(3),
    "reserve": lambda bucket: bucket.reserve(3),
    "acquire": acquire,
    "group": lambda bucket: BucketGroup(bucket).allow(3),
}
ASKING = {
    "retry_after": lambda bucket: bucket.retry_after(11),
    "available_tokens": lambda bucket: bucket._available(),
    "refund": lambda bucket: bucket.refund(3),
    "pause": lambda bucket: bucket.pause(0),
}


async def cancel_after_each_turn(line, call, most=15):
    """Cancel calls after ever more turns, when others are about to ask."""
    for turns in range(most):
        line.delay()
        task = asyncio.ensure_future(call(line.bucket(turns)))
        await turn(turns)
        task.cancel()
        await turn(turns % 4)
        await line.check_others(line.ask_others())
        yield turns, task


def test_cancel_a_call_after_any_turn_leaves_neither_reply_nor_charge(any_line):
    """P11, P32: Whenever a call is cancelled, others get their own answers, and tokens return."""

    async def main():
        await any_line.begin()
        async for turns, task in cancel_after_each_turn(any_line, CALLS["allow"], 30):
            await any_line.check(task, turns)

    any_line.world.run(main())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_cancel_any_taker_after_any_turn_leaves_neither_reply_nor_charge(line, call):
    """P11, P32: It makes no difference by which method the tokens were asked for."""

    async def main():
        await line.begin()
        async for turns, task in cancel_after_each_turn(line, call):
            await line.check(task, turns)

    line.world.run(main())


@pytest.mark.parametrize("call", ASKING.values(), ids=ASKING)
def test_cancel_any_other_call_after_any_turn_leaves_no_reply_to_the_next(line, call):
    """P32: Whoever asks or corrects and is cancelled leaves no reply behind either."""

    async def main():
        await line.begin()
        async for _, task in cancel_after_each_turn(line, call):
            await line.finish(task)

    line.world.run(main())


def test_cancel_a_call_after_any_turn_ends_it_at_once(any_line):
    """P11: A cancelled call is over a few turns later, however long its reply takes."""
    line, disobeyed = any_line, []

    async def main():
        await line.begin()
        for turns in range(12):
            line.delay()
            task = asyncio.ensure_future(line.bucket().wait(3))
            await turn(turns)
            task.cancel()
            await turn(20)
            if not task.cancelled():
                disobeyed.append(turns)
            await line.check_others(line.ask_others())
            await line.finish(task)

    line.world.run(main())
    assert disobeyed == []


def test_cancel_a_call_whose_reply_has_come_is_all_or_nothing(any_line):
    """P11: A call cancelled when its reply is there has been served, or gives its tokens back."""
    line, cancelled = any_line, set()

    async def main():
        await line.begin()
        for turns in range(12):
            hits = line.proxy.hits
            line.delay()
            task = asyncio.ensure_future(acquire(line.bucket(turns)))
            await asyncio.to_thread(line.proxy.wait_for_hits, hits + 1, PATIENCE)
            line.proxy.release()
            time.sleep(0.003)  # noqa: ASYNC251 - the reply comes, and the loop does not know yet
            await turn(turns)
            task.cancel()
            await line.check_others(line.ask_others())
            await line.check(task, turns)
            cancelled.add(task.cancelled())

    line.world.run(main())
    assert cancelled == {True, False}


HANDSHAKES = {
    "HELLO": {"protocol": 3},
    "AUTH": {"protocol": 2},
    "SETINFO": {"protocol": 3},
    "SELECT": {"protocol": 3, "db": 1},
}


@pytest.mark.parametrize(("match", "options"), HANDSHAKES.items(), ids=HANDSHAKES)
def test_cancel_a_call_while_it_connects_leaves_no_reply_to_the_next(
    world, password_server, name, match, options
):
    """P32: A connection that was cancelled while it shook hands is not handed on as it is."""
    options = ONE | options | {"password": password_server.password}
    direct = password_server.client(password=password_server.password, db=options.get("db", 0))
    with FaultProxy(password_server.port) as proxy, direct:

        async def main():
            for turns in range(20):
                client = over_a_pool("BlockingConnectionPool", **options)(world, proxy.port)
                line = Line(world, proxy, client, direct, f"{name}-{turns}")
                line.delay(match.encode())
                task = asyncio.ensure_future(line.bucket().allow(3))
                await turn(turns)
                task.cancel()
                beginning = asyncio.ensure_future(line.begin())
                await turn(turns % 4)
                await line.finish(beginning)
                await beginning
                await line.check_others(line.ask_others())
                await line.check(task)
                await client.aclose()
                await client.connection_pool.disconnect()

        world.run(main())


class SlowPassword:
    """Looks up the password of a server, which takes a while."""

    def __init__(self, server):
        self.asked, self._credentials = 0, (server.password,)

    async def get_credentials_async(self):
        self.asked += 1
        await asyncio.sleep(0.01)
        return self._credentials


def test_cancel_a_call_while_it_looks_up_its_password_has_the_next_one_greet(password_server, name):
    """P32: A connection that has not greeted the server yet is not handed on as if it had."""
    password = SlowPassword(password_server)
    connect = over_a_pool("BlockingConnectionPool", **ONE, credential_provider=password)
    with Tasks(password_server) as world:
        bucket = world.bucket(world.keep(connect(world, password_server.port)), name)

        async def main():
            task = asyncio.ensure_future(bucket.allow(3))
            await until(lambda: password.asked)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert await bucket.available_tokens == 10

        world.run(main())


@pytest.mark.parametrize("again", [None, 0, 1, 2, 5])
def test_cancel_a_wait_in_its_sleep_moves_the_line_up(line, again):
    """P11: Who sleeps and is cancelled, even twice, leaves a line as if it had never come."""

    async def main():
        bucket = line.bucket()
        assert await bucket.allow(10)
        for turns in range(10):
            task = asyncio.ensure_future(bucket.wait(5))
            await until(lambda: line.direct().retry_after() > 5_000)
            await turn(turns)
            line.delay()  # of what gives the tokens back
            task.cancel()
            if again is not None:
                await turn(again)
                task.cancel()
            await line.finish(task)
            assert task.cancelled()
            assert line.direct().retry_after() == pytest.approx(1000, rel=0.05)

    line.world.run(main())


def test_cancel_a_call_that_waits_for_a_connection_asks_nothing(line):
    """P32: Who has got no connection yet has neither sent nor taken anything."""

    async def main():
        await line.begin()
        line.delay()
        ahead = asyncio.ensure_future(line.bucket("ahead").allow(3))
        await turn(10)
        tasks = [asyncio.ensure_future(line.bucket().allow(3)) for _ in range(5)]
        for task in tasks:
            await turn(3)
            task.cancel()
        await turn(5)
        assert [task.cancelled() for task in tasks] == [True] * 5
        await line.check_others(line.ask_others())
        assert await ahead is True
        assert line.direct().available_tokens == 10

    line.world.run(main())


def test_end_a_call_by_a_timeout_gives_its_tokens_back(any_line):
    """P11: A scope around a call may be shorter than the client's own timeout."""
    line = any_line

    async def main():
        await line.begin()
        line.delay()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await line.bucket().allow(3)
        await line.check_others(line.ask_others())
        await line.finish()
        assert line.direct().available_tokens == about(10)

    line.world.run(main())


def test_cancel_calls_whose_replies_are_lost_leaves_a_pool_that_works(line):
    """P32: A connection that ends while a cancelled call's reply is awaited is replaced."""

    async def main():
        await line.begin()
        for kind in ("drop_before", "drop_after", "truncate", "reset"):
            line.delay()
            line.proxy.fail_next(kind)
            tasks = [asyncio.ensure_future(line.bucket(kind).allow(3)) for _ in range(2)]
            await asyncio.sleep(0.005)
            tasks[1].cancel()
            line.proxy.release()
            tasks[0].cancel()
            await line.finish(*tasks)
            await line.check_others(line.ask_others())

    line.world.run(main())


def test_cancel_in_many_tasks_at_once_answers_all_others(any_line):
    """P32: Among many callers some are cancelled at any moment; the others get their answers."""
    line = any_line

    async def main():
        await line.begin()
        buckets = [line.bucket(number) for number in range(10)]
        tasks = [asyncio.ensure_future(buckets[n % 10].allow()) for n in range(100)]
        for number, victim in enumerate(mixed(tasks)[:50]):
            await turn(number % 6)
            victim.cancel()
        await line.check_others(line.ask_others())
        await line.finish(*tasks)
        for number in range(10):
            served = [task for task in tasks[number::10] if not task.cancelled()]
            assert all(task.result() for task in served)
            assert line.direct(number).available_tokens == about(10 - len(served))

    line.world.run(main())


def test_cancel_a_call_in_a_cluster_leaves_neither_reply_nor_charge(cluster_server, name):
    """P32: Clients of clusters hand on no connection before its reply has come either."""
    with Tasks(cluster_server) as world, FaultProxy(cluster_server.port) as proxy:
        remap = {"address_remap": lambda _: (HOST, proxy.port)}
        client = world.library.RedisCluster(host=HOST, port=proxy.port, **TIMEOUTS, **remap)
        line = Line(world, proxy, world.keep(client), cluster_server.client(), name)

        async def main():
            await line.begin()
            async for turns, task in cancel_after_each_turn(line, CALLS["allow"], 30):
                await line.check(task, turns)

        world.run(main())


HELD = {
    "permit.refund": lambda permit, _: permit.refund(),
    "permit.settle": lambda permit, _: permit.settle(0),
    "reservation.cancel": lambda _, reservation: reservation.cancel(),
    "reservation.settle": lambda _, reservation: reservation.settle(0),
}


@pytest.mark.parametrize("correct", HELD.values(), ids=HELD)
def test_cancel_a_return_and_repeat_it_gives_back_once_at_most(line, correct):
    """P29: Who is cancelled while it gives tokens back, and tries again, gets its own only."""

    async def main():
        for turns in range(12):
            bucket = line.bucket(turns)
            assert await bucket.allow(4)
            held = await RateLimiter(bucket).acquire(3), await bucket.reserve(3)
            line.delay()
            task = asyncio.ensure_future(correct(*held))
            await turn(turns)
            task.cancel()
            await line.finish(task)
            await correct(*held)
            level = line.direct(turns).available_tokens
            assert level < 3.1, f"after {turns} turns"

    line.world.run(main())


@pytest.mark.parametrize("hold", ["permit", "reservation"])
def test_cancel_a_charge_that_is_lost_and_settle_again_gives_back_no_more(line, hold):
    """P29: A charge whose caller was cancelled, and which was never made, is not given back."""

    async def main():
        for turns in range(12):
            bucket = line.bucket(turns)
            assert await bucket.allow(4)
            held = await (RateLimiter(bucket).acquire() if hold == "permit" else bucket.reserve())
            line.proxy.fail_next("drop_before")
            task = asyncio.ensure_future(held.settle(5))
            await turn(turns)
            task.cancel()
            await line.finish(task)
            await held.settle(0)
            level = line.direct(turns).available_tokens
            assert level < 6.1, f"after {turns} turns"

    line.world.run(main())


class ManyWaits:
    """An empty bucket, for which very many wait who then leave."""

    def __init__(self, bucket, direct):
        self.bucket, self.direct = bucket, direct
        assert direct.allow(10)

    def check(self):
        """See to it that everything is as if they had never come."""
        assert self.direct.available_tokens == about(0)
        assert self.direct.retry_after() == pytest.approx(1000, rel=0.05)
        self.direct.refund(10)
        assert self.direct.allow(9.9)


ORDERS = {
    "FIFO": lambda places: places,
    "LIFO": lambda places: places[::-1],
    "random": mixed,
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_cancel_hundreds_of_reservations_leaves_nothing_behind(client, name, order):
    """P14: In whatever order they leave, the level is right and nobody has to wait for them."""
    bucket = RedisTokenBucket(client, name, 10, SLOW)
    waits = ManyWaits(bucket, bucket)
    places = [bucket.reserve() for _ in range(MANY)]

    for place in order(places):
        place.cancel()

    waits.check()


@pytest.fixture
def crowd(redis_server, client, name):
    """Be a bucket for tasks over a pool of twenty connections, on a loop."""
    with Tasks(redis_server) as world:
        pool = over_a_pool("BlockingConnectionPool", max_connections=20, timeout=60, **TIMEOUTS)
        bucket = world.bucket(world.keep(pool(world, redis_server.port)), name)
        bucket._clock = ManualClock()  # so that a test can tell when they sleep
        yield world, ManyWaits(bucket, RedisTokenBucket(client, name, 10, SLOW))


def all_asleep(bucket):
    """Tell whether very many sleep."""
    return bucket._clock.sleepers == MANY


async def gather_and_cancel(bucket):
    """Wait in very many tasks, and cancel them together."""
    waits = asyncio.gather(*(bucket.wait() for _ in range(MANY)))
    await until(lambda: all_asleep(bucket))
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


async def group_and_fail(bucket):
    """Wait in very many tasks of a group, and have it fail."""

    async def wait_and_fail():
        async with asyncio.TaskGroup() as tasks:
            for _ in range(MANY):
                tasks.create_task(bucket.wait())
            await until(lambda: all_asleep(bucket))
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup, match=r"TaskGroup"):
        await wait_and_fail()


async def scatter_and_cancel(bucket):
    """Wait in very many tasks, and cancel them in any order while they ask, or sleep."""
    tasks = [asyncio.ensure_future(bucket.wait()) for _ in range(MANY)]
    await asyncio.sleep(0.05)
    for number, task in enumerate(mixed(tasks)):
        await turn(number % 2)
        task.cancel()
    _, disobedient = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in disobedient:
        task.cancel()
    assert not disobedient


@pytest.mark.parametrize("leave", [gather_and_cancel, group_and_fail, scatter_and_cancel])
def test_cancel_hundreds_of_waits_leaves_nothing_behind(crowd, leave):
    """P14: However very many tasks are cancelled, the line is empty and the level right."""
    world, waits = crowd

    async def main():
        await leave(waits.bucket)
        while work := working():
            await asyncio.wait(work)

    world.run(main())

    waits.check()


def test_cancel_more_waits_than_the_pool_has_connections_leaves_nothing_behind(
    world, redis_server, client, name
):
    """P11: Who came one by one, and leaves with all the others, gives back as well."""
    connect = over_a_pool("ConnectionPool", max_connections=5, **TIMEOUTS)
    bucket = world.bucket(world.keep(connect(world, redis_server.port)), name)
    waits = ManyWaits(bucket, RedisTokenBucket(client, name, 10, SLOW))
    clock = bucket._clock = ManualClock()

    async def main():
        tasks = []
        for number in range(1, 51):
            tasks.append(asyncio.ensure_future(bucket.wait()))
            await until(lambda: clock.sleepers == number)  # noqa: B023 - it is waited for
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        while work := working():
            await asyncio.wait(work)

    world.run(main())

    waits.check()


@pytest.fixture
def interrupt():
    """Give what sends this process a SIGINT when something has happened."""
    main, threads = threading.get_ident(), []
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(after, *args):
        def send():
            after(*args)
            signal.pthread_kill(main, signal.SIGINT)

        threads.append(threading.Thread(target=send, daemon=True))
        threads[-1].start()

    yield interrupt
    for thread in threads:
        thread.join(PATIENCE)
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize("kind", [Threads, ValkeyThreads], ids=name_of)
def test_interrupt_a_blocking_call_leaves_no_reply_to_the_next(
    redis_server, fault_proxy, name, interrupt, kind
):
    """P32: A KeyboardInterrupt while the reply is awaited costs that call's tokens, no more."""
    with kind(redis_server) as world:
        client = world.keep(CLIENTS["one connection"](world, fault_proxy.port))
        bucket, other = world.bucket(client, name), world.bucket(client, f"{name}-other")
        assert other.allow(4)
        for number in range(1, 4):
            fault_proxy.fail_next("delay")
            interrupt(fault_proxy.wait_for_hits, number, PATIENCE)

            with pytest.raises(KeyboardInterrupt):
                bucket.allow(3)

            fault_proxy.release()
            assert other.available_tokens == about(6)
            assert other.retry_after(10) == pytest.approx(4000, rel=0.05)
            assert bucket.available_tokens == about(10 - 3 * number)


@pytest.mark.parametrize("correct", HELD.values(), ids=HELD)
def test_interrupt_a_blocking_return_and_repeat_it_gives_back_once_at_most(
    redis_server, fault_proxy, name, interrupt, correct
):
    """P29: Who is interrupted while it gives tokens back, and tries again, gets its own only."""
    with Threads(redis_server) as world:
        bucket = world.bucket(world.client(port=fault_proxy.port), name)
        assert bucket.allow(4)
        held = world.enter(RateLimiter(bucket).acquire(3)), bucket.reserve(3)
        fault_proxy.fail_next("delay")
        interrupt(fault_proxy.wait_for_hits, 1, PATIENCE)

        with pytest.raises(KeyboardInterrupt):
            correct(*held)
        fault_proxy.release()
        correct(*held)

        assert bucket.available_tokens < 3.1


class InterruptedClock(ManualClock):
    """Raises an error in whoever sleeps."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def sleep(self, sleeper, until):
        raise self.error

    async def sleep_async(self, sleeper, until):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_interrupt_a_blocking_wait_in_its_sleep_gives_its_tokens_back(client, name, error):
    """P11: Whatever comes out of the blue in a thread's sleep, it is as if it had never come."""
    bucket = RedisTokenBucket(client, name, 10, SLOW)
    waits, bucket._clock = ManyWaits(bucket, bucket), InterruptedClock(error)

    for _ in range(3):
        with pytest.raises(error):
            bucket.wait(5)

    waits.check()
