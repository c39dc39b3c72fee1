"""A store in a dict, for tests of what does not depend on a store: it always says yes."""

import asyncio
from threading import RLock

from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.awaiting import AwaitingBucket
from rate_limiter.shared.blocking import BlockingBucket
from rate_limiter.shared.fallback import read_fallback
from rate_limiter.shared.group import AwaitingGroup, BlockingGroup
from rate_limiter.shared.limits import OneLimit, name_bytes
from rate_limiter.shared.named_bucket import NamedBucket
from rate_limiter.shared.store import Limit
from rate_limiter.shared.terms import Terms


class DictStore:
    """Keeps values in a dict. What is in `failures` is raised, one by one, instead of answering."""

    def __init__(self):
        self.values = {}
        self.questions = []
        self.failures = []
        self._lock = RLock()

    def ask(self, question):
        with self._lock:
            return self._answer(question)

    def _answer(self, question):
        self.questions.append(question)
        if self.failures:
            if self.failures[0] is not None:
                raise self.failures.pop(0)
            del self.failures[0]
        keys = [limit.key for limit, _ in question.charges]
        answered, changes = answer(question, [self.values.get(key) for key in keys], question.now)
        for key, change in zip(keys, changes or [], strict=False):
            self.values[key] = change.value
        return answered


class AsyncDictStore:
    """The same store for tasks; it takes a turn of the loop to answer."""

    def __init__(self, store):
        self._store = store

    async def ask(self, question, abandoned):
        answered = self._store.ask(question)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            abandoned(answered)
            raise
        return answered

    async def aside(self, call):
        return await asyncio.to_thread(call)

    async def give_back(self, question):
        self._store.ask(question)

    def abandon(self, question):
        self._store.ask(question)


class DictTokenBucket(NamedBucket, BlockingBucket):
    """A bucket in a dict, for threads and for tasks."""

    def __init__(self, store, name, capacity, rate, *, clock, fallback=None):
        limits = OneLimit(Limit(name_bytes(name), Terms(capacity, rate)))
        understudy = read_fallback(fallback, limits.use)
        tasks = AsyncDictStore(store)
        super().__init__(store, tasks, store, limits, fallback=understudy, clock=clock)

    def _join(self, unnamed, named):
        return BlockingGroup(unnamed, named)


class AsyncDictTokenBucket(NamedBucket, AwaitingBucket):
    """A bucket in a dict whose answers are awaited."""

    def __init__(self, store, name, capacity, rate, *, clock, fallback=None):
        limits = OneLimit(Limit(name_bytes(name), Terms(capacity, rate)))
        understudy = read_fallback(fallback, limits.use)
        tasks = AsyncDictStore(store)
        super().__init__(tasks, store, limits, fallback=understudy, clock=clock)

    def _join(self, unnamed, named):
        return AwaitingGroup(unnamed, named)
