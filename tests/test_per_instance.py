"""A bucket for each instance, told apart by identity, for as long as it lives."""

import asyncio
import gc
import threading
import time
import weakref
from functools import lru_cache, partial, partialmethod, singledispatchmethod

import pytest

from rate_limiter import RateLimitExceeded, per_instance, rate_limited
from rate_limiter.testing import ManualClock


def make_client(clock=None, **members):
    """Make a class with a method that each instance may call once."""

    class Client:
        @rate_limited(1, 1, block=False, key=per_instance, clock=clock or ManualClock())
        def fetch(self, url="/"):
            return url

    for name, member in members.items():
        setattr(Client, name, member)
    return Client


def test_call_of_one_instance_costs_no_other():
    """Each instance has a bucket of its own, and each call of it is charged there."""
    client_class = make_client()
    first, second = client_class(), client_class()
    assert (first.fetch("/a"), second.fetch("/b")) == ("/a", "/b")
    for client in (first, second):
        with pytest.raises(RateLimitExceeded):
            client.fetch()


@pytest.mark.parametrize(
    "members",
    [
        {"__eq__": lambda self, other: True, "__hash__": None},
        {"__eq__": lambda self, other: True, "__hash__": lambda self: 1},
    ],
)
def test_call_of_equal_instances_are_counted_apart(members):
    """P25: Instances that are unhashable, or equal to each other, have a bucket each."""
    client_class = make_client(**members)
    clients = [client_class() for _ in range(3)]
    assert clients[0] == clients[1]
    assert [client.fetch() for client in clients] == ["/", "/", "/"]
    assert len(client_class.fetch.limiter) == 3
    with pytest.raises(RateLimitExceeded):
        clients[1].fetch()


def test_drop_an_instance_drops_its_bucket():
    """P25: A bucket dies with its instance, and keeps none alive."""
    client_class = make_client()
    clients = [client_class() for _ in range(10)]
    for client in clients:
        client.fetch()
    lives = [weakref.ref(client) for client in clients]
    limiters = client_class.fetch.limiter
    assert len(limiters) == 10
    del client, clients[3:]
    gc.collect()
    assert [life() is None for life in lives] == [False] * 3 + [True] * 7
    assert len(limiters) == 3


def test_make_instances_one_after_another_gives_each_a_full_bucket():
    """P25: An instance at the address of a dead one does not inherit its empty bucket."""
    client_class = make_client()
    assert [client_class().fetch() for _ in range(200)] == ["/"] * 200
    gc.collect()
    assert len(client_class.fetch.limiter) == 0


def test_call_of_an_instance_in_a_cycle_dies_with_it():
    """P25: An instance that only refers to itself goes, and its bucket goes with it."""
    client_class = make_client()
    client = client_class()
    client.me = client
    client.fetch()
    del client
    gc.collect()
    assert len(client_class.fetch.limiter) == 0


def test_call_of_an_instance_without_weak_references_raises():
    """An instance that cannot be held weakly is told what to add, and its method does not run."""
    calls = []

    class Client:
        __slots__ = ()

        @rate_limited(1, 1, key=per_instance, clock=ManualClock())
        def fetch(self):
            calls.append(self)

    with pytest.raises(TypeError, match=r"Client.*add '__weakref__' to its __slots__"):
        Client().fetch()
    assert (calls, len(Client.fetch.limiter)) == ([], 0)


def test_call_of_an_instance_with_slots_is_limited():
    """An instance with slots is limited like any other if one of them is __weakref__."""

    class Client:
        __slots__ = ("__weakref__",)

        @rate_limited(1, 1, block=False, key=per_instance, clock=ManualClock())
        def fetch(self):
            return "done"

    client = Client()
    assert client.fetch() == "done"
    with pytest.raises(RateLimitExceeded):
        client.fetch()


class Plain:
    def fetch(self, url="/"):
        return url

    def of_any(*args):
        return args

    @staticmethod
    def static(url):
        return url

    def __call__(self, url):
        return url


