"""Compare what a caller does in a program with the same around a bucket written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter

from by_hand import by_hand, by_hand_async, by_hand_awaited, by_hand_for_keys
from measuring import Measure, Pair, awaiting, compare, prepared, statement
from reference import ReferenceBucket
from table import Figure, aim

from rate_limiter import BucketGroup, RateLimiter, TokenBucket, rate_limited

PLENTY = 10**9  # tokens: what is to be admitted always is, and one a second fills it in 32 years
NEVER = 1e-6  # tokens per second: what is to be refused always is


def methods(decorate: Callable[[Callable], Callable]) -> object:
    """Return an instance with a decorated method that does nothing."""

    class Client:
        @decorate
        def method(self) -> None:
            pass

    return Client()


def nothing() -> None:
    pass


def nothing_for(key: str) -> None:
    pass


async def nothing_async() -> None:
    pass


def calls(rounds: int) -> Iterator[Figure]:
    """Measure every call of this process that has a counterpart by hand."""
    loop = asyncio.new_event_loop()
    pairs = [*bucket_pairs(), *decorator_pairs(loop), *limiter_pairs(loop)]
    yield from compare(pairs, rounds)
    loop.close()


def bucket_pairs() -> Iterator[Pair]:
    mine, reference = TokenBucket(PLENTY, 1).allow, ReferenceBucket(PLENTY, 1).allow
    empty, reference_empty = TokenBucket(1, NEVER).allow, ReferenceBucket(1, NEVER).allow
    assert empty()
    assert reference_empty()
    refused = statement("f()", f=empty)
    yield Pair("allow(), granted", statement("f()", f=mine), allowed(), aim(0.15, 0.85))
    yield Pair("allow(), refused", refused, statement("f()", f=reference_empty), aim(0.15, 0.85))
    for cost in ("2", "0.5"):
        text = f"f({cost})"
        pair = statement(text, f=mine), statement(text, f=reference)
        yield Pair(f"allow({cost})", *pair, aim(0.15, 1.1))
    group = BucketGroup(TokenBucket(PLENTY, 1), TokenBucket(PLENTY, 1))
    label = "BucketGroup of two, allow() / one reference allow()"
    yield Pair(label, statement("f()", f=group.allow), allowed(), 8)
    made = statement("make(10, 5)", make=TokenBucket)
    reference_made = statement("make(10, 5)", make=ReferenceBucket)
    yield Pair("making a bucket / a reference", made, reference_made, aim(3, 4))


def allowed() -> Measure:
    """Time what most rows are compared with: `allow()` of the reference, granted."""
    return statement("f()", f=ReferenceBucket(PLENTY, 1).allow)


def decorator_pairs(loop: asyncio.AbstractEventLoop) -> Iterator[Pair]:
    limiter = RateLimiter(TokenBucket(PLENTY, 1))
    limited = by_hand(ReferenceBucket(PLENTY, 1))
    function = statement("f()", f=limiter(nothing)), statement("f()", f=limited(nothing))
    yield Pair("decorated function / closure", *function, aim(0.2, 1.4))
    method = (statement("o.method()", o=methods(decorate)) for decorate in (limiter, limited))
    yield Pair("decorated method / closure", *method, aim(0.25, 1.9))
    coroutine = by_hand_async(ReferenceBucket(PLENTY, 1))(nothing_async)
    awaited = awaiting(limiter(nothing_async), loop), awaiting(coroutine, loop)
    yield Pair("decorated coroutine / async closure", *awaited, aim(0.5, 1.9))
    keyed = rate_limited(PLENTY, 1, key=str)(nothing_for)
    by_key = by_hand_for_keys(lambda: ReferenceBucket(PLENTY, 1), str)(nothing_for)
    pair = (statement("f('key')", f=function) for function in (keyed, by_key))
    yield Pair("decorated with key= / closure with a dict", *pair, aim(0.35, 1.5))
    hand = by_hand_for_keys(lambda: ReferenceBucket(5, NEVER), str)
    pair = (
        with_new_keys(lambda: rate_limited(5, NEVER, key=str)(nothing_for)),
        with_new_keys(lambda: hand(nothing_for)),
    )
    yield Pair("the same with a new key each time", *pair)


def with_new_keys(decorated: Callable[[], Callable[[str], object]]) -> Measure:
    """Time calls of a function that has just been decorated, each with a key of its own."""

    def measure(number: int) -> float:
        call, names = decorated(), [f"user {name}" for name in range(number)]
        began = perf_counter()
        for name in names:
            call(name)
        return perf_counter() - began

    return measure


def limiter_pairs(loop: asyncio.AbstractEventLoop) -> Iterator[Pair]:
    bucket = TokenBucket(PLENTY, 1)
    limiter = RateLimiter(bucket)
    acquire = statement("with limiter.acquire(1): pass", limiter=limiter)
    yield Pair("with limiter.acquire(1): / allow()", acquire, allowed(), aim(0.6, 2.4))
    context = statement("with limiter: pass", limiter=limiter)
    yield Pair("with limiter: / allow()", context, allowed())
    reference = awaiting(by_hand_awaited(ReferenceBucket(PLENTY, 1)), loop)
    label = "await wait_async() / await of an async allow()"
    yield Pair(label, awaiting(bucket.wait_async, loop), reference, aim(0.45, 1.0))
    for label, actual in [("less", 5), ("more", 15)]:
        settle = prepared(lambda: limiter.acquire(10).__enter__().settle, actual)
        yield Pair(f"permit.settle, {label} was used / allow()", settle, allowed(), 6)
    two = RateLimiter(BucketGroup(one=TokenBucket(PLENTY, 1), two=TokenBucket(PLENTY, 1)))
    group_settle = prepared(
        lambda: two.acquire({"one": 1, "two": 9}).__enter__().settle, {"two": 5}
    )
    yield Pair("permit.settle of a group of two / allow()", group_settle, allowed())