def make_local():
    def local(*args):
        return args

    return local


def with_self_for_later(self, url="/"):
    return url


def by_keyword(*, url):
    return url


def of_any(*args):
    return args


@pytest.mark.parametrize(
    "target",
    [
        lambda url: url,
        lambda: 1,
        by_keyword,
        of_any,
        len,
        max,
        Plain,
        Plain(),
        Plain().fetch,
        vars(Plain)["static"],
        partialmethod(vars(Plain)["static"], url="/"),
        partial(Plain.fetch, Plain()),
    ],
    ids=lambda target: getattr(target, "__name__", type(target).__name__),
)
def test_decorate_what_has_no_self_is_refused(target):
    """What will never be called with an instance says so when it is decorated."""
    with pytest.raises(TypeError, match="key=per_instance is for methods, whose first parameter"):
        rate_limited(1, 1, key=per_instance)(target)


@pytest.mark.parametrize(
    "target",
    [
        with_self_for_later,
        lambda _: 1,
        make_local(),
        Plain.fetch,
        Plain.of_any,
        classmethod(lambda cls: 1),
        lru_cache(Plain.fetch),
        partialmethod(Plain.fetch, "/"),
        singledispatchmethod(Plain.fetch),
        str.upper,
        dict.pop,
    ],
    ids=lambda target: getattr(target, "__name__", type(target).__name__),
)
def test_decorate_what_has_self_is_accepted(target):
    """Functions whose first parameter is self are methods, wherever they were written."""
    assert len(rate_limited(1, 1, key=per_instance)(target).limiter) == 0


def test_call_of_a_method_without_an_instance_raises():
    """P22: A call that was given no instance says that it has none."""
    with pytest.raises(TypeError, match="for methods"):
        make_client().fetch(url="/")


def test_call_with_cost_and_instance_charges_what_it_costs():
    """The cost function and the key get the same arguments, `self` included."""

    class Client:
        price = 3

        @rate_limited(
            10,
            1,
            cost=lambda self, ids: self.price * len(ids),
            block=False,
            key=per_instance,
            clock=ManualClock(),
        )
        def fetch(self, ids):
            return ids

    client = Client()
    client.fetch("abc")
    assert Client.fetch.limiter[client].bucket.available_tokens == 1


def test_await_methods_of_two_instances_wait_apart():
    """P16: An instance whose bucket is empty holds up no other."""
    clock = ManualClock()

    class Client:
        @rate_limited(1, 1, key=per_instance, clock=clock)
        async def fetch(self):
            return self

    async def main():
        slow, quick = Client(), Client()
        await slow.fetch()
        waiting = asyncio.create_task(slow.fetch())
        await asyncio.sleep(0)
        assert await quick.fetch() is quick
        assert not waiting.done()
        clock.advance(1)
        return await asyncio.wait_for(waiting, 10) is slow

    assert asyncio.run(main())


def test_call_of_a_new_instance_from_several_threads_makes_one_bucket():
    """P25: Threads that call one new instance at once share the one token that it has."""

    class YieldingClock(ManualClock):
        def now(self):
            time.sleep(0)  # lets the others in while a bucket is made
            return super().now()

    client_class = make_client(YieldingClock())
    barrier, clients = threading.Barrier(4), [client_class() for _ in range(100)]
    served = []

    def call():
        for number, client in enumerate(clients):
            barrier.wait(20)
            try:
                client.fetch()
                served.append(number)
            except RateLimitExceeded:
                pass

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(served) == list(range(100))


def test_put_a_clock_under_instances_starts_full_and_goes_back():
    """Under another clock an instance starts full; after it, it has the tokens that it had."""
    client_class = make_client()
    client = client_class()
    client.fetch()
    with ManualClock().under(client_class.fetch) as clock:
        client.fetch()
        with pytest.raises(RateLimitExceeded):
            client.fetch()
        clock.advance(1)
        assert client.fetch() == "/"
    with pytest.raises(RateLimitExceeded):
        client.fetch()
